import type { Clock, ConnectAddress, Network, Socket, SocketEvents } from '@dovecote/ground';
import type { Api, ApiCodec } from '../kafka/api.js';
import { apiVersions } from '../kafka/apis/18-api-versions.js';
import { saslHandshake } from '../kafka/apis/17-sasl-handshake.js';
import { saslAuthenticate } from '../kafka/apis/36-sasl-authenticate.js';
import { Cursor, MalformedError } from '../kafka/cursor.js';
import { errorCodes } from '../kafka/error-codes.js';
import { RequestFrames } from '../kafka/request-frames.js';
import type { Read, Struct, Write } from '../kafka/schema.js';
import { Writer } from '../kafka/writer.js';
import { KafkaClientError } from './kafka-client-error.js';

export type Asked<Q extends Struct, A extends Struct> = Api & { readonly codec: ApiCodec<Q, A> };

export interface KafkaLogin {
  readonly user: string;
  readonly password: string;
}

export interface ConnectionOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly to: ConnectAddress;
  readonly clientId: string;
  readonly login: KafkaLogin | undefined;
  readonly timeoutMs: number;
}

const answerBytesMax = 256 * 1024 * 1024;

/** One connection to one broker of a cluster: requests in order, answers in the same order. Says who it is before anything else. */
export class KafkaConnection implements SocketEvents {
  private readonly frames = new RequestFrames(() => answerBytesMax);
  private readonly waiting: { readonly take: (frame: Buffer) => void; readonly fail: (error: Error) => void }[] = [];
  private readonly writer = new Writer();
  private versions = new Map<number, { readonly min: number; readonly max: number }>();
  private correlationId = 0;
  private closed: KafkaClientError | undefined;

  private constructor(
    private readonly socket: Socket,
    private readonly options: ConnectionOptions,
  ) {
    socket.start(this);
  }

  /** Rejects with a KafkaClientError `unreachable` or `refused-login`. */
  static async open(options: ConnectionOptions): Promise<KafkaConnection> {
    let socket: Socket;
    try {
      socket = await options.network.connect(options.to);
    } catch (error) {
      throw new KafkaClientError('unreachable', (error as Error).message, { cause: error });
    }
    const connection = new KafkaConnection(socket, options);
    try {
      const { apiKeys } = await connection.say(apiVersions, 0, { clientSoftwareName: '', clientSoftwareVersion: '' });
      connection.versions = new Map(apiKeys.map(({ apiKey, minVersion, maxVersion }) => [apiKey, { min: minVersion, max: maxVersion }]));
      if (options.login !== undefined) await connection.logIn(options.login);
    } catch (error) {
      connection.close();
      throw error;
    }
    return connection;
  }

  /** Asks in the newest version that both sides know. Rejects with a KafkaClientError `unreachable` or `unsupported`. */
  async ask<Q extends Struct, A extends Struct>(api: Asked<Q, A>, request: Write<Q>, timeoutMs = this.options.timeoutMs): Promise<Read<A>> {
    return this.say(api, this.versionFor(api), request, timeoutMs);
  }

  close(): void {
    this.socket.destroy();
  }

  get isClosed(): boolean {
    return this.closed !== undefined;
  }

  onData(bytes: Buffer): void {
    this.frames.push(bytes);
    try {
      for (let frame = this.frames.next(); frame !== undefined; frame = this.frames.next()) this.waiting.shift()?.take(frame);
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      this.end(new KafkaClientError('unreachable', `${this.name} does not speak Kafka's protocol`, { cause: error }));
      this.close();
    }
  }

  onDrain(): void {}

  onClose(): void {
    this.end(new KafkaClientError('unreachable', `${this.name} has closed the connection. Does it want TLS, or a login?`));
  }

  /** Nothing more is answered; the first reason stays. */
  private end(reason: KafkaClientError): void {
    this.closed ??= reason;
    for (const { fail } of this.waiting.splice(0)) fail(this.closed);
  }

  private get name(): string {
    return `${this.options.to.host}:${this.options.to.port}`;
  }

  private async logIn({ user, password }: KafkaLogin): Promise<void> {
    const handshake = await this.ask(saslHandshake, { mechanism: 'PLAIN' });
    if (handshake.errorCode !== 0)
      throw new KafkaClientError('refused-login', `${this.name} does not take a login by PLAIN here; perhaps it wants none`);
    const answer = await this.ask(saslAuthenticate, { authBytes: Buffer.from(`\0${user}\0${password}`) });
    if (answer.errorCode === 0) return;
    const isWrong = answer.errorCode === errorCodes.saslAuthenticationFailed;
    throw new KafkaClientError(
      'refused-login',
      isWrong
        ? `${this.name} does not let '${user}' in: wrong name or password`
        : `${this.name} does not let '${user}' in: ${answer.errorMessage ?? `error ${answer.errorCode}`}`,
    );
  }

  /** Says something that has no answer, in the newest version that both sides know. Throws a KafkaClientError. */
  tell<Q extends Struct, A extends Struct>(api: Asked<Q, A>, request: Write<Q>): void {
    this.write(api, this.versionFor(api), request);
  }

  private say<Q extends Struct, A extends Struct>(
    api: Asked<Q, A>,
    version: number,
    request: Write<Q>,
    timeoutMs = this.options.timeoutMs,
  ): Promise<Read<A>> {
    if (this.closed !== undefined) return Promise.reject(this.closed);
    this.write(api, version, request);
    return new Promise((resolve, reject) => {
      const late = this.options.clock.after(timeoutMs, () => {
        reject(new KafkaClientError('unreachable', `${this.name} has not answered within ${timeoutMs / 1000} s`));
        this.close();
      });
      const take = (frame: Buffer): void => {
        late.cancel();
        const cursor = Cursor.over(frame);
        cursor.int32();
        if (api.codec.isFlexible(version) && api.key !== apiVersions.key) cursor.skipTags();
        try {
          resolve(api.codec.readResponse(version)(cursor));
        } catch (error) {
          reject(new KafkaClientError('unsupported', `${this.name} gave an answer to ${api.name} that cannot be read`, { cause: error }));
        }
      };
      const fail = (error: Error): void => {
        late.cancel();
        reject(error);
      };
      this.waiting.push({ take, fail });
    });
  }

  private write<Q extends Struct, A extends Struct>(api: Asked<Q, A>, version: number, request: Write<Q>): void {
    const { writer, options } = this;
    writer.begin();
    writer.int16(api.key);
    writer.int16(version);
    writer.int32(++this.correlationId);
    const clientId = Buffer.from(options.clientId);
    writer.int16(clientId.length);
    writer.text(options.clientId, clientId.length);
    if (api.codec.isFlexible(version)) writer.uvarint(0);
    api.codec.writeRequest(version)(writer, request);
    for (const part of writer.finish()) this.socket.write(part);
  }

  private versionFor<Q extends Struct, A extends Struct>(api: Asked<Q, A>): number {
    const theirs = this.versions.get(api.key);
    const version = Math.min(api.maxVersion, theirs?.max ?? -1);
    if (theirs !== undefined && version >= Math.max(api.minVersion, theirs.min)) return version;
    throw new KafkaClientError('unsupported', `${this.name} does not know ${api.name} as it is asked here`);
  }
}

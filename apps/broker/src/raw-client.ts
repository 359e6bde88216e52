/**
 * A client that sends exactly the bytes it is told to: what no AMQP library can be brought to do. It reads frames only as far as to say how the server
 * answered. For the specs beside it.
 */
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';

/** `class.method` of a frame from the server, and its arguments. */
export interface ServerMethod {
  readonly channel: number;
  readonly method: string;
  readonly arguments: Buffer;
}

/** What a connection.close or channel.close of the server says. */
export interface CloseReason {
  readonly method: string;
  readonly code: number;
  readonly text: string;
}

export interface RawClientOptions {
  readonly channels?: number;
  readonly heartbeatS?: number;
  readonly user?: string;
  readonly password?: string;
}

export const protocolHeader = Buffer.from('AMQP\0\0\x09\x01', 'latin1');
const frameEnd = 0xce;

export class RawClient {
  received = Buffer.alloc(0);
  isClosed = false;
  private changed: () => void = () => undefined;

  private constructor(readonly socket: Socket) {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      this.received = Buffer.concat([this.received, bytes]);
      this.changed();
    });
    socket.on('close', () => {
      this.isClosed = true;
      this.changed();
    });
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = createConnection({ host: '127.0.0.1', port, noDelay: true });
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  /** Logged in, with `channels` channels open and the frame size that the server offers. */
  static async open(port: number, options: RawClientOptions = {}): Promise<RawClient> {
    const { channels = 0, heartbeatS = 60, user = 'guest', password = 'guest' } = options;
    const client = await RawClient.connect(port);
    client.send(
      protocolHeader,
      startOk(user, password),
      tuneOk(131_072, heartbeatS),
      method(0, 10, 40, Buffer.from('\x01/\0\0', 'latin1')),
    );
    await client.answered('10.41');
    for (let channel = 1; channel <= channels; channel++) client.send(method(channel, 20, 10, Buffer.from([0])));
    await client.until(() => client.methods.filter(({ method: name }) => name === '20.11').length === channels);
    return client;
  }

  send(...parts: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** Every method frame so far. Nothing that is not a frame may have come. */
  get methods(): readonly ServerMethod[] {
    const found: ServerMethod[] = [];
    let at = 0;
    while (at + 7 <= this.received.length) {
      const payload = this.received.subarray(at + 7, at + 7 + this.received.readUInt32BE(at + 3));
      if (this.received[at] === 1 && payload.length >= 4) {
        const name = `${payload.readUInt16BE(0)}.${payload.readUInt16BE(2)}`;
        found.push({ channel: this.received.readUInt16BE(at + 1), method: name, arguments: payload.subarray(4) });
      }
      at += 8 + payload.length;
    }
    return found;
  }

  /** The first close that the server sent: resolves when it is there, or when the socket closed without one. */
  async closeReason(): Promise<CloseReason | undefined> {
    const find = (): ServerMethod | undefined => this.methods.find(({ method: name }) => name === '10.50' || name === '20.40');
    await this.until(() => find() !== undefined || this.isClosed);
    const close = find();
    if (close === undefined) return undefined;
    const length = close.arguments[2]!;
    return { method: close.method, code: close.arguments.readUInt16BE(0), text: close.arguments.toString('utf8', 3, 3 + length) };
  }

  async answered(name: string): Promise<void> {
    await this.until(() => this.methods.some(({ method: answer }) => answer === name));
  }

  async closed(): Promise<void> {
    await this.until(() => this.isClosed);
  }

  /** Rejects when the server closes the socket and the condition still does not hold. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.isClosed) throw new Error(`the server closed the connection after ${JSON.stringify(this.received.toString('latin1'))}`);
      await new Promise<void>((resolve) => (this.changed = resolve));
    }
  }
}

export function frame(type: number, channel: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(8 + payload.length);
  bytes.writeUInt8(type, 0);
  bytes.writeUInt16BE(channel, 1);
  bytes.writeUInt32BE(payload.length, 3);
  bytes.set(payload, 7);
  bytes.writeUInt8(frameEnd, 7 + payload.length);
  return bytes;
}

export function method(channel: number, classId: number, methodId: number, given: Uint8Array = Buffer.alloc(0)): Buffer {
  const payload = Buffer.alloc(4 + given.length);
  payload.writeUInt16BE(classId, 0);
  payload.writeUInt16BE(methodId, 2);
  payload.set(given, 4);
  return frame(1, channel, payload);
}

/** basic.publish to the default exchange and the header of a body of `bodyBytes`, without any body. */
export function publishHead(channel: number, queue: string, bodyBytes: number): Buffer {
  const publish = method(channel, 60, 40, Buffer.concat([Buffer.from([0, 0, 0]), shortString(queue), Buffer.from([0])]));
  const header = Buffer.alloc(14);
  header.writeUInt16BE(60, 0);
  header.writeBigUInt64BE(BigInt(bodyBytes), 4);
  return Buffer.concat([publish, frame(2, channel, header)]);
}

/** queue.declare with no flag set. */
export function declareQueue(channel: number, queue: string): Buffer {
  return method(channel, 50, 10, Buffer.concat([Buffer.from([0, 0]), shortString(queue), Buffer.from([0, 0, 0, 0, 0])]));
}

/** basic.consume without acknowledgements; the server makes the tag. */
export function consume(channel: number, queue: string): Buffer {
  return method(channel, 60, 20, Buffer.concat([Buffer.from([0, 0]), shortString(queue), Buffer.from([0, 0b10, 0, 0, 0, 0])]));
}

export function startOk(user: string, password: string): Buffer {
  const response = Buffer.from(`\0${user}\0${password}`);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(response.length);
  return method(0, 10, 11, Buffer.concat([Buffer.alloc(4), shortString('PLAIN'), length, response, shortString('en_US')]));
}

export function tuneOk(frameBytesMax: number, heartbeatS: number): Buffer {
  const given = Buffer.alloc(8);
  given.writeUInt16BE(2047, 0);
  given.writeUInt32BE(frameBytesMax, 2);
  given.writeUInt16BE(heartbeatS, 6);
  return method(0, 10, 31, given);
}

function shortString(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}

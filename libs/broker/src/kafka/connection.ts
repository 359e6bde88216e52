import type { Socket, SocketEvents } from '@dovecote/ground';
import { apiVersionsApiKey as apiVersionsKey, produceApiKey as produceKey } from './api-keys.js';
import { SlowReader } from '../slow-reader.js';
import { AnswerBlock, answerBlockBytes } from './answer-block.js';
import { MalformedError } from './cursor.js';
import { errorCodes } from './error-codes.js';
import { Exchange } from './exchange.js';
import type { KafkaNode } from './kafka-node.js';
import type { ListenerView } from './listener-view.js';
import { Login } from './login.js';
import { RecentTexts } from './recent-texts.js';
import { cursorOver, isLent, RequestFrames } from './request-frames.js';
import type { Rights } from './rights.js';
import type { Writer } from './writer.js';

/** Answers below this are joined for the socket: one call for all of a turn. */
const joinedBytesMax = 65_536;
/** Requests that are answered are forgotten when they are so many, or all. */
const forgottenAtOnce = 64;
const nextMicrotask = Promise.resolve();

/**
 * One client: its socket, its requests in order, its answers in the same order.
 *
 * A request begins when the one before it was answered, as in Kafka; only produce requests begin at once behind each other, so that
 * one commit carries many. While a request may not begin its bytes stay where they are and the socket is not read. Nothing
 * survives the connection but what its requests have changed.
 */
export class Connection implements SocketEvents {
  readonly name: string;
  readonly login: Login;
  /** What the client says of itself with ApiVersions, for who looks. */
  software = '';
  lastHeardMs: number;
  /** When the request that is coming now began to come. */
  insideSinceMs = Infinity;
  private readonly frames: RequestFrames;
  /** What topics and clients are called in its requests. */
  readonly texts = new RecentTexts();
  private readonly inFlight: Exchange[] = [];
  /** The oldest one of these; those before it are answered. */
  private oldest = 0;
  private inFlightBytes = 0;
  /** A whole request that may not begin yet. */
  private waiting: Buffer | undefined;
  /** Small answers of this turn, one behind the other; they leave behind `outgoing`. */
  private joined: AnswerBlock | undefined;
  private outgoing: Uint8Array[] = [];
  private outgoingBytes = 0;
  private slowReader: SlowReader | undefined;
  private isFlushQueued = false;
  private isClosed = false;
  private isEnding = false;
  private isPaused = false;
  private isPumping = false;
  private endsWhenAnswered = false;
  private isLoggingIn = false;

  constructor(
    private readonly socket: Socket,
    readonly listener: ListenerView,
    private readonly node: KafkaNode,
    private readonly gone: (connection: Connection) => void,
  ) {
    const { limits } = node;
    this.name = `${socket.remoteAddress}:${socket.remotePort}`;
    this.login = new Login(listener.needsLogin, socket.remoteAddress, node.authenticator, socket.peerName);
    this.lastHeardMs = node.deadlines.nowMs;
    this.frames = new RequestFrames(() => (this.login.isDone ? limits.requestBytesMax : limits.strangerRequestBytesMax));
    socket.start(this);
  }

  /** Where this client and its like are told to come. */
  get host(): string {
    return this.listener.host;
  }

  get port(): number {
    return this.listener.port;
  }

  /** What this client may do. */
  get rights(): Rights {
    return this.login.rights;
  }

  get remoteAddress(): string {
    return this.socket.remoteAddress;
  }

  /** Nothing came since then, and nobody waits for an answer. */
  isIdleSince(momentMs: number): boolean {
    return this.inFlight.length === this.oldest && this.lastHeardMs < momentMs;
  }

  // What the socket says.

  onData(bytes: Buffer): void {
    if (this.isEnding) return;
    this.lastHeardMs = this.node.deadlines.nowMs;
    this.frames.push(bytes);
    this.pump();
  }

  room(): Buffer {
    return this.frames.room();
  }

  onFilled(length: number): void {
    if (this.isEnding) return;
    this.lastHeardMs = this.node.deadlines.nowMs;
    this.frames.filled(length);
    this.pump();
  }

  onDrain(): void {
    this.slowReader?.forget();
    this.pump();
  }

  onClose(): void {
    this.isClosed = true;
    for (const exchange of this.inFlight.slice(this.oldest)) {
      exchange.isAbandoned = true;
      exchange.abandoned?.();
      exchange.sent?.();
    }
    this.inFlight.length = 0;
    this.oldest = 0;
    this.dropJoined();
    this.slowReader?.forget();
    this.gone(this);
  }

  // What exchanges say.

  /** An exchange has its answer: what is ready at the head of the line goes out, and what waited may begin. */
  answered(): void {
    const { inFlight } = this;
    let isAnySent = false;
    while (this.oldest < inFlight.length && inFlight[this.oldest]!.parts !== undefined) {
      this.send(inFlight[this.oldest++]!);
      isAnySent = true;
    }
    if (isAnySent) this.leave();
  }

  /** The same for an answer that stands whole in `writer`: where it is next and small it is taken from there, beside the others of this turn. False where it is not. */
  answeredAtOnce(exchange: Exchange, writer: Writer): boolean {
    const { inFlight, oldest } = this;
    if (inFlight[oldest] !== exchange || writer.used > answerBlockBytes || this.isEnding || !writer.finishInPlace()) return false;
    if (this.joined !== undefined && this.joined.used + writer.used > answerBlockBytes) this.unjoin();
    this.joined ??= AnswerBlock.take();
    this.joined.add(writer);
    this.inFlightBytes -= exchange.bytes;
    this.oldest = oldest + 1;
    this.flushSoon();
    // Others behind it may have been ready before.
    if (inFlight[this.oldest]?.parts === undefined) this.leave();
    else this.answered();
    return true;
  }

  /** The oldest requests were answered: what waited for that may begin. */
  private leave(): void {
    if (this.endsWhenAnswered) {
      this.end();
      return;
    }
    const { inFlight } = this;
    if (this.oldest === inFlight.length) {
      inFlight.length = 0;
      this.oldest = 0;
    } else if (this.oldest >= forgottenAtOnce) {
      inFlight.splice(0, this.oldest);
      this.oldest = 0;
    }
    if (this.waiting !== undefined || this.isPaused) this.pump();
  }

  /** Ends the connection over what was thrown; unforeseen things go on to whoever runs the process. */
  refuse(error: unknown): void {
    if (this.isClosed || this.isEnding) return;
    this.destroy();
    if (!(error instanceof MalformedError)) throw error;
    this.node.report(`${this.name}: ${error.message}`);
  }

  /** Sends what is ready, then closes. */
  end(): void {
    if (this.isEnding) return;
    this.flush();
    this.isEnding = true;
    this.socket.end();
  }

  /** Closes when the answer that is being made has gone out. */
  endSoon(): void {
    this.endsWhenAnswered = true;
  }

  destroy(): void {
    this.isEnding = true;
    this.socket.destroy();
  }

  /** Called when what held the requests back may be over. */
  pump(): void {
    if (this.isPumping || this.isEnding) return;
    this.isPumping = true;
    try {
      this.beginAll();
    } catch (error) {
      this.refuse(error);
    } finally {
      this.isPumping = false;
      this.keepLent();
    }
    if (!this.isClosed && !this.isEnding) this.adjustReading();
  }

  /** What could not begin in this turn is going to outlive the memory that it came in. */
  private keepLent(): void {
    if (this.waiting !== undefined && isLent(this.waiting)) this.waiting = Buffer.from(this.waiting);
    this.frames.settle();
  }

  private beginAll(): void {
    while (!this.isEnding) {
      this.waiting ??= this.frames.next();
      if (this.waiting === undefined || !this.mayBegin(this.waiting)) break;
      const frame = this.waiting;
      this.waiting = undefined;
      // Only of small batches it is known that they are copied where they are kept.
      this.begin(isLent(frame) && keyOf(frame) !== produceKey ? Buffer.from(frame) : frame);
    }
    if (!this.frames.isInside) this.insideSinceMs = Infinity;
    else if (this.insideSinceMs === Infinity) this.insideSinceMs = this.node.deadlines.nowMs;
  }

  /** The socket is read while the next request may begin as soon as it is here. */
  private adjustReading(): void {
    const mustPause = this.waiting !== undefined || this.hasTooMuchUnsent;
    if (mustPause === this.isPaused) return;
    this.isPaused = mustPause;
    if (mustPause) this.socket.pause();
    else this.socket.resume();
  }

  private get hasTooMuchUnsent(): boolean {
    return this.socket.unsentBytes + this.outgoingBytes + (this.joined?.used ?? 0) > this.node.limits.unsentBytesMax;
  }

  private mayBegin(frame: Buffer): boolean {
    const { limits } = this.node;
    if (this.hasTooMuchUnsent || this.isLoggingIn) return false;
    const { inFlight, oldest } = this;
    if (inFlight.length === oldest) return !this.node.waitForRoom(this);
    if (keyOf(frame) !== produceKey || inFlight[oldest]!.key !== produceKey) return false;
    if (inFlight.length - oldest >= limits.pipelinedRequestsMax || this.inFlightBytes > limits.pipelinedBytesMax) return false;
    return !this.node.waitForRoom(this);
  }

  private begin(frame: Buffer): void {
    if (this.login.isRaw) {
      void this.loginRaw(Buffer.from(frame));
      return;
    }
    const cursor = cursorOver(frame);
    const key = cursor.int16();
    const version = cursor.int16();
    const correlationId = cursor.int32();
    const api = this.node.apis.get(key);
    if (api === undefined) throw new MalformedError(`asks for API ${key}, which is not answered here (see SUPPORT.md): closed`);
    const isSupported = version >= api.minVersion && version <= api.maxVersion;
    if (!isSupported && key !== apiVersionsKey) {
      throw new MalformedError(
        `asks for version ${version} of ${api.name}, where ${api.minVersion} to ${api.maxVersion} are answered: closed`,
      );
    }
    if (!this.login.allows(key)) throw new MalformedError(`asks for ${api.name} before it has logged in: closed`);
    if (key !== produceKey && frame.length > this.node.limits.controlRequestBytesMax) {
      throw new MalformedError(
        `sends a ${api.name} of ${frame.length} bytes, where ${this.node.limits.controlRequestBytesMax} are taken: closed`,
      );
    }
    if (!isSupported) {
      this.answerUnknownVersion(correlationId, frame.length);
      return;
    }
    const idLength = cursor.int16();
    const clientId = idLength < 0 ? '' : this.texts.read(cursor, idLength);
    const isFlexible = version >= api.flexibleFrom;
    if (isFlexible) cursor.skipTags();
    const hasTags = isFlexible && key !== apiVersionsKey;
    const exchange = new Exchange(this, this.node, key, version, correlationId, clientId, frame.length, hasTags);
    this.inFlight.push(exchange);
    this.inFlightBytes += frame.length;
    api.begin(exchange, cursor);
  }

  /** ApiVersions is how a client finds out what we know, so that it is answered in every version: in the oldest, where we do not know it. */
  private answerUnknownVersion(correlationId: number, bytes: number): void {
    const { apis } = this.node;
    const api = apis.get(apiVersionsKey)!;
    const exchange = new Exchange(this, this.node, apiVersionsKey, 0, correlationId, '', bytes, false);
    this.inFlight.push(exchange);
    this.inFlightBytes += bytes;
    exchange.respond((writer) => {
      writer.int16(errorCodes.unsupportedVersion);
      writer.int32(1);
      writer.int16(apiVersionsKey);
      writer.int16(api.minVersion);
      writer.int16(api.maxVersion);
    });
  }

  /** After a handshake of version 0 a client sends its token without a head, and is answered so. */
  private async loginRaw(token: Buffer): Promise<void> {
    this.isLoggingIn = true;
    const wrong = await this.login.takeToken(token);
    this.isLoggingIn = false;
    if (this.isClosed || this.isEnding) return;
    if (wrong !== undefined) {
      this.node.report(`${this.name}: the login was refused, closed`);
      this.destroy();
      return;
    }
    this.unjoin();
    this.outgoing.push(Buffer.alloc(4));
    this.outgoingBytes += 4;
    this.flushSoon();
    this.pump();
  }

  private send(exchange: Exchange): void {
    this.inFlightBytes -= exchange.bytes;
    const parts = exchange.parts!;
    if (parts.length === 0 || this.isEnding) {
      exchange.sent?.();
      return;
    }
    if (exchange.sent !== undefined) {
      // What is lent must be given back when its last byte has gone: it is not joined with others.
      this.flush();
      for (let i = 0; i < parts.length - 1; i++) this.put(parts[i]!);
      this.put(parts[parts.length - 1]!, exchange.sent);
      return;
    }
    this.unjoin();
    for (const part of parts) {
      this.outgoing.push(part);
      this.outgoingBytes += part.length;
    }
    this.flushSoon();
  }

  /** What the system does not take at once must not wait for ever: a client that reads nothing would keep it in memory. */
  private put(bytes: Uint8Array, sent?: () => void): void {
    if (this.socket.write(bytes, sent) || this.isClosed) return;
    const { clock, limits } = this.node;
    this.slowReader ??= new SlowReader(clock, this.socket, limits.sendTimeoutMs, (why) => this.lost(why));
    this.slowReader.watch();
  }

  private lost(why: string): void {
    this.slowReader?.forget();
    this.node.report(`${this.name}: ${why}, closed`);
    this.destroy();
  }

  /** Answers that are ready in the same turn of the loop leave together. */
  private flushSoon(): void {
    if (this.isFlushQueued) return;
    this.isFlushQueued = true;
    void nextMicrotask.then(() => this.flush());
  }

  /** The answers that were joined follow those that go out in parts. */
  private unjoin(): void {
    const { joined } = this;
    if (joined === undefined) return;
    this.joined = undefined;
    this.outgoing.push(joined.takeAll());
    this.outgoingBytes += this.outgoing.at(-1)!.length;
  }

  private dropJoined(): void {
    this.joined?.give();
    this.joined = undefined;
  }

  private flush(): void {
    this.isFlushQueued = false;
    if (this.isClosed) return;
    if (this.joined !== undefined && this.outgoing.length === 0) {
      const answers = this.joined.takeAll();
      this.joined = undefined;
      this.put(answers);
      if (this.waiting !== undefined) this.pump();
      return;
    }
    this.unjoin();
    const { outgoing, outgoingBytes } = this;
    if (outgoing.length === 0) return;
    this.outgoing = [];
    this.outgoingBytes = 0;
    if (outgoing.length === 1) this.put(outgoing[0]!);
    else if (outgoingBytes <= joinedBytesMax) this.put(Buffer.concat(outgoing, outgoingBytes));
    else for (const part of outgoing) this.put(part);
    if (this.waiting !== undefined) this.pump();
  }
}

/** Which API a request asks for; -1 where it is too short to say. */
function keyOf(frame: Buffer): number {
  return frame.length < 2 ? -1 : frame.readInt16BE(0);
}

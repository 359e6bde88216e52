import type { ListenAddress, Listener, Network, Socket, SocketEvents } from '@dovecote/ground';
import type { FieldTable } from '../queues/field-table.js';
import { frameEnd, frameOverheadBytes } from '../queues/content.js';
import { encodeProperties, type MessageProperties, propertiesBytes } from '../queues/properties.js';
import { type Arguments, decodeArguments, methodById, methodFrame } from './method-codec.js';
import { type MethodName, methods } from './methods.js';
import { ourProtocolHeader } from './protocol-header.js';

/**
 * For tests: a network inside one process that hands bytes over at once, and a client that says exactly the bytes it is told to
 * and writes down what it is answered, one line per frame. Deterministic: nothing here waits.
 */
export class LoopbackNetwork implements Network {
  private accept: ((socket: Socket) => void) | undefined;

  listen(at: ListenAddress, accept: (socket: Socket) => void): Promise<Listener> {
    this.accept = accept;
    const close = (): Promise<void> => {
      this.accept = undefined;
      return Promise.resolve();
    };
    return Promise.resolve({ host: at.host, port: 5672, close, renew: () => undefined });
  }

  connect(): Promise<Socket> {
    throw new Error('only scripted clients connect here: call `client`');
  }

  /** A client that is connected; undefined where nobody listens any more. */
  client(): ScriptedClient {
    if (this.accept === undefined) throw new Error('nobody listens');
    const client = new ScriptedClient();
    this.accept(client.server);
    return client;
  }
}

/** Bytes that the socket takes before it asks the server to hold back, as in the real one. */
const highWaterBytes = 256 * 1024;

/** The server's end of the line. */
class LoopbackSocket implements Socket {
  readonly remoteAddress = '127.0.0.1';
  readonly remotePort = 40_000;
  readonly localAddress = '127.0.0.1';
  readonly localPort = 5672;
  readonly peerName: string | undefined = undefined;
  unsentBytes = 0;
  sentBytes = 0;
  receivedBytes = 0;
  isPaused = false;
  isClosed = false;
  events: SocketEvents | undefined;
  private readonly unread: Buffer[] = [];
  private readonly callbacks: (() => void)[] = [];
  private arriving: Buffer[] = [];

  constructor(private readonly client: ScriptedClient) {}

  start(events: SocketEvents): void {
    this.events = events;
  }

  write(bytes: Uint8Array, sent?: () => void): boolean {
    if (this.isClosed) return false;
    this.unsentBytes += bytes.length;
    this.unread.push(Buffer.from(bytes));
    if (sent !== undefined) this.callbacks.push(sent);
    if (!this.client.isStalled) this.drain();
    return this.unsentBytes < highWaterBytes;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    this.deliver();
  }

  end(): void {
    this.drain();
    this.destroy();
  }

  destroy(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.client.isClosed = true;
    this.events?.onClose();
  }

  /** The client reads what was written. */
  drain(): void {
    const wasFull = this.unsentBytes >= highWaterBytes;
    this.sentBytes += this.unsentBytes;
    this.unsentBytes = 0;
    for (const bytes of this.unread.splice(0)) this.client.receive(bytes);
    for (const done of this.callbacks.splice(0)) done();
    if (wasFull && !this.isClosed) this.events?.onDrain();
  }

  arrive(bytes: Buffer): void {
    this.arriving.push(bytes);
    this.deliver();
  }

  /** Bytes that came and that the server does not read. */
  get waitingBytes(): number {
    return this.arriving.reduce((total, bytes) => total + bytes.length, 0);
  }

  private deliver(): void {
    while (!this.isPaused && !this.isClosed) {
      const bytes = this.arriving.shift();
      if (bytes === undefined) return;
      this.receivedBytes += bytes.length;
      this.fill(bytes);
    }
  }

  /** As a real socket does: into the room that the server gives, which holds something else afterwards. */
  private fill(bytes: Buffer): void {
    const events = this.events;
    for (let at = 0; at < bytes.length && events !== undefined && !this.isClosed;) {
      const room = events.room!();
      const length = bytes.copy(room, 0, at);
      at += length;
      events.onFilled!(length);
      room.fill(0xdb, 0, length);
    }
  }
}

export class ScriptedClient {
  readonly server = new LoopbackSocket(this);
  /** It does not read: what the server writes stays in the socket. */
  isStalled = false;
  isClosed = false;
  /** Every byte that was received, until `take`. */
  private readonly received: Buffer[] = [];

  send(...parts: readonly Buffer[]): this {
    this.server.arrive(Buffer.concat(parts));
    return this;
  }

  receive(bytes: Buffer): void {
    this.received.push(bytes);
  }

  /** Reads again. */
  unstall(): void {
    this.isStalled = false;
    this.server.drain();
  }

  /** The connection breaks. */
  cut(): void {
    this.server.destroy();
  }

  takeBytes(): Buffer {
    return Buffer.concat(this.received.splice(0));
  }

  /** What came since the last call, a line per frame; ends with `closed` when the server has hung up. */
  take(): string[] {
    const received = this.takeBytes();
    const lines: string[] = [];
    let at = 0;
    if (received.toString('latin1', 0, 4) === 'AMQP') {
      lines.push(`protocol ${received.toString('hex', 4, 8)}`);
      at = 8;
    }
    while (at < received.length) {
      const end = at + frameOverheadBytes + received.readUInt32BE(at + 3);
      lines.push(describeFrame(received.subarray(at, end)));
      at = end;
    }
    if (this.isClosed) lines.push('closed');
    return lines;
  }
}

/** `queue.declare-ok 1 {"queue":"q",…}`, `header 1 <hex>`, `body 1 <length> <first letters>`. Throws where a frame is broken. */
export function describeFrame(bytes: Buffer): string {
  const channel = bytes.readUInt16BE(1);
  const payload = bytes.subarray(7, -1);
  if (bytes[bytes.length - 1] !== frameEnd) throw new Error('a frame without its end');
  if (bytes[0] === 8) return `heartbeat ${channel}`;
  if (bytes[0] === 2) return `header ${channel} ${payload.toString('hex')}`;
  if (bytes[0] === 3) return `body ${channel} ${payload.length} ${payload.toString('latin1', 0, 12)}`;
  const found = methodById(payload.readUInt32BE(0))!;
  if (found.name === 'connection.start') return found.name;
  const text = JSON.stringify(decodeArguments(found, payload, 4, payload.length));
  return `${found.name} ${channel} ${text.replace(/amq\.(ctag|gen)-[\w-]{22}/g, 'amq.$1-?')}`;
}

const zeroByKind = { bit: false, octet: 0, short: 0, long: 0, longlong: 0, shortstr: '', longstr: Buffer.alloc(0), table: {} };

/** The frame of a method; what is not given is zero, false or empty. */
export function method<N extends MethodName>(name: N, values: Partial<Arguments<N>> = {}, channel = 1): Buffer {
  const zeros = Object.fromEntries(Object.entries(methods[name].fields).map(([field, kind]) => [field, zeroByKind[kind]]));
  return methodFrame(name, { ...zeros, ...values } as unknown as Arguments<N>, channel);
}

export function frame(type: number, channel: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(7);
  head[0] = type;
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.from([frameEnd])]);
}

/** A content header; `rest` takes the place of the properties' bytes. */
export function header(
  size: number,
  properties: MessageProperties = {},
  { channel = 1, classId = 60, weight = 0, rest = encoded(properties) } = {},
): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(classId, 0);
  head.writeUInt16BE(weight, 2);
  head.writeBigUInt64BE(BigInt(size), 4);
  return frame(2, channel, Buffer.concat([head, rest]));
}

function encoded(properties: MessageProperties): Buffer {
  const bytes = Buffer.alloc(propertiesBytes(properties));
  encodeProperties(properties, bytes, 0);
  return bytes;
}

/** A whole publish in frames of at most `bodyFrameBytes`. */
export function publish(
  to: Partial<Arguments<'basic.publish'>>,
  body: string | Buffer,
  properties: MessageProperties = {},
  { channel = 1, bodyFrameBytes = 131_064 } = {},
): Buffer {
  const content = Buffer.from(body);
  const parts = [method('basic.publish', to, channel), header(content.length, properties, { channel })];
  for (let at = 0; at < content.length; at += bodyFrameBytes) parts.push(frame(3, channel, content.subarray(at, at + bodyFrameBytes)));
  return Buffer.concat(parts);
}

const allCapabilities: FieldTable = { authentication_failure_close: true, consumer_cancel_notify: true, 'connection.blocked': true };

export function startOk(values: Partial<Arguments<'connection.start-ok'>> = {}): Buffer {
  const response = Buffer.from('\0guest\0guest');
  return method(
    'connection.start-ok',
    { mechanism: 'PLAIN', response, locale: 'en_US', clientProperties: { capabilities: allCapabilities }, ...values },
    0,
  );
}

export function tuneOk(values: Partial<Arguments<'connection.tune-ok'>> = {}): Buffer {
  return method('connection.tune-ok', { channelMax: 2047, frameMax: 131_072, heartbeat: 0, ...values }, 0);
}

export const open = method('connection.open', { virtualHost: '/' }, 0);
export const openChannel = method('channel.open');

/** From the first byte to connection.open. */
export const handshake = Buffer.concat([ourProtocolHeader, startOk(), tuneOk(), open]);

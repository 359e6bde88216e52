/**
 * One AMQP connection with one channel, as the load generator needs it: a handshake and a few calls at leisure, then bulk bytes.
 *
 * It reads into one buffer of its own (no allocation per chunk) and never sends a heartbeat.
 * When the server closes anything or the socket breaks, every waiting call fails with what the server said.
 */
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { FrameScanner } from './frame-scanner.js';
import { FRAME_BYTES_MAX, longString, Method, methodFrame, PROTOCOL_HEADER, shortString, table, u16, u32, u8 } from './wire.js';

export const CHANNEL = 1;
const READ_BUFFER_BYTES = 262_144;

export interface ConnectionOptions {
  readonly readBufferBytes?: number;
  /** What is agreed on; whoever agrees on some writes often enough. Default: none. */
  readonly heartbeatS?: number;
}
/** Longer than any healthy answer, RabbitMQ's declaration of a quorum queue included. */
const ANSWER_MS_MAX = 30_000;

export interface AmqpUrl {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly virtualHost: string;
}

/** `amqp://user:password@host:port/virtual-host`; what is left out is guest, guest, 5672 and `/`. */
export function parseAmqpUrl(text: string): AmqpUrl {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'amqp:' || url.hostname === '') throw new Error(`"${text}" is no AMQP URL; write amqp://user:password@host:port`);
  return {
    host: url.hostname,
    port: Number(url.port || 5672),
    user: decodeURIComponent(url.username || 'guest'),
    password: decodeURIComponent(url.password || 'guest'),
    virtualHost: decodeURIComponent(url.pathname.slice(1)) || '/',
  };
}

/** What a load does with the bulk of the traffic. */
export interface TrafficHandler {
  onDeliver?(bytes: Buffer, offset: number): void;
  onBody?(bytes: Buffer, offset: number, length: number): void;
  onConfirm?(tag: number, isMultiple: boolean, isRejected: boolean): void;
  /** Once after each chunk that was read: the moment to write what has gathered. */
  onChunkEnd?(): void;
}

interface Waiting {
  /** Called after each chunk and each answer; true ends the wait. */
  isOver(): boolean;
  end(error?: Error): void;
}

export class AmqpConnection {
  traffic: TrafficHandler = {};
  /** What the server calls itself, with its version. */
  product = 'unknown server';
  private readonly socket: Socket;
  private readonly scanner = new FrameScanner({
    onDeliver: (bytes, offset) => this.traffic.onDeliver?.(bytes, offset),
    onBody: (bytes, offset, length) => this.traffic.onBody?.(bytes, offset, length),
    onConfirm: (tag, isMultiple, isRejected) => this.traffic.onConfirm?.(tag, isMultiple, isRejected),
    onMethod: (id, payload) => this.takeMethod(id, payload),
  });
  private readonly waiting = new Set<Waiting>();
  private readonly answers: { readonly id: number; readonly payload: Buffer }[] = [];
  private failure: Error | undefined;
  private isClosing = false;

  private constructor(host: string, port: number, readBufferBytes = READ_BUFFER_BYTES) {
    const buffer = Buffer.allocUnsafeSlow(readBufferBytes);
    this.socket = createConnection({
      host,
      port,
      noDelay: true,
      onread: { buffer, callback: (length, bytes) => this.read(bytes as Buffer, length) },
    });
    this.socket.on('error', (error) => this.fail(new Error(`the connection to ${host}:${port} broke: ${error.message}`)));
    this.socket.on('close', () => this.fail(new Error(`the server closed the connection to ${host}:${port} without a word`)));
  }

  /** Resolves at connection.open-ok. */
  static async open(url: AmqpUrl, { readBufferBytes, heartbeatS = 0 }: ConnectionOptions = {}): Promise<AmqpConnection> {
    const connection = new AmqpConnection(url.host, url.port, readBufferBytes);
    connection.write(PROTOCOL_HEADER);
    const start = await connection.answer(Method.connectionStart);
    connection.product = `${stringProperty(start, 'product') ?? 'unknown server'} ${stringProperty(start, 'version') ?? ''}`.trim();
    const credentials = longString(`\0${url.user}\0${url.password}`);
    const startOk = [table({ product: 'dovecote-bench' }), shortString('PLAIN'), credentials, shortString('en_US')];
    await connection.call(methodFrame(0, Method.connectionStartOk, ...startOk), Method.connectionTune);
    connection.write(methodFrame(0, Method.connectionTuneOk, u16(2047), u32(FRAME_BYTES_MAX), u16(heartbeatS)));
    await connection.call(
      methodFrame(0, Method.connectionOpen, shortString(url.virtualHost), shortString(''), u8(0)),
      Method.connectionOpenOk,
    );
    return connection;
  }

  /** A socket without a protocol on it, for the stand-in servers that measure the generator itself. */
  static openBare(host: string, port: number, readBufferBytes?: number): AmqpConnection {
    return new AmqpConnection(host, port, readBufferBytes);
  }

  async connected(): Promise<void> {
    if (this.socket.connecting) await once(this.socket, 'connect');
  }

  async openChannel(): Promise<void> {
    await this.call(methodFrame(CHANNEL, Method.channelOpen, shortString('')), Method.channelOpenOk);
  }

  /** Bytes that wait inside this process because the socket took no more. */
  get unwrittenBytes(): number {
    return this.socket.writableLength;
  }

  write(bytes: Buffer, written?: (error?: Error | null) => void): void {
    if (written) this.socket.write(bytes, written);
    else this.socket.write(bytes);
  }

  /** Sends a method and resolves with the payload of its answer. */
  async call(request: Buffer, answerId: number): Promise<Buffer> {
    this.write(request);
    return this.answer(answerId);
  }

  /** Resolves once `isOver` holds after some chunk; rejects when the connection fails or nothing of it came true in time. */
  async until(what: string, isOver: () => boolean, limitMs = ANSWER_MS_MAX): Promise<void> {
    if (this.failure) throw this.failure;
    if (isOver()) return;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => waiting.end(new Error(`waited ${limitMs / 1000} s in vain until ${what}`)), limitMs);
      const waiting: Waiting = {
        isOver,
        end: (error) => {
          clearTimeout(timer);
          this.waiting.delete(waiting);
          if (error) reject(error);
          else resolve();
        },
      };
      this.waiting.add(waiting);
    });
  }

  /** Lets time pass; rejects at once when the connection fails meanwhile. */
  async pass(durationMs: number): Promise<void> {
    if (this.failure) throw this.failure;
    await new Promise<void>((resolve, reject) => {
      const waiting: Waiting = {
        isOver: () => false,
        end: (error) => {
          clearTimeout(timer);
          this.waiting.delete(waiting);
          reject(error ?? new Error('the connection was closed'));
        },
      };
      const timer = setTimeout(() => {
        this.waiting.delete(waiting);
        resolve();
      }, durationMs);
      this.waiting.add(waiting);
    });
  }

  /** Says goodbye, and does not mind if the server is gone already. */
  async close(): Promise<void> {
    if (!this.failure) {
      const goodbye = methodFrame(0, Method.connectionClose, u16(200), shortString('done'), u16(0), u16(0));
      await this.call(goodbye, Method.connectionCloseOk).catch(() => undefined);
    }
    this.destroy();
  }

  destroy(): void {
    this.isClosing = true;
    this.socket.destroy();
  }

  /** Resolves with the payload of the next such method. */
  async answer(id: number, limitMs = ANSWER_MS_MAX): Promise<Buffer> {
    const isHere = (): boolean => this.answers.some((answer) => answer.id === id);
    await this.until(`the server answered with method ${id >>> 16}.${id & 0xffff}`, isHere, limitMs);
    const index = this.answers.findIndex((answer) => answer.id === id);
    const [answer] = this.answers.splice(index, 1);
    return (answer as { payload: Buffer }).payload;
  }

  private read(bytes: Buffer, length: number): boolean {
    try {
      this.scanner.push(bytes, length);
      this.traffic.onChunkEnd?.();
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)));
      return false;
    }
    for (const waiting of this.waiting) if (waiting.isOver()) waiting.end();
    return true;
  }

  private takeMethod(id: number, payload: Buffer): void {
    if (id === Method.connectionClose || id === Method.channelClose) {
      const text = payload.subarray(7, 7 + (payload[6] ?? 0)).toString();
      throw new Error(`the server closed the ${id === Method.channelClose ? 'channel' : 'connection'}: ${payload.readUInt16BE(4)} ${text}`);
    }
    if (id === Method.basicCancel) throw new Error('the server cancelled the consumer');
    if (id === Method.basicReturn) throw new Error('the server returned a message as unroutable');
    this.answers.push({ id, payload });
  }

  private fail(error: Error): void {
    this.failure ??= this.isClosing ? new Error('the connection was closed') : error;
    this.socket.destroy();
    for (const waiting of this.waiting) waiting.end(this.failure);
  }
}

/** Looks for the bytes of one string among the server's properties, instead of reading tables only for this. */
function stringProperty(start: Buffer, name: string): string | undefined {
  const key = Buffer.concat([shortString(name), Buffer.from('S')]);
  const at = start.indexOf(key);
  if (at < 0) return undefined;
  const length = start.readUInt32BE(at + key.length);
  return start.subarray(at + key.length + 4, at + key.length + 4 + length).toString();
}

/**
 * A socket of the load generator: bytes come in through one buffer that is used again for every chunk, and go out as they are.
 *
 * Whoever waits for something is woken after a chunk, and fails with what broke when the socket does. Knows no protocol.
 */
import { createConnection, type Socket } from 'node:net';

const readBufferBytes = 262_144;
/** Longer than any healthy answer. */
const answerMsMax = 30_000;

export interface BulkSocketOptions {
  readonly readBufferBytes?: number;
  /** Takes a chunk; the bytes are others after it returned. What it throws breaks the connection. */
  readonly onChunk: (bytes: Buffer, length: number) => void;
}

interface Waiting {
  /** Looked at after each chunk; true ends the wait. */
  readonly isOver: () => boolean;
  readonly end: (error?: Error) => void;
}

export class BulkSocket {
  private readonly socket: Socket;
  private readonly waiting = new Set<Waiting>();
  private failure: Error | undefined;
  private isClosing = false;

  constructor(
    host: string,
    port: number,
    private readonly options: BulkSocketOptions,
  ) {
    const buffer = Buffer.allocUnsafeSlow(options.readBufferBytes ?? readBufferBytes);
    this.socket = createConnection({
      host,
      port,
      noDelay: true,
      onread: { buffer, callback: (length, bytes) => this.read(bytes as Buffer, length) },
    });
    this.socket.on('error', (error) => this.fail(new Error(`the connection to ${host}:${port} broke: ${error.message}`)));
    this.socket.on('close', () => this.fail(new Error(`the server closed the connection to ${host}:${port} without a word`)));
  }

  /** Bytes that wait inside this process because the socket took no more. */
  get unwrittenBytes(): number {
    return this.socket.writableLength;
  }

  write(bytes: Buffer): void {
    this.socket.write(bytes);
  }

  /** Several pieces with one call of the system. */
  writeAll(pieces: readonly Buffer[]): void {
    this.socket.cork();
    for (const piece of pieces) this.socket.write(piece);
    this.socket.uncork();
  }

  /** Resolves once `isOver` holds after some chunk; rejects when the connection fails or nothing of it came true in time. */
  async until(what: string, isOver: () => boolean, limitMs = answerMsMax): Promise<void> {
    await this.wait(isOver, limitMs, () => new Error(`waited ${limitMs / 1000} s in vain until ${what}`));
  }

  /** Lets time pass; rejects at once when the connection fails meanwhile. */
  async pass(durationMs: number): Promise<void> {
    await this.wait(
      () => false,
      durationMs,
      () => undefined,
    );
  }

  destroy(): void {
    this.isClosing = true;
    this.socket.destroy();
  }

  /** Ends every wait with what went wrong, and the connection. */
  fail(error: Error): void {
    this.failure ??= this.isClosing ? new Error('the connection was closed') : error;
    this.socket.destroy();
    for (const waiting of this.waiting) waiting.end(this.failure);
  }

  private async wait(isOver: () => boolean, limitMs: number, late: () => Error | undefined): Promise<void> {
    if (this.failure) throw this.failure;
    if (isOver()) return;
    await new Promise<void>((resolve, reject) => {
      const waiting: Waiting = {
        isOver,
        end: (error) => {
          clearTimeout(timer);
          this.waiting.delete(waiting);
          if (error) reject(error);
          else resolve();
        },
      };
      const timer = setTimeout(() => waiting.end(late()), limitMs);
      this.waiting.add(waiting);
    });
  }

  private read(bytes: Buffer, length: number): boolean {
    try {
      this.options.onChunk(bytes, length);
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)));
      return false;
    }
    for (const waiting of this.waiting) if (waiting.isOver()) waiting.end();
    return true;
  }
}

/**
 * One connection through Node, over TCP, TLS or a local socket; see real-network.ts. The path that runs per chunk adds no object and no closure to what
 * `node:net` makes itself.
 */
import { Socket as NodeSocket } from 'node:net';
import { clearTimeout, setImmediate, setTimeout } from 'node:timers';
import type { Socket, SocketEvents } from './network.js';

/**
 * Node's own mark (16 KiB in Node 20) is below one chunk of a busy broker, so that every write would answer "hold back" and every
 * chunk would cost a drain event. It also bounds what a paused connection keeps.
 */
export const HIGH_WATER_MARK_BYTES = 256 * 1024;

/** How long `end` goes on reading, and dropping, what the peer still sends: closing with unread bytes would reset the connection and lose our last words. */
const LINGER_MS = 1_000;

export class RealSocket implements Socket {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  private receivedPlainBytes = 0;
  private needsDrain = false;
  private isEnding = false;

  constructor(
    private socket: NodeSocket,
    readonly peerName?: string,
    /** What stands for an address where a socket has none. */
    from?: { readonly address: string; readonly port: number },
  ) {
    this.remoteAddress = from?.address ?? socket.remoteAddress ?? '';
    this.remotePort = from?.port ?? socket.remotePort ?? 0;
    this.localAddress = from?.address ?? socket.localAddress ?? '';
    this.localPort = socket.localPort ?? 0;
    // What went wrong is of no use to anybody: the close that always follows is what the owner acts on.
    socket.on('error', ignore);
  }

  get unsentBytes(): number {
    return this.socket.writableLength;
  }

  /** What Node itself goes by, to tell a slow peer from one that is gone: only the handle knows how far a write has come. */
  get sentBytes(): number {
    const { _handle: own } = this.socket as unknown as { readonly _handle?: Partial<WritingHandle> | null };
    const handle = this.isTls ? own?._parent : own;
    if (handle?.bytesWritten === undefined || handle.writeQueueSize === undefined) return this.socket.bytesWritten - this.unsentBytes;
    return handle.bytesWritten - handle.writeQueueSize;
  }

  get receivedBytes(): number {
    return this.isTls ? this.receivedPlainBytes : this.socket.bytesRead;
  }

  start(events: SocketEvents): void {
    if (this.socket.closed) {
      setImmediate(() => events.onClose());
      return;
    }
    if (events.room !== undefined && !this.isTls) this.readInto(events);
    const { socket } = this;
    socket.once('close', () => events.onClose());
    if (this.isTls) return this.startTls(events);
    socket.on('drain', () => events.onDrain());
    socket.on('data', (bytes: Buffer) => events.onData(bytes));
  }

  /**
   * Node reads into memory that it is given (`onread`), but takes it for sockets that connect only: one that a server accepted is made anew over the same handle, before anything
   * was read. Measured on 128 KiB requests: 0.5 to 0.7 µs of processor time a KiB with a buffer for each read, of which half is collecting garbage; 0.2 µs with one that is used again.
   */
  private readInto(events: SocketEvents): void {
    const accepted = this.socket as unknown as { _handle?: unknown };
    const handle = accepted._handle;
    if (typeof handle !== 'object' || handle === null || this.socket.bytesRead > 0) return;
    const callback = (length: number): boolean => {
      if (!this.isEnding) events.onFilled!(length);
      return true;
    };
    // @types/node knows neither `handle` nor a buffer that is asked for.
    const options = { handle, onread: { buffer: () => events.room!(), callback }, highWaterMark: HIGH_WATER_MARK_BYTES };
    const socket = new NodeSocket(options as ConstructorParameters<typeof NodeSocket>[0]);
    accepted._handle = undefined;
    socket.on('error', ignore);
    socket.resume();
    this.socket = socket;
  }

  /** Node gives the mark above to plain sockets only, and counts what came over TLS before it is decrypted. */
  private startTls(events: SocketEvents): void {
    const { socket } = this;
    socket.on('drain', () => {
      if (!this.needsDrain) return;
      this.needsDrain = false;
      events.onDrain();
    });
    socket.on('data', (bytes: Buffer) => {
      this.receivedPlainBytes += bytes.length;
      events.onData(bytes);
    });
  }

  private get isTls(): boolean {
    return 'encrypted' in this.socket;
  }

  write(bytes: Uint8Array, sent?: () => void): boolean {
    if (this.socket.writable) {
      const goesOn = this.socket.write(bytes, sent);
      if (goesOn || !this.isTls) return goesOn;
      this.needsDrain = this.socket.writableLength >= HIGH_WATER_MARK_BYTES;
      return !this.needsDrain;
    }
    // Closed or closing: there is nobody to tell but the owner of the bytes, and `onClose` comes or came.
    if (sent !== undefined) setImmediate(sent);
    return false;
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  end(): void {
    const socket = this.socket;
    if (!socket.writable) return;
    this.isEnding = true;
    socket.removeAllListeners('data');
    socket.resume();
    // From when the system has taken the last byte: a slow reader may take its time until then.
    socket.end(() => {
      const linger = setTimeout(() => socket.destroy(), LINGER_MS).unref();
      socket.once('close', () => clearTimeout(linger));
    });
  }

  destroy(): void {
    this.socket.destroy();
  }
}

interface WritingHandle {
  /** Given to the system. */
  readonly bytesWritten: number;
  /** And not taken by it yet. */
  readonly writeQueueSize: number;
  /** Of TLS: the one that writes what was encrypted. */
  readonly _parent: Partial<WritingHandle> | null;
}

function ignore(): void {}

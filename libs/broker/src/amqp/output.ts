import type { Socket } from '@dovecote/ground';
import { viewOf } from '../small-copy.js';

/**
 * What a connection wants to say in this turn of the loop, gathered in blocks that all connections share.
 *
 * A block belongs to a connection from its first byte until the socket has taken it; an idle connection holds none. Everything
 * is sent once per turn, and whenever a block is full. Nothing is kept after a crash, and nothing here knows a protocol.
 */
export const blockBytes = 65_536;

/** Up to here a copy is cheaper than lending the whole block to the socket. */
const copiedBytesMax = 4_000;

const pooledBlocksMax = 64;

/** Replies that a peer does not read: above this its socket is not read either. */
export const unsentBytesMax = 4 * 1024 * 1024;

class Block {
  readonly bytes: Buffer;
  readonly view: DataView;
  /** Bound once: it goes to the socket with each block that is sent. */
  readonly release: () => void;

  constructor(pool: BlockPool, length: number) {
    this.bytes = Buffer.allocUnsafeSlow(length);
    this.view = viewOf(this.bytes);
    this.release = () => pool.give(this);
  }
}

export class BlockPool {
  private readonly free: Block[] = [];

  take(): Block {
    return this.free.pop() ?? new Block(this, blockBytes);
  }

  give(block: Block): void {
    if (this.free.length < pooledBlocksMax) this.free.push(block);
  }

  readonly empty = new Block(this, 0);
}

/** The part of the broker's turn that this needs: `flush` is called once at the end of the turn. */
export interface FlushQueue {
  flushSoon(flushable: { isFlushQueued: boolean; flush(): void }): void;
}

export class Output {
  isFlushQueued = false;
  /** Bytes given to the socket since the connection began: what heartbeats go by. */
  sentBytes = 0;
  /** Where the next byte goes, after `reserve` said that there is room. */
  bytes: Buffer;
  view: DataView;
  used = 0;
  private block: Block;
  private isClosed = false;

  constructor(
    private readonly socket: Socket,
    private readonly turn: FlushQueue,
    private readonly pool: BlockPool,
    /** Called when the peer reads too slowly; the socket's drain event says when that is over. */
    private readonly onSlow: () => void,
  ) {
    this.block = pool.empty;
    this.bytes = this.block.bytes;
    this.view = this.block.view;
  }

  /** Makes room for `length` bytes, at most `blockBytes`, at `used` of `bytes`; the caller writes them and moves `used` on. */
  reserve(length: number): void {
    if (this.used + length > this.bytes.length) {
      this.send();
      this.block = this.pool.take();
      this.bytes = this.block.bytes;
      this.view = this.block.view;
    }
    if (!this.isFlushQueued) this.turn.flushSoon(this);
  }

  /** Appends bytes of any length. */
  write(from: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end) {
      const free = this.bytes.length - this.used;
      const length = Math.min(end - at, free > 0 ? free : blockBytes);
      this.reserve(length);
      from.copy(this.bytes, this.used, at, at + length);
      this.used += length;
      at += length;
    }
  }

  flush(): void {
    this.isFlushQueued = false;
    this.send();
  }

  /** Throws away what was not sent, and everything that comes. */
  close(): void {
    this.send();
    this.isClosed = true;
  }

  private send(): void {
    const { block, used } = this;
    this.block = this.pool.empty;
    this.bytes = this.block.bytes;
    this.view = this.block.view;
    this.used = 0;
    if (used === 0 || this.isClosed) {
      if (block.bytes.length > 0) block.release();
      return;
    }
    this.sentBytes += used;
    if (used <= copiedBytesMax) {
      const copy = Buffer.allocUnsafe(used);
      block.bytes.copy(copy, 0, 0, used);
      block.release();
      if (!this.socket.write(copy)) this.onSlow();
    } else if (!this.socket.write(block.bytes.subarray(0, used), block.release)) {
      this.onSlow();
    }
  }
}

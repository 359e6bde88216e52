import { copyBytes, viewOf } from '../small-copy.js';
import type { Writer } from './writer.js';

/**
 * Small answers of one connection, joined until the turn is over: one behind the other, each copied once from where it was written, and together once more into the piece that goes to
 * the socket. A block is lent to a connection for a turn, so that there are as many as connections that are answered in one.
 */
export const answerBlockBytes = 4096;
const keptBlocksMax = 256;
const free: AnswerBlock[] = [];

export class AnswerBlock {
  used = 0;
  private readonly bytes = Buffer.allocUnsafeSlow(answerBlockBytes);
  private readonly view = viewOf(this.bytes);

  static take(): AnswerBlock {
    return free.pop() ?? new AnswerBlock();
  }

  /** The message that stands in `writer`; there must be room for it. */
  add(writer: Writer): void {
    copyBytes(this.bytes, this.view, this.used, writer.bytes, writer.view, 0, writer.used);
    this.used += writer.used;
  }

  /** All of it, in a piece of its own; the block is given back. */
  takeAll(): Buffer {
    const all = Buffer.allocUnsafe(this.used);
    this.bytes.copy(all, 0, 0, this.used);
    this.give();
    return all;
  }

  give(): void {
    this.used = 0;
    if (free.length < keptBlocksMax) free.push(this);
  }
}

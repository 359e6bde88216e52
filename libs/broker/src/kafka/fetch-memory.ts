/**
 * Bounds what all answers to fetches take together, from when they are read until the last byte was sent. A client may ask for what it likes and read as slowly as it likes: when the bound is
 * reached, answers become small, one batch at least, so that nobody is kept from going on by somebody else.
 *
 * One for all connections of a server; nothing survives.
 */
export class FetchMemory {
  private heldBytes = 0;

  constructor(private readonly bytesMax: number) {}

  /** What the next answer may take. */
  get room(): number {
    return Math.max(this.bytesMax - this.heldBytes, smallAnswerBytes);
  }

  /** So many more, or fewer. */
  hold(bytes: number): void {
    this.heldBytes += bytes;
  }
}

const smallAnswerBytes = 64 * 1024;

import type { Disk } from '@dovecote/ground';
import { readWhole, replaceFile } from './open-files.js';

/**
 * The producer ids that nobody has had yet, in the file `producer-ids`: the first one that may be handed out after the next opening, as text. It is moved on by a
 * block at a time, so a crash wastes at most a block and never gives an id twice.
 */
const blockIds = 1000;

export class ProducerIds {
  private next = 0;
  private end = 0;

  constructor(
    private readonly disk: Disk,
    private readonly directory: string,
    private readonly isSynced: boolean,
  ) {}

  async open(): Promise<void> {
    const bytes = await readWhole(this.disk, `${this.directory}/producer-ids`);
    const kept = bytes === undefined ? 0 : Number(bytes.toString('latin1'));
    this.next = Number.isSafeInteger(kept) && kept > 0 ? kept : 0;
    this.end = this.next;
  }

  /** An id seen in the log is taken, whatever the file says. */
  skip(producerId: number): void {
    if (producerId >= this.next) this.next = producerId + 1;
    if (this.end < this.next) this.end = this.next;
  }

  async take(): Promise<number> {
    if (this.next >= this.end) {
      const end = this.next + blockIds;
      await replaceFile(this.disk, this.directory, 'producer-ids', Buffer.from(`${end}\n`), this.isSynced);
      this.end = end;
    }
    return this.next++;
  }
}

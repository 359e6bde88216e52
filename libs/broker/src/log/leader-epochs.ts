/**
 * Under which leader epoch which offsets were appended, in Kafka's `leader-epoch-checkpoint`:
 *
 *   0                  version
 *   2                  count
 *   0 0                epoch, first offset
 *   3 1500
 *
 * An epoch tells a reader who comes back after a crash whether what it read is still the same. Small, kept whole in memory.
 */
export class LeaderEpochs {
  constructor(private entries: { readonly epoch: number; readonly startOffset: number }[] = []) {}

  /** The last one; -1 where there is none. */
  get latest(): number {
    return this.entries.at(-1)?.epoch ?? -1;
  }

  /** Begins an epoch; false where that says nothing new. */
  assign(epoch: number, startOffset: number): boolean {
    if (epoch <= this.latest) return false;
    // Epochs under which nothing was appended leave no trace.
    while (this.entries.length > 0 && this.entries.at(-1)!.startOffset >= startOffset) this.entries.pop();
    this.entries.push({ epoch, startOffset });
    return true;
  }

  /** The epoch of the record at `offset`; -1 where it is not known. */
  at(offset: number): number {
    let found = -1;
    for (const { epoch, startOffset } of this.entries) if (startOffset <= offset) found = epoch;
    return found;
  }

  /** The last epoch that is `epoch` or earlier, and the offset behind its records. */
  endOf(epoch: number, logEndOffset: number): { readonly epoch: number; readonly endOffset: number } {
    if (epoch < 0 || this.entries.length === 0 || epoch > this.latest) return { epoch: -1, endOffset: -1 };
    if (epoch === this.latest) return { epoch, endOffset: logEndOffset };
    const next = this.entries.findIndex((entry) => entry.epoch > epoch);
    const before = next > 0 ? this.entries[next - 1]!.epoch : epoch;
    return { epoch: before, endOffset: this.entries[next]!.startOffset };
  }

  /** The log begins at `offset` now. */
  cutStart(offset: number): void {
    const epoch = this.at(offset);
    const later = this.entries.filter(({ startOffset }) => startOffset > offset);
    this.entries = epoch < 0 ? later : [{ epoch, startOffset: offset }, ...later];
  }

  /** The log ends at `offset` now. */
  cutEnd(offset: number): void {
    this.entries = this.entries.filter(({ startOffset }) => startOffset < offset);
  }

  encode(): string {
    return ['0', String(this.entries.length), ...this.entries.map(({ epoch, startOffset }) => `${epoch} ${startOffset}`), ''].join('\n');
  }

  /** undefined where the text is no checkpoint. */
  static decode(text: string): LeaderEpochs | undefined {
    const [version, count, ...lines] = text.split('\n');
    const entries: { epoch: number; startOffset: number }[] = [];
    if (version !== '0' || count === undefined) return undefined;
    for (const line of lines.slice(0, Number(count))) {
      const match = /^(\d+) (\d+)$/.exec(line);
      const previous = entries.at(-1);
      if (match === null) return undefined;
      const entry = { epoch: Number(match[1]), startOffset: Number(match[2]) };
      if (previous !== undefined && (entry.epoch <= previous.epoch || entry.startOffset < previous.startOffset)) return undefined;
      entries.push(entry);
    }
    return entries.length === Number(count) ? new LeaderEpochs(entries) : undefined;
  }
}

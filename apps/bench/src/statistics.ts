/**
 * The few numbers a benchmark is told in: medians over rounds and percentiles over samples. Pure; in memory only.
 */

/** The middle value, or the mean of the two middle ones; undefined of nothing. */
export function median(values: readonly number[]): number | undefined {
  if (values.length === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}

/** Samples of one kind, kept whole (8 bytes each) so that a percentile is exact. */
export class Samples {
  private values = new Float64Array(4096);
  private length = 0;
  private isSorted = false;

  get count(): number {
    return this.length;
  }

  add(value: number): void {
    if (this.length === this.values.length) {
      const larger = new Float64Array(this.length * 2);
      larger.set(this.values);
      this.values = larger;
    }
    this.values[this.length++] = value;
    this.isSorted = false;
  }

  each(visit: (value: number) => void): void {
    for (let n = 0; n < this.length; n++) visit(this.values[n]!);
  }

  clear(): void {
    this.length = 0;
  }

  /** The smallest sample that at least `share` (0 to 1) of all samples do not exceed; undefined without samples. */
  percentile(share: number): number | undefined {
    if (this.length === 0) return undefined;
    if (!this.isSorted) {
      this.values.subarray(0, this.length).sort();
      this.isSorted = true;
    }
    const rank = Math.max(1, Math.ceil(share * this.length));
    return this.values[rank - 1];
  }
}

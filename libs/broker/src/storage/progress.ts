import type { Clock } from '@dovecote/ground';

const everyMs = 1000;

/** Tells the operator how far a long recovery is: a line a second, none for a short one. */
export class Progress {
  /** Counted by whoever reads them. */
  records = 0;
  private readonly began: number;
  private told: number;

  constructor(
    private readonly clock: Clock,
    private readonly report: (line: string) => void,
  ) {
    this.began = clock.monotonicMs();
    this.told = this.began;
  }

  tell(bytesRead: number, bytesTotal: number): void {
    const now = this.clock.monotonicMs();
    if (now - this.told < everyMs || bytesRead === 0) return;
    this.told = now;
    const seconds = (now - this.began) / 1000;
    const percent = Math.floor((100 * bytesRead) / bytesTotal);
    const left = Math.ceil((seconds * (bytesTotal - bytesRead)) / bytesRead);
    const size = Math.ceil(bytesTotal / 1_048_576);
    this.report(`Recovering: ${percent} % of ${size} MiB read, ${Math.round(this.records / seconds)} records a second, ${left} s left`);
  }
}

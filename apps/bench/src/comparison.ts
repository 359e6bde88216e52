/**
 * What a benchmark gathers on its way: figures of ours and of the peer in turn, round after round, and what must be known to read them.
 *
 * A case that goes wrong is told as void and the rest goes on; nothing measured is thrown away silently.
 */
import { TAKEN_BY_OTHERS } from './costs.js';
import type { Figure, Measurement, SideName } from './figure.js';

const disturbedPercent = 10;

export interface ComparedCase {
  readonly caseTitle: string;
  /** What was promised to the publisher while it was measured. */
  readonly promise: string;
  readonly round: number;
}

export class Comparison {
  readonly measurements: Measurement[] = [];
  readonly notes: string[] = [];
  readonly failures: string[] = [];

  /** `progress` is told what is being done, a line at a time. */
  constructor(private readonly progress: (line: string) => void) {}

  async take(side: SideName, { caseTitle, promise, round }: ComparedCase, measure: () => Promise<Figure[]>): Promise<void> {
    const what = [caseTitle, promise && `[${promise}]`, `round ${round}`, side].filter(Boolean).join(' ');
    try {
      const figures = await measure();
      for (const figure of figures) this.measurements.push({ ...figure, side, caseTitle, promise, round });
      const told = figures
        .filter((figure) => figure.value !== undefined)
        .map((figure) => `${figure.name} ${figure.value?.toPrecision(3)} ${figure.unit}`);
      this.progress(`${what}: ${told.join(', ')}`);
    } catch (error) {
      const failure = `${what}: ${error instanceof Error ? error.message : String(error)}`;
      this.failures.push(failure);
      this.progress(`VOID ${failure}`);
    }
  }

  /** Who goes first changes from round to round, so that what one leaves behind does not always meet the other. */
  async takeBoth(
    compared: ComparedCase,
    ours: (() => Promise<Figure[]>) | undefined,
    peer: (() => Promise<Figure[]>) | undefined,
  ): Promise<void> {
    const sides = [
      { side: 'ours', measure: ours },
      { side: 'peer', measure: peer },
    ] as const;
    const inTurn = compared.round % 2 === 1 ? sides : [...sides].reverse();
    for (const { side, measure } of inTurn) if (measure !== undefined) await this.take(side, compared, measure);
  }

  noteDisturbance(): void {
    const taken = this.measurements.filter((measurement) => measurement.name.endsWith(TAKEN_BY_OTHERS));
    const disturbed = taken.filter((measurement) => (measurement.value ?? 0) > disturbedPercent);
    if (disturbed.length === 0) return;
    const share = `${disturbed.length} of ${taken.length} measurements`;
    this.notes.push(
      `other processes took more than ${disturbedPercent} % of the machine during ${share}: rates and latencies are worse than they could be`,
    );
  }
}

/** How far a run of the contract has come, in lines: which case is tried on which broker, how many are done, and how long the others will take. In memory. */
import type { Clock } from '@dovecote/ground';

/** What is left is reckoned from so many cases before: brokers differ, and the first are the quickest. */
const RECKONED_FROM = 30;

export class ContractProgress {
  /** When each case began, this one too. */
  readonly #beganMs: number[] = [];

  constructor(
    private readonly total: number,
    private readonly clock: Pick<Clock, 'monotonicMs'>,
  ) {}

  /** The line for a case that begins now: "37 of 448 done, about 95 s left. RabbitMQ 4.0.5: settles a delivery once". */
  begins(column: string, name: string): string {
    this.#beganMs.push(this.clock.monotonicMs());
    const done = this.#beganMs.length - 1;
    return `${done} of ${this.total} done${this.#left(done)}. ${column}: ${name}`;
  }

  #left(done: number): string {
    if (done === 0) return '';
    const recent = this.#beganMs.slice(-RECKONED_FROM - 1);
    const eachMs = (recent.at(-1)! - recent[0]!) / (recent.length - 1);
    return `, about ${Math.ceil((eachMs * (this.total - done)) / 1000)} s left`;
  }
}

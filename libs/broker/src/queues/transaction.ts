import { CodedError } from '../errors.js';
import type { Arena, Chunk } from '../storage/arena.js';
import type { Owner } from './owner.js';
import type { Route } from './route.js';
import type { Outstanding } from './unacknowledged.js';

/** What becomes of a message that was out with a consumer. */
export type Outcome = 'done' | 'put-back' | 'dead';

export interface PendingPublish {
  /** Where it goes was decided when it was published, as RabbitMQ does it. */
  readonly route: Route;
  readonly isPersistent: boolean;
  readonly isExpiring: boolean;
  readonly chunk: Chunk;
  readonly offset: number;
  readonly length: number;
}

export interface PendingSettlement {
  readonly outstanding: Outstanding;
  readonly outcome: Outcome;
}

/** What a publish costs beside its bytes. */
const publishOverheadBytes = 128;

/**
 * What a session has said since its last commit: publishes, whose bytes wait in memory that counts like that of any message, and
 * settlements, which are neither outstanding any more nor done. Nothing of it is in a queue, and nothing of it survives a crash.
 *
 * Its session applies it or takes it back. All transactions of one owner together have a bound, so that no connection can fill the
 * memory with what it never commits.
 */
export class Transaction {
  publishes: PendingPublish[] = [];
  settlements: PendingSettlement[] = [];
  private bytes = 0;

  constructor(
    private readonly arena: Arena,
    private readonly owner: Owner,
    private readonly bytesMax: number,
  ) {}

  get isEmpty(): boolean {
    return this.publishes.length === 0 && this.settlements.length === 0;
  }

  /** Whether something of it must be in the journal before anybody is told that it is committed. */
  get isKept(): boolean {
    return (
      this.publishes.some(({ isPersistent, route }) => (isPersistent ? route.kept.length > 0 : route.keepingCount > 0)) ||
      this.settlements.some(({ outcome, outstanding }) => outcome === 'dead' || outstanding.queue.log !== undefined)
    );
  }

  /** Copies the content image `bytes[start .. start + length)`. Throws `transaction-too-large`, and keeps what was there. */
  publish(route: Route, isPersistent: boolean, bytes: Buffer, start: number, length: number, isExpiring: boolean): void {
    const { arena, owner, bytesMax } = this;
    const cost = length + publishOverheadBytes;
    if (owner.transactionBytes + cost > bytesMax) {
      throw new CodedError(
        'transaction-too-large',
        `more than ${bytesMax} bytes in transactions of this connection that are not committed: commit more often`,
      );
    }
    owner.transactionBytes += cost;
    this.bytes += cost;
    const chunk = arena.reserveVolatile(length);
    const offset = arena.volatileOffset;
    arena.copy(bytes, start, chunk, offset, length);
    chunk.live++;
    this.publishes.push({ route, isPersistent, isExpiring, chunk, offset, length });
  }

  settle(outstanding: Outstanding, outcome: Outcome): void {
    this.settlements.push({ outstanding, outcome });
  }

  /**
   * The settlements in the order in which they take effect: as they were said, and where several in a row say the same, the oldest
   * delivery first.
   */
  ordered(): readonly PendingSettlement[] {
    const { settlements } = this;
    const ordered: PendingSettlement[] = [];
    for (let from = 0, to = 0; from < settlements.length; from = to) {
      while (to < settlements.length && settlements[to]!.outcome === settlements[from]!.outcome) to++;
      ordered.push(...settlements.slice(from, to).sort((one, other) => one.outstanding.tag - other.outstanding.tag));
    }
    return ordered;
  }

  /** Nothing is pending any more, because it was applied or because it never will be. */
  clear(): void {
    for (const { chunk } of this.publishes) this.arena.drop(chunk);
    this.publishes = [];
    this.settlements = [];
    this.owner.transactionBytes -= this.bytes;
    this.bytes = 0;
  }
}

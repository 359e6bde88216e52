import type { Envelope } from './envelope.js';
import type { Lane } from './transport.js';

/**
 * Keeps the messages of a group's lanes that wait: for their next attempt, or behind one of their own key that does. What is in it survives the end of
 * the process and follows its lane to whoever has that next.
 *
 * Only the member that has the lane calls it, from `restore` on; `release` alone is for anybody. A promise that fulfils says that the change survives what a confirm survives; the
 * source message is acknowledged after that, never before.
 */
export interface ParkingStore {
  /**
   * Everything parked in the lane, in the order of the sequence numbers. From then on `onRelease` hears of each release in the lane, at least once, until
   * `leave`: what was released while nobody had the lane is already in what is restored.
   */
  restore(lane: Lane, onRelease: (released: Released) => void): Promise<readonly Parked[]>;
  park(lane: Lane, parked: Parked): Promise<void>;
  /**
   * In place of what is parked under this sequence number, and of what was released there as far as `onRelease` said so: a release that was not heard yet
   * counts more than whatever is written meanwhile. After a crash the older one may be there as well: the one with more failures counts.
   */
  update(lane: Lane, parked: Parked): Promise<void>;
  /** Handled, or buried: it is gone. After a crash it may be there once more, and is then handled again. */
  resolve(lane: Lane, sequence: number): Promise<void>;
  /** The lane is another member's now: nothing of it is wanted in memory. */
  leave(lane: Lane): Promise<void>;
  /**
   * Somebody decided about a dead one, in any process: whoever has the lane hears of it, or finds it done when it restores the lane. Released twice, it
   * may be handled twice.
   */
  release(laneId: string, released: Released): Promise<void>;
}

/** What a key waited for, and waits no more. */
export interface Released {
  readonly sequence: number;
  readonly key: string;
  /** To be handled in the place of the one that was parked, now; nothing where it is gone for good. */
  readonly envelope: Envelope | undefined;
}

export interface Parked {
  /** Ascending in the lane, in the order in which the messages came. */
  readonly sequence: number;
  readonly key: string;
  /** With its trail: how often it failed, and why. */
  readonly envelope: Envelope;
  /**
   * `retry`: its next attempt is at `dueAtMs`. `behind`: its key's first one is parked. `dead`: among the dead letters, and as long as it stands here its
   * key waits (order `strict`).
   */
  readonly state: 'retry' | 'behind' | 'dead';
  /** Milliseconds since 1970-01-01 UTC. On a dead one: it may not be among the dead letters yet, because whoever had the lane ended on the way. */
  readonly dueAtMs: number | undefined;
}

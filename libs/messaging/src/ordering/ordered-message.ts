/**
 * A message of a key, from its arrival until it is done: first a delivery that nobody acknowledged, then, where it had to wait, one that is parked. In
 * memory only; the broker has the delivery, the parking store what is parked.
 */
import type { Death, Envelope } from '../envelope.js';
import type { Parked } from '../parking-store.js';
import type { Incoming, Lane } from '../transport.js';

export class OrderedMessage {
  /** Its place among what is parked; nothing before it was parked. */
  sequence: number | undefined;
  state: Parked['state'] = 'retry';
  dueAtMs: number | undefined;
  /** Whoever had the lane before may have begun with it, and ended. */
  mayHaveBegun = false;
  /** It came out of the parking store with the lane. */
  isRestored = false;
  /** Released, and nothing is to be handled in its place. */
  isGone = false;
  /** The broker does not take it as it would be parked: it can only wait unacknowledged. */
  isTooLarge = false;
  /** Where it stands still when it is acknowledged, in words. */
  readonly origin: string | undefined;
  /** Ends its waiting early. */
  wake: (() => void) | undefined;

  constructor(
    public envelope: Envelope,
    /** The delivery, as long as it is not acknowledged. */
    public source: Incoming | undefined,
  ) {
    this.origin = source?.origin;
  }

  static restored({ sequence, envelope, state, dueAtMs }: Parked): OrderedMessage {
    const message = new OrderedMessage(envelope, undefined);
    message.sequence = sequence;
    message.state = state;
    message.dueAtMs = dueAtMs;
    message.isRestored = true;
    return message;
  }
}

/** `back`: nothing came of it, and it is still its turn. */
export type Outcome =
  | { readonly kind: 'done' }
  | { readonly kind: 'back' }
  | { readonly kind: 'again'; readonly envelope: Envelope; readonly delayMs: number }
  | { readonly kind: 'dead'; readonly envelope: Envelope; readonly death: Death };

/** One turn of an ordered message with its handler: what becomes of it goes back to its key, not to the broker. */
export class OrderedIncoming implements Incoming {
  readonly envelope: Envelope;
  readonly isRedelivered: boolean;
  readonly deliveries: number;
  readonly isQuarantined = false;
  readonly origin?: string;
  /** Its key waits for it although it is among the dead letters. */
  isStrict = false;

  constructor(
    message: OrderedMessage,
    readonly lane: Lane,
    private readonly isOurs: () => boolean,
    readonly end: (outcome: Outcome) => void,
  ) {
    this.envelope = message.envelope;
    this.isRedelivered = message.source?.isRedelivered ?? message.isRestored;
    this.deliveries = message.source?.deliveries ?? 1;
    if (message.origin !== undefined) this.origin = message.origin;
  }

  get isTakenBack(): boolean {
    return !this.isOurs();
  }

  acknowledge(): void {
    this.end({ kind: 'done' });
  }

  release(): void {
    this.end({ kind: 'back' });
  }
}

/** The lane goes, or is gone: whoever has it next goes on. */
export class LaneGone extends Error {
  override readonly name = 'LaneGone';
}

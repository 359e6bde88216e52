import type { Envelope } from './envelope.js';

/**
 * What messaging needs of a broker, and all it sees of one. Every implementation passes the contract suite in testing.ts.
 *
 * Groups: everything that subscribes under one group name shares one durable queue, which lives on while nobody is there. Each message goes to every
 * group that subscribed to its type, and within a group to one member at a time, until that member acknowledges it.
 */
export interface Transport {
  /** What it can promise; checked against what the application needs before anything is opened. */
  readonly capabilities: TransportCapabilities;

  /** Reaches the broker. Rejects with a `MessagingError` whose sentence says what to do. */
  open(): Promise<void>;

  /**
   * Resolves once the broker confirmed the message, which is then as safe as the broker promises, whether or not a group wants it.
   * Rejects with a `MessagingError` when the broker refused it. Where the connection is lost meanwhile, the same message is sent again on the next
   * one, but not after `deadlineMs` (of the clock's `monotonicMs`): the caller has given up then, and what becomes of the promise matters to nobody.
   */
  publish(envelope: Envelope, deadlineMs: number): Promise<void>;

  /**
   * Resolves when the group's queue exists and is bound: what is published from then on reaches the group. Consumers come back by themselves
   * after a lost connection. `onMessage` must not throw. One subscription per transport.
   */
  subscribe(request: SubscriptionRequest, onMessage: (incoming: Incoming) => void): Promise<TransportSubscription>;

  /** What was delivered and not acknowledged goes back to its queue. After it `publish` rejects with code `closed`. */
  close(): Promise<void>;
}

export interface TransportCapabilities {
  /** Confirms what is published, and hands out again what was delivered and not acknowledged. */
  readonly isAtLeastOnce: boolean;
  /** Members of one group share its messages. */
  readonly sharesWork: boolean;
  /** Messages outlive the process of the broker. */
  readonly isDurable: boolean;
}

export interface SubscriptionRequest {
  readonly group: string;
  readonly types: readonly string[];
  /** The most messages that may be unacknowledged at once. */
  readonly prefetch: number;
}

/** One delivery. Settled once; a second call, or one after the broker took the message back, does nothing. */
export interface Incoming {
  readonly envelope: Envelope | UnreadableEnvelope;
  /** The broker handed it out before, to this member or another. */
  readonly isRedelivered: boolean;
  /** The connection it came on is gone and the broker will hand it out again: to handle it now would only repeat it. */
  readonly isTakenBack: boolean;
  /** The handler is done with it. */
  acknowledge(): void;
  /** Back to its queue, for whoever takes it next. There is no way to drop one: nothing is lost on purpose before there are dead letters. */
  release(): void;
}

/** A message whose outside cannot be read. It has no `headers`, which tells it from an envelope. */
export interface UnreadableEnvelope {
  /** A clause that says what is wrong with it: "it has no id (…)". */
  readonly problem: string;
  readonly id: string | undefined;
  readonly type: string;
}

export interface TransportSubscription {
  /** No message comes after this resolved; those that came before can still be settled. */
  stop(): Promise<void>;
}

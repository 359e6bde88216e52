import type { Envelope, MessageHeaders, MessageKind } from './envelope.js';
import type { ParkingStore } from './parking-store.js';

/**
 * What messaging needs of a broker, and all it sees of one. Every implementation passes the contract suite in testing.ts.
 *
 * Groups: everything that subscribes under one group name shares what was published for it, which is kept while nobody is there. Each event goes to
 * every group that subscribed to its type, each command and query to the one group that handles it, and within a group to one member at a time, until
 * that member acknowledges it.
 */
export interface Transport {
  /** What it can promise; checked against what the handlers need before anything is opened. */
  readonly capabilities: TransportCapabilities;
  /** Where events are on one broker and commands on another: each by itself. `capabilities` are what both can then. */
  readonly byKind?: Readonly<Record<KindOfBroker, BrokerOfKind>>;

  /** How traces and metrics name where messages go and come from; by their type alone where absent. */
  readonly places?: BrokerPlaces;

  /** Reaches the broker. Rejects with a `MessagingError` whose sentence says what to do. */
  open(): Promise<void>;

  /**
   * Resolves once the broker confirmed the message, which is then as safe as the broker promises, whether or not a group wants it.
   * Rejects with a `MessagingError` when the broker refused it. Where the connection is lost meanwhile, the same message is sent again on the next
   * one, but not after `deadlineMs` (of the clock's `monotonicMs`): the caller has given up then, and what becomes of the promise matters to nobody.
   */
  publish(envelope: Envelope, deadlineMs: number, route?: Route): Promise<void>;

  /**
   * As `publish`, without a promise: `outcome` is told, once, and never before this returned. For a transport whose broker needs no promise to answer: each of
   * those on the way costs a tenth of the message.
   */
  hand?(envelope: Envelope, deadlineMs: number, route: Route | undefined, outcome: PublishOutcome): void;

  /** What `subscribe` would find and change on the broker, without a change. */
  plan(request: SubscriptionRequest): Promise<readonly PlannedThing[]>;

  /**
   * Resolves when what the group needs exists and is bound: what is published from then on reaches the group. Consumers come back by themselves
   * after a lost connection. One subscription per transport.
   */
  subscribe(request: SubscriptionRequest, consumer: TransportConsumer): Promise<TransportSubscription>;

  /**
   * Where answers to what this transport asks are to be sent, as the `replyTo` of an envelope; from then on they come to `onReply`. An answer is at most
   * once: it is gone with the connection it would have come on. The address stays the same across reconnects.
   */
  openReplies(onReply: (reply: Envelope) => void): Promise<string>;

  /**
   * A look into what a group has in a box, from the beginning to what was the last one when the look began: what comes in behind it is not seen. What
   * others have out is not there. Rejects, here and at `next`, with a `MessagingError` that says whether it may be tried again.
   */
  openBox(box: Box): Promise<OpenBox>;

  /** Keeps what waits behind its key in this group's lanes; nothing where the broker has no lanes. */
  parkingStore(group: string): ParkingStore | undefined;

  /** What was delivered and not acknowledged goes back to where it was kept. After it `publish` rejects with code `closed`. */
  close(): Promise<void>;
}

/** Told what became of a message that was published. */
export interface PublishOutcome {
  confirmed(): void;
  refused(error: unknown): void;
}

/** Which of two brokers has a kind: `command` stands for queries and answers too. */
export type KindOfBroker = 'event' | 'command';

/** The broker that has messages of a kind: the transport itself, unless kinds are on two brokers. */
export function brokerOf(transport: Pick<Transport, 'capabilities' | 'places' | 'byKind'>, kind: MessageKind): BrokerOfKind {
  return transport.byKind?.[kind === 'event' ? 'event' : 'command'] ?? transport;
}

export type BrokerOfKind = Pick<Transport, 'capabilities' | 'places'>;

export interface TransportCapabilities {
  /** As a sentence calls it: `RabbitMQ over AMQP`, `the embedded broker`. */
  readonly broker: string;
  readonly can: Readonly<Record<Capability, true | Lack>>;
}

/** Names in the words of the broker, as the semantic conventions of OpenTelemetry for it ask. */
export interface BrokerPlaces {
  /** `rabbitmq`, `kafka`, or a name of one's own. */
  readonly system: string;
  readonly server?: { readonly host: string; readonly port: number } | undefined;
  published(message: Pick<Envelope, 'kind' | 'type'>, topic: string | undefined): string;
  consumed(message: Pick<Envelope, 'kind' | 'type'>, topic: string | undefined, group: string): string;
}

/**
 * At least once: confirms what is published, and hands out again what was delivered and not acknowledged. Groups: members of one share its messages.
 * Durable: messages outlive the process of the broker. Commands: one group takes each of them. Order by key: the messages of a key are handed to one
 * member, in order, in lanes. Delay: a message is kept for a time before it goes on, whoever crashes. Dead letters: boxes for them. Delivery counts:
 * it tells how often a message was handed out, where that ended a process. Wildcards: patterns of types. Exclusive boxes: of two who look into one, each
 * message is given to one. Refused strays: it knows that nobody ever handled a command, or that a box is not there. Replay: the past can be read again.
 */
export type Capability =
  | 'at-least-once'
  | 'groups'
  | 'durable'
  | 'commands'
  | 'order-by-key'
  | 'delay'
  | 'dead-letters'
  | 'delivery-counts'
  | 'wildcards'
  | 'exclusive-boxes'
  | 'refused-strays'
  | 'requests'
  | 'replay';

/** What to do instead, each a clause that ends the sentence "…: either …, or …". */
export interface Lack {
  readonly waysOut: readonly string[];
}

/** Where a message goes, and when. Without one: events to all who subscribed, commands and queries to whoever handles them, replies to `replyTo`. */
export interface Route {
  readonly to?: Box;
  /** Kept by the broker for at least this long first; it may be some hundred milliseconds more. */
  readonly delayMs?: number;
  /** Where on a log: the topic, where the type does not say it (all words but the last). */
  readonly topic?: string;
}

/**
 * Straight to one group: `inbox`, as if it had been published once more for this group alone; `quarantine`, where messages are handed out one at a time;
 * `dead-letters`, where nothing is handed out.
 */
export interface Box {
  readonly group: string;
  readonly box: 'inbox' | 'quarantine' | 'dead-letters';
}

export interface SubscriptionRequest {
  readonly group: string;
  readonly sources: readonly Source[];
  /** The most messages that may be unacknowledged at once, those of sources with a prefetch of their own aside where they have a queue of their own. */
  readonly prefetch: number;
}

/** Messages that a group wants. */
export interface Source {
  readonly kind: Exclude<MessageKind, 'reply'>;
  /** A type, or a pattern of types as in AMQP's topic exchanges: `*` is one word, `#` any number of them. */
  readonly pattern: string;
  readonly topic: string | undefined;
  /** `key`: in lanes; the messages of one key in the order in which they were published. */
  readonly order: 'none' | 'key';
  /** Where its handler stands, for sentences. */
  readonly place?: string;
  /** The most messages of this source that may be unacknowledged at once; while they are, those of the others come. Not in lanes. */
  readonly prefetch?: number | undefined;
}

/** What a subscription calls. Nothing of it may throw. */
export interface TransportConsumer {
  onMessage(incoming: Incoming): void;
  /** The lane is this member's from now on. Its messages come after the promise is fulfilled, in order. */
  assigned(lane: Lane): Promise<void>;
  /**
   * The lane goes to another member: when the promise is fulfilled, or when the transport cannot wait any longer. Where `isLost`, it went already, and
   * another may be handling its messages by now.
   */
  revoked(lane: Lane, isLost: boolean): Promise<void>;
}

/** Messages that one member of a group has in order: a partition of a log, or one of several queues. */
export interface Lane {
  readonly id: string;
  /**
   * This process stood still for so long that another member may have the lane by now: nothing of it is to begin, or to be written down, until it is known.
   * Absent where the broker does not take lanes away by the time.
   */
  readonly isDoubtful?: boolean;
  /**
   * Asks the broker whether the lane is this member's still: who does not know that it is not must not call itself its owner. Absent where nobody can be in
   * doubt about that.
   */
  isConfirmed?(): Promise<boolean>;
  /** No more of its messages come until `resume`. */
  pause(): void;
  resume(): void;
}

/** One delivery. Settled once; a second call, or one after the broker took the message back, does nothing. */
export interface Incoming {
  readonly envelope: Envelope | UnreadableEnvelope;
  /** The broker handed it out before, to this member or another. */
  readonly isRedelivered: boolean;
  /** How often it was handed out and not acknowledged, this time included, as far as the broker counts: 1 for the first time. */
  readonly deliveries: number;
  /** It came out of the quarantine, where one message is out at a time. */
  readonly isQuarantined: boolean;
  /** The lane whose order it belongs to. */
  readonly lane: Lane | undefined;
  /** The connection it came on is gone and the broker will hand it out again: to handle it now would only repeat it. */
  readonly isTakenBack: boolean;
  /** Where it stands still when it is acknowledged, for a while, in words; absent where it is gone then. */
  readonly origin?: string;
  /** The handler is done with it, or it was published on to somewhere else. */
  acknowledge(): void;
  /** Back to where it was kept, for whoever takes it next. There is no way to drop one. */
  release(): void;
}

/** A message whose outside cannot be read. Its `problem` tells it from an envelope. */
export interface UnreadableEnvelope {
  /** A clause that says what is wrong with it: "it has no id (…)". */
  readonly problem: string;
  readonly id: string | undefined;
  readonly type: string;
  readonly contentType: string;
  readonly headers: MessageHeaders;
  readonly body: Uint8Array;
}

export interface TransportSubscription {
  /** No message comes after this resolved; those that came before can still be settled. */
  stop(): Promise<void>;
}

export interface OpenBox {
  /** The next message, to be settled or not; nothing when the last one was given. */
  next(): Promise<Incoming | undefined>;
  /** How many are behind the one given last, where the broker says so. */
  readonly left?: number | undefined;
  /** What was not acknowledged is in the box again. */
  close(): Promise<void>;
}

/** One thing on the broker that a subscription needs: a sentence for it, and what was found. */
export interface PlannedThing {
  readonly thing: string;
  /** `unseen`: the broker cannot be asked whether it is there. */
  readonly state: 'present' | 'absent' | 'different' | 'unseen';
  /** What differs, in the broker's words, or what would be made. */
  readonly detail: string | undefined;
  /** What to do about a difference: a clause that ends a sentence. */
  readonly wayOut?: string;
  /** It differs, and works all the same. */
  readonly isUsable?: boolean;
}

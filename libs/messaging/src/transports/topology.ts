/**
 * What messaging declares on a broker that speaks AMQP, built in or not:
 *
 *   topic exchange dovecote.events ────(the event's type, or a pattern)──▶ queue dovecote.<service>
 *   direct exchange dovecote.commands ─(the command's or query's type)───▶ queue dovecote.<service>.commands
 *   direct exchange dovecote.boxes ────(the name of the queue)────────────▶ both of these, for one service alone
 *                                      default exchange, by name ────────▶ queue dovecote.<service>.quarantine, .dead
 *
 * A handler with a prefetch of its own has a queue of its own instead of the first two ways: dovecote.<service>:<pattern>, dovecote.<service>.commands:<pattern>.
 * A service that reads in order has lanes instead of the first two ways: lanes/lane-topology.ts.
 *
 * All of it durable. The names are public: clients in other languages publish to the exchanges and bind queues of their own to them.
 */
import type { Envelope, MessageKind } from '../envelope.js';
import { MessagingError } from '../errors.js';
import type { Box, BrokerPlaces, Route, Source } from '../transport.js';

export const EVENTS_EXCHANGE = 'dovecote.events';
export const COMMANDS_EXCHANGE = 'dovecote.commands';
export const BOXES_EXCHANGE = 'dovecote.boxes';
/** The one that routes to a queue by its name. */
export const DEFAULT_EXCHANGE = '';

/** The queue of events that everything which runs under one service name shares. */
export function queueOf(service: string): string {
  return `dovecote.${service}`;
}

export function commandQueueOf(service: string): string {
  return `dovecote.${service}.commands`;
}

export function quarantineOf(service: string): string {
  return `dovecote.${service}.quarantine`;
}

export function deadLettersOf(service: string): string {
  return `dovecote.${service}.dead`;
}

/** The queue of a handler with a prefetch of its own. No service's name has a colon. */
export function ownQueueOf(service: string, { kind, pattern }: Pick<Source, 'kind' | 'pattern'>): string {
  return `${kind === 'event' ? queueOf(service) : commandQueueOf(service)}:${pattern}`;
}

export function boxQueue({ group, box }: Box, kind: MessageKind): string {
  if (box === 'quarantine') return quarantineOf(group);
  if (box === 'dead-letters') return deadLettersOf(group);
  return kind === 'event' ? queueOf(group) : commandQueueOf(group);
}

/** Exchange and routing key, and where a service takes it from the queue too. */
export function amqpPlaces(system: string, server?: BrokerPlaces['server']): BrokerPlaces {
  const published: BrokerPlaces['published'] = ({ kind, type }) => `${kind === 'event' ? EVENTS_EXCHANGE : COMMANDS_EXCHANGE}:${type}`;
  return {
    system,
    server,
    published,
    consumed: (message, topic, group) => `${published(message, topic)}:${boxQueue({ group, box: 'inbox' }, message.kind)}`,
  };
}

/** Where a message is published to. */
export interface Address {
  readonly exchange: string;
  readonly routingKey: string;
  /** One more routing key, as the header CC. */
  readonly copies?: string;
}

export function addressOf({ kind, type, replyTo }: Envelope, route: Route | undefined): Address {
  if (route?.to !== undefined) {
    const isInbox = route.to.box === 'inbox';
    return { exchange: isInbox ? BOXES_EXCHANGE : DEFAULT_EXCHANGE, routingKey: boxQueue(route.to, kind) };
  }
  if (kind === 'event') return { exchange: EVENTS_EXCHANGE, routingKey: type };
  if (kind === 'reply') return { exchange: DEFAULT_EXCHANGE, routingKey: replyTo ?? '' };
  return { exchange: COMMANDS_EXCHANGE, routingKey: type };
}

/** An event may go to nobody, and an answer to somebody who has gone. Everything else is lost where no queue takes it, so its publish is refused. */
export function mustArrive({ kind }: Envelope, route: Route | undefined): boolean {
  return route?.to !== undefined || kind === 'command' || kind === 'query';
}

export function nobodyThere({ kind, type, id }: Envelope, route: Route | undefined): MessagingError {
  if (route?.to === undefined) {
    return new MessagingError(
      'nobody-there',
      `${type} ${id} was not sent: no service handles this ${kind} on this broker. Start one with @Handle for it; after that it may be away.`,
    );
  }
  const { group, box } = route.to;
  return new MessagingError(
    'publish-refused',
    `${type} ${id} cannot be put into the ${box} of '${group}': it is not there. Start '${group}' once.`,
  );
}

export type QueueType = 'classic' | 'quorum';

export type Declared =
  | {
      readonly thing: 'exchange';
      readonly name: string;
      readonly type: string;
      readonly arguments?: Readonly<Record<string, string>>;
    }
  | ({ readonly thing: 'link' } & Link)
  | { readonly thing: 'queue'; readonly name: string; readonly arguments: QueueArguments }
  | ({ readonly thing: 'binding'; readonly arguments?: Readonly<Record<string, string>> } & Binding)
  // What must not be there, and may be from before.
  | ({ readonly thing: 'no-link' } & Link)
  | ({ readonly thing: 'no-binding' } & Binding);

interface Link {
  readonly from: string;
  readonly to: string;
  readonly routingKey: string;
}

interface Binding {
  readonly queue: string;
  readonly exchange: string;
  readonly routingKey: string;
}

type QueueArguments = Readonly<Record<string, string | number | boolean>>;

export const exchanges: readonly Declared[] = [
  { thing: 'exchange', name: EVENTS_EXCHANGE, type: 'topic' },
  { thing: 'exchange', name: COMMANDS_EXCHANGE, type: 'direct' },
  { thing: 'exchange', name: BOXES_EXCHANGE, type: 'direct' },
];

export function describe(declared: Declared): string {
  if (declared.thing === 'exchange') return `${declared.type} exchange ${declared.name}`;
  if (declared.thing === 'queue') return `${declared.arguments['x-queue-type']} queue ${declared.name}`;
  const isNot = declared.thing.startsWith('no-') ? 'no ' : '';
  if ('to' in declared) return `${isNot}binding of exchange ${declared.to} to ${declared.from} by ${declared.routingKey}`;
  return `${isNot}binding of ${declared.queue} to ${declared.exchange} by ${declared.routingKey}`;
}

/**
 * A quorum queue counts how often it handed a message out, which is how one is known that ends its process. It would drop a message after twenty returns
 * unless told otherwise; -1 tells it: what becomes of a message is decided here, not there.
 */
export function argumentsOf(queueType: QueueType): QueueArguments {
  return queueType === 'quorum' ? { 'x-queue-type': 'quorum', 'x-delivery-limit': -1 } : { 'x-queue-type': 'classic' };
}

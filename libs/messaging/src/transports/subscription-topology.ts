/** All that a service's subscription needs on a broker that speaks AMQP, built in or not; what each thing is for is told in topology.ts and lane-topology.ts. */
import type { SubscriptionRequest } from '../transport.js';
import { hasLanes, laneTopologyOf, waysOf } from './lanes/lane-topology.js';
import {
  BOXES_EXCHANGE,
  type Declared,
  type QueueType,
  argumentsOf,
  commandQueueOf,
  deadLettersOf,
  exchanges,
  ownQueueOf,
  quarantineOf,
  queueOf,
} from './topology.js';

/** In an order in which each can be declared. */
export function topologyOf({ group, sources }: SubscriptionRequest, queueType: QueueType, laneCount: number): readonly Declared[] {
  const inboxes = sharedInboxesOf({ group, sources });
  const names = [...inboxes, ...ownInboxesOf({ group, sources }).map(({ queue }) => queue), quarantineOf(group), deadLettersOf(group)];
  return [
    ...exchanges,
    ...names.map((name): Declared => ({ thing: 'queue', name, arguments: argumentsOf(queueType) })),
    ...(hasLanes({ sources }) ? laneTopologyOf(group, queueType, laneCount) : []),
    ...waysOf({ group, sources }),
    ...inboxes.map((queue): Declared => ({ thing: 'binding', queue, exchange: BOXES_EXCHANGE, routingKey: queue })),
  ];
}

/** A queue that is read from without an order, and how many of its messages may be unacknowledged. */
interface Inbox {
  readonly queue: string;
  readonly prefetch: number;
}

/** All of them, apart from the quarantine. */
export function inboxesOf(request: SubscriptionRequest): readonly Inbox[] {
  return [...sharedInboxesOf(request).map((queue) => ({ queue, prefetch: request.prefetch })), ...ownInboxesOf(request)];
}

type Wants = Pick<SubscriptionRequest, 'group' | 'sources'>;

/** Those of handlers with a prefetch of their own. What comes again does so through a shared one. */
function ownInboxesOf({ group, sources }: Wants): readonly Inbox[] {
  return sources.flatMap((source) =>
    source.prefetch === undefined ? [] : { queue: ownQueueOf(group, source), prefetch: source.prefetch },
  );
}

/**
 * Those that handlers had which have no prefetch of their own any more. Nothing leads there now, and what waits in them is handled still. One message at a time:
 * they come on top of the prefetch.
 */
export async function formerInboxes(
  { group, sources }: Wants,
  messagesIn: (queue: string) => Promise<number | undefined>,
): Promise<readonly Inbox[]> {
  const inboxes: Inbox[] = [];
  for (const source of sources) {
    const queue = ownQueueOf(group, source);
    if (source.prefetch === undefined && (await messagesIn(queue)) !== undefined) inboxes.push({ queue, prefetch: 1 });
  }
  return inboxes;
}

export function formerInboxSentence(queue: string): string {
  return `The queue ${queue} is from when its handler had a prefetch of its own: what waits in it is handled still. When it is empty, delete it.`;
}

function sharedInboxesOf({ group, sources }: Wants): readonly string[] {
  const inboxes: string[] = [];
  if (sources.some(({ kind }) => kind === 'event')) inboxes.push(queueOf(group));
  if (sources.some(({ kind }) => kind !== 'event')) inboxes.push(commandQueueOf(group));
  return inboxes;
}

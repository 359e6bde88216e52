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
  quarantineOf,
  queueOf,
} from './topology.js';

/** In an order in which each can be declared. */
export function topologyOf({ group, sources }: SubscriptionRequest, queueType: QueueType, laneCount: number): readonly Declared[] {
  const inboxes = inboxesOf({ group, sources });
  const names = [...inboxes, quarantineOf(group), deadLettersOf(group)];
  return [
    ...exchanges,
    ...names.map((name): Declared => ({ thing: 'queue', name, arguments: argumentsOf(queueType) })),
    ...(hasLanes({ sources }) ? laneTopologyOf(group, queueType, laneCount) : []),
    ...waysOf({ group, sources }),
    ...inboxes.map((queue): Declared => ({ thing: 'binding', queue, exchange: BOXES_EXCHANGE, routingKey: queue })),
  ];
}

/** The queues it reads from without an order, apart from the quarantine. */
export function inboxesOf({ group, sources }: Pick<SubscriptionRequest, 'group' | 'sources'>): readonly string[] {
  const inboxes: string[] = [];
  if (sources.some(({ kind }) => kind === 'event')) inboxes.push(queueOf(group));
  if (sources.some(({ kind }) => kind !== 'event')) inboxes.push(commandQueueOf(group));
  return inboxes;
}

/**
 * What a service that reads in order has on a broker that speaks AMQP, built in or not, beside what topology.ts says:
 *
 *   dovecote.events ──(pattern)──┐                                            ┌─(dovecote-slot)─▶ queue dovecote.<service>.lane.<n>
 *   dovecote.commands ──(type)───┴─▶ headers exchange dovecote.<service>.lanes┤
 *                                                                             └─(no slot: alternate exchange ….lanes.<N>)─▶ lane 0
 *   fanout exchange dovecote.<service>.members ─▶ a queue of each member      default exchange ─▶ queue dovecote.<service>.lane.<n>.parked
 *
 * The queues have a single active consumer. The alternate exchange's name carries the number of lanes: a member that says another number finds the
 * exchange different from what it would make, and is refused. With two numbers at once a key would be in two lanes.
 */
import { LONGEST_HOLD_MS } from '../../limits.js';
import type { SubscriptionRequest } from '../../transport.js';
import {
  COMMANDS_EXCHANGE,
  type Declared,
  EVENTS_EXCHANGE,
  type QueueType,
  argumentsOf,
  commandQueueOf,
  ownQueueOf,
  queueOf,
} from '../topology.js';
import { SLOT_HEADER, slots } from './slots.js';

/** The name of the lane, too. */
export function laneQueueOf(group: string, lane: number): string {
  return `${queueOf(group)}.lane.${lane}`;
}

export function parkedQueueOf(laneId: string): string {
  return `${laneId}.parked`;
}

export function membersExchangeOf(group: string): string {
  return `${queueOf(group)}.members`;
}

export function lanesExchangeOf(group: string): string {
  return `${queueOf(group)}.lanes`;
}

export function hasLanes({ sources }: Pick<SubscriptionRequest, 'sources'>): boolean {
  return sources.some(({ order }) => order === 'key');
}

/** In an order in which each can be declared. */
export function laneTopologyOf(group: string, queueType: QueueType, count: number): readonly Declared[] {
  const exchange = lanesExchangeOf(group);
  const slotless = `${exchange}.${count}`;
  const numbers = Array.from({ length: count }, (_, lane) => lane);
  return [
    { thing: 'exchange', name: slotless, type: 'fanout' },
    { thing: 'exchange', name: exchange, type: 'headers', arguments: { 'alternate-exchange': slotless } },
    { thing: 'exchange', name: membersExchangeOf(group), type: 'fanout' },
    ...numbers.flatMap((lane) => queuesOf(laneQueueOf(group, lane), queueType)),
    ...slots.map((slot, index): Declared => {
      const wanted = { 'x-match': 'any', [SLOT_HEADER]: slot };
      return { thing: 'binding', queue: laneQueueOf(group, index % count), exchange, routingKey: '', arguments: wanted };
    }),
    { thing: 'binding', queue: laneQueueOf(group, 0), exchange: slotless, routingKey: '' },
  ];
}

function queuesOf(laneId: string, queueType: QueueType): readonly Declared[] {
  const shared = { ...argumentsOf(queueType), 'x-single-active-consumer': true };
  return [
    { thing: 'queue', name: laneId, arguments: shared },
    // What is parked is held unacknowledged for as long as it waits, which is no sign that a consumer has hung.
    { thing: 'queue', name: parkedQueueOf(laneId), arguments: { ...shared, 'x-consumer-timeout': LONGEST_HOLD_MS } },
  ];
}

/**
 * The ways from the exchanges to the lanes, to the inbox that handlers share, or to the queue of one handler. The other ways are taken down: an earlier version
 * of the service may have gone another one, and each message would come twice.
 */
export function waysOf({ group, sources }: Pick<SubscriptionRequest, 'group' | 'sources'>): readonly Declared[] {
  const lanes = lanesExchangeOf(group);
  return sources.flatMap(({ kind, pattern, order, prefetch }): readonly Declared[] => {
    const exchange = kind === 'event' ? EVENTS_EXCHANGE : COMMANDS_EXCHANGE;
    const shared = kind === 'event' ? queueOf(group) : commandQueueOf(group);
    const own = ownQueueOf(group, { kind, pattern });
    const from = (queue: string, isWay: boolean): Declared => ({
      thing: isWay ? 'binding' : 'no-binding',
      queue,
      exchange,
      routingKey: pattern,
    });
    return [
      { thing: order === 'none' ? 'no-link' : 'link', from: exchange, to: lanes, routingKey: pattern },
      from(shared, order === 'none' && prefetch === undefined),
      from(own, order === 'none' && prefetch !== undefined),
    ];
  });
}

/** Where the broker refused another number of lanes: the group, how many it has there, and the way out as a clause. Nothing where it says something else. */
export function otherLanes(reason: string): { readonly group: string; readonly count: number; readonly wayOut: string } | undefined {
  const [, group, count] = /current is '?dovecote\.(.+)\.lanes\.(\d+)/.exec(reason) ?? [];
  if (group === undefined) return undefined;
  const wayOut = `say lanes: ${count} in the options of the broker, or stop all instances of '${group}' when its lanes are empty and delete the exchange ${lanesExchangeOf(group)} and the queues ${queueOf(group)}.lane.* before they start again`;
  return { group, count: Number(count), wayOut };
}

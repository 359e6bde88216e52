/**
 * Lanes that a group has on its broker although its handlers ask for no order any more, or for another number of lanes. What waits in the former is handled
 * all the same; the latter refuse the start, because a key would be in two lanes. Keeps nothing.
 */
import { LANES_MAX } from '../../limits.js';
import type { SubscriptionRequest } from '../../transport.js';
import { laneQueueOf, lanesExchangeOf, otherLanes, parkedQueueOf } from './lane-topology.js';

/** How many messages a queue has that nobody has out; nothing where there is no such queue. */
export type CountMessages = (queue: string) => Promise<number | undefined>;

/** How many lanes there are. */
export async function countLanes(group: string, messagesIn: CountMessages): Promise<number> {
  let count = 0;
  while (count < LANES_MAX && (await messagesIn(parkedQueueOf(laneQueueOf(group, count)))) !== undefined) count += 1;
  return count;
}

/** What to do, as a clause, where the broker refused another number of lanes; nothing where it says something else. */
export async function waysOutOfOtherLanes(
  reason: string,
  { sources }: Pick<SubscriptionRequest, 'sources'>,
  messagesIn: CountMessages,
): Promise<string | undefined> {
  const other = otherLanes(reason);
  if (other === undefined) return undefined;
  let waiting = 0;
  for (let lane = 0; lane < other.count; lane++) {
    const id = laneQueueOf(other.group, lane);
    // Beside what is parked there is the cornerstone of whoever had the lane last.
    waiting += ((await messagesIn(id)) ?? 0) + Math.max(0, ((await messagesIn(parkedQueueOf(id))) ?? 0) - 1);
  }
  const now = waiting === 0 ? 'nothing waits in them that no instance has' : `${waiting} messages wait in them that no instance has`;
  const readers = sources.flatMap(({ order, place }) => (order === 'key' && place !== undefined ? [place] : []));
  const order = readers.length === 0 ? 'an order' : `the order of ${readers.join(' and ')}`;
  return `${other.wayOut} (${now}), or start it once without ${order}: then what waits is handled, and they are empty`;
}

export function leftLanesSentence(group: string, count: number): string {
  return `'${group}' has ${count} lanes from when a handler of it asked for an order: what waits in them is handled still, the messages of a key one after the other. When they are empty, delete the exchange ${lanesExchangeOf(group)} and the queues ${laneQueueOf(group, 0).replace(/0$/, '*')}.`;
}

import { Cursor, MalformedError } from '../cursor.js';
import type { Group } from './group.js';

/**
 * Which topics the members of a group read: the one thing that the broker looks up in what consumers say to each other, to know whose
 * offsets are still wanted. The bytes begin `version i16 | topics [string] | …` in every version. Wire code: no I/O.
 */
export function subscribedTopics(group: Group): ReadonlySet<string> | undefined {
  if (group.protocolType !== 'consumer') return undefined;
  const topics = new Set<string>();
  try {
    for (const member of group.members.values()) {
      const cursor = Cursor.over(member.metadata(group.protocolName));
      cursor.int16();
      for (let count = cursor.int32(); count > 0; count--) topics.add(cursor.string(cursor.int16()));
    }
  } catch (error) {
    if (error instanceof MalformedError) return undefined;
    throw error;
  }
  return topics;
}

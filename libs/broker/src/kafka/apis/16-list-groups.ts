import { api } from '../api.js';
import type { Group } from '../groups/group.js';
import { array, int16, int32, list, string } from '../schema.js';

const table = {
  key: 16,
  name: 'ListGroups',
  versions: [0, 5],
  flexibleFrom: 3,
  request: { statesFilter: array(string()).since(4), typesFilter: array(string()).since(5) },
  response: {
    throttleTimeMs: int32().since(1).or(0),
    errorCode: int16(),
    groups: list({ groupId: string(), protocolType: string(), groupState: string().since(4), groupType: string().since(5) }),
  },
} as const;

/** 16 ListGroups: all groups that whoever asks may read, or those in some states and of some types. */
export const listGroups = api(table, ({ statesFilter, typesFilter }, { node, rights }) => {
  const states = new Set(statesFilter.map((state) => state.toLowerCase()));
  const types = new Set(typesFilter.map((type) => type.toLowerCase()));
  const isAsked = (group: Group): boolean =>
    (states.size === 0 || states.has(group.state.toLowerCase())) && (types.size === 0 || types.has('classic'));
  const groups = [...node.groups.all]
    .filter((group) => group.state !== 'Dead' && isAsked(group) && rights.may('read', group.id))
    .map(({ id, protocolType, state }) => ({ groupId: id, protocolType: protocolType ?? '', groupState: state, groupType: 'classic' }));
  return { errorCode: 0, groups };
});

import { api } from '../api.js';
import { errorCodes } from '../error-codes.js';
import { array, int16, int32, list, string } from '../schema.js';

const table = {
  key: 42,
  name: 'DeleteGroups',
  versions: [0, 2],
  flexibleFrom: 2,
  request: { groupsNames: array(string()) },
  response: { throttleTimeMs: int32().or(0), results: list({ groupId: string(), errorCode: int16() }) },
} as const;

/** 42 DeleteGroups: takes groups without members away, with their offsets; durable when it is answered. */
export const deleteGroups = api(table, async ({ groupsNames }, { node, rights }) => {
  const results = await Promise.all(
    groupsNames.map(async (groupId) => {
      if (!rights.may('configure', groupId)) return { groupId, errorCode: errorCodes.groupAuthorizationFailed };
      const group = node.groups.group(groupId);
      const refused = groupId === '' ? 'invalidGroupId' : group === undefined || group.state === 'Dead' ? 'groupIdNotFound' : undefined;
      if (group === undefined || refused !== undefined) return { groupId, errorCode: errorCodes[refused ?? 'groupIdNotFound'] };
      if (group.state !== 'Empty') return { groupId, errorCode: errorCodes.nonEmptyGroup };
      return new Promise<{ groupId: string; errorCode: number }>((resolve) =>
        node.groups.delete(group, (error) => resolve({ groupId, errorCode: errorCodes[error ?? 'none'] })),
      );
    }),
  );
  return { results };
});

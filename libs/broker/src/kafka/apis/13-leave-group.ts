import { api } from '../api.js';
import { errorCodes, type ErrorName } from '../error-codes.js';
import { int16, int32, list, string } from '../schema.js';

const table = {
  key: 13,
  name: 'LeaveGroup',
  versions: [0, 5],
  flexibleFrom: 4,
  request: {
    groupId: string(),
    memberId: string().until(2),
    members: list({
      memberId: string(),
      groupInstanceId: string().nullable().or(null),
      reason: string().since(5).nullable().or(null),
    }).since(3),
  },
  response: {
    throttleTimeMs: int32().since(1).or(0),
    errorCode: int16(),
    members: list({ memberId: string(), groupInstanceId: string().nullable(), errorCode: int16() }).since(3),
  },
} as const;

/** 13 LeaveGroup: members go at once instead of when their sessions end. From version 3 on several, static ones by the name of their instance. */
export const leaveGroup = api(table, (request, { node, rights, version }) => {
  const group = node.groups.group(request.groupId);
  const leave = (memberId: string, groupInstanceId: string | null): ErrorName =>
    group?.leave(memberId, groupInstanceId) ?? 'unknownMemberId';
  if (request.groupId === '') return { errorCode: errorCodes.invalidGroupId, members: [] };
  if (!rights.may('read', request.groupId)) return { errorCode: errorCodes.groupAuthorizationFailed, members: [] };
  if (version < 3) return { errorCode: errorCodes[leave(request.memberId, null)], members: [] };
  const members = request.members.map(({ memberId, groupInstanceId }) => ({
    memberId,
    groupInstanceId,
    errorCode: errorCodes[leave(memberId, groupInstanceId)],
  }));
  return { errorCode: 0, members };
});

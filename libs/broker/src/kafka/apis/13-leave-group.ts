import { api } from '../api.js';
import { errorCodes } from '../error-codes.js';
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

/**
 * 13 LeaveGroup: members go at once instead of when their sessions end. From version 3 on several, static ones by the name of their instance. Answered when it is
 * durable that the last one is gone; where others are left, a crash brings who went back until its session ends.
 */
export const leaveGroup = api(table, (request, { node, rights, version }) => {
  if (request.groupId === '') return { errorCode: errorCodes.invalidGroupId, members: [] };
  if (!rights.may('read', request.groupId)) return { errorCode: errorCodes.groupAuthorizationFailed, members: [] };
  const group = node.groups.group(request.groupId);
  const leave = (memberId: string, groupInstanceId: string | null): number =>
    errorCodes[group?.leave(memberId, groupInstanceId) ?? 'unknownMemberId'];
  const answer =
    version < 3
      ? { errorCode: leave(request.memberId, null), members: [] }
      : {
          errorCode: 0,
          members: request.members.map(({ memberId, groupInstanceId }) => {
            return { memberId, groupInstanceId, errorCode: leave(memberId, groupInstanceId) };
          }),
        };
  if (group?.state !== 'Empty') return answer;
  return new Promise<typeof answer>((resolve) =>
    node.log.afterCommit((error) => resolve(error === undefined ? answer : { errorCode: errorCodes.coordinatorNotAvailable, members: [] })),
  );
});

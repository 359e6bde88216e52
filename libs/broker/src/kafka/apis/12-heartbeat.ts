import { api } from '../api.js';
import { errorCodes } from '../error-codes.js';
import { int16, int32, string } from '../schema.js';

const table = {
  key: 12,
  name: 'Heartbeat',
  versions: [0, 4],
  flexibleFrom: 4,
  request: { groupId: string(), generationId: int32(), memberId: string(), groupInstanceId: string().since(3).nullable().or(null) },
  response: { throttleTimeMs: int32().since(1).or(0), errorCode: int16() },
} as const;

/** 12 Heartbeat: a member is alive, and hears whether it must join again. */
export const heartbeat = api(table, ({ groupId, generationId, memberId, groupInstanceId }, { node, rights }) => {
  if (groupId === '') return { errorCode: errorCodes.invalidGroupId };
  if (!rights.may('read', groupId)) return { errorCode: errorCodes.groupAuthorizationFailed };
  const error = node.groups.group(groupId)?.heartbeat(memberId, groupInstanceId, generationId) ?? 'unknownMemberId';
  return { errorCode: errorCodes[error] };
});

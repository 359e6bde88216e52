import { api } from '../api.js';
import { errorCodes } from '../error-codes.js';
import { refusedSync, type SyncReply } from '../groups/member.js';
import { bytes, int16, int32, list, string, type Write } from '../schema.js';

const table = {
  key: 14,
  name: 'SyncGroup',
  versions: [0, 5],
  flexibleFrom: 4,
  request: {
    groupId: string(),
    generationId: int32(),
    memberId: string(),
    groupInstanceId: string().since(3).nullable().or(null),
    protocolType: string().since(5).nullable().or(null),
    protocolName: string().since(5).nullable().or(null),
    assignments: list({ memberId: string(), assignment: bytes() }),
  },
  response: {
    throttleTimeMs: int32().since(1).or(0),
    errorCode: int16(),
    protocolType: string().since(5).nullable().or(null),
    protocolName: string().since(5).nullable().or(null),
    assignment: bytes(),
  },
} as const;

/** 14 SyncGroup: the leader says who reads what; the others wait for it. Answered when the assignment is durable. */
export const syncGroup = api(table, (request, { node, rights, version }) => {
  const { groupId, memberId, groupInstanceId, generationId: generation, protocolType, protocolName, assignments } = request;
  if (groupId === '') return respond(refusedSync('invalidGroupId'));
  if (!rights.may('read', groupId)) return respond(refusedSync('groupAuthorizationFailed'));
  if (version >= 5 && (protocolType === null || protocolName === null)) return respond(refusedSync('inconsistentGroupProtocol'));
  const group = node.groups.group(groupId);
  if (group === undefined) return respond(refusedSync('unknownMemberId'));
  return new Promise((resolve) => {
    group.syncMember({ memberId, groupInstanceId, generation, protocolType, protocolName, assignments }, (reply) =>
      resolve(respond(reply)),
    );
  });
});

function respond({ error, ...reply }: SyncReply): Write<typeof table.response> {
  return { ...reply, errorCode: errorCodes[error] };
}

import { api } from '../api.js';
import { errorCodes } from '../error-codes.js';
import { type JoinReply, refusedJoin } from '../groups/member.js';
import { bool, bytes, int16, int32, list, string, type Write } from '../schema.js';

const table = {
  key: 11,
  name: 'JoinGroup',
  versions: [0, 9],
  flexibleFrom: 6,
  request: {
    groupId: string(),
    sessionTimeoutMs: int32(),
    rebalanceTimeoutMs: int32().since(1).or(-1),
    memberId: string(),
    groupInstanceId: string().since(5).nullable().or(null),
    protocolType: string(),
    protocols: list({ name: string(), metadata: bytes() }),
    reason: string().since(8).nullable().or(null),
  },
  response: {
    throttleTimeMs: int32().since(2).or(0),
    errorCode: int16(),
    generationId: int32().or(-1),
    protocolType: string().since(7).nullable().or(null),
    protocolName: string().nullable(7),
    leader: string(),
    skipAssignment: bool().since(9).or(false),
    memberId: string(),
    members: list({ memberId: string(), groupInstanceId: string().since(5).nullable().or(null), metadata: bytes() }),
  },
} as const;

/**
 * 11 JoinGroup: waits until a generation of the group is complete. From version 4 a new member is first given a name to come back with.
 */
export const joinGroup = api(table, (request, exchange) => {
  const { node, version } = exchange;
  const { groupId, memberId, sessionTimeoutMs, rebalanceTimeoutMs } = request;
  const { sessionTimeoutMsMin, sessionTimeoutMsMax } = node.limits;
  if (groupId === '') return respond(refusedJoin('invalidGroupId', memberId), version);
  if (!exchange.rights.may('read', groupId)) return respond(refusedJoin('groupAuthorizationFailed', memberId), version);
  if (sessionTimeoutMs < sessionTimeoutMsMin || sessionTimeoutMs > sessionTimeoutMsMax) {
    return respond(refusedJoin('invalidSessionTimeout', memberId), version);
  }
  const group = memberId === '' ? node.groups.groupOrNew(groupId) : node.groups.group(groupId);
  if (group === undefined) return respond(refusedJoin(memberId === '' ? 'coordinatorNotAvailable' : 'unknownMemberId', memberId), version);
  return new Promise((resolve) => {
    group.join(
      {
        memberId,
        groupInstanceId: request.groupInstanceId,
        clientId: exchange.clientId,
        clientHost: `/${exchange.connection.remoteAddress}`,
        sessionTimeoutMs,
        rebalanceTimeoutMs: rebalanceTimeoutMs < 0 ? sessionTimeoutMs : rebalanceTimeoutMs,
        protocolType: request.protocolType,
        // The request's bytes are used again; these stay.
        protocols: request.protocols.map(({ name, metadata }) => ({ name, metadata: Buffer.from(metadata) })),
        mustComeBack: version >= 4,
        canSkipAssignment: version >= 9,
      },
      (reply) => resolve(respond(reply, version)),
    );
  });
});

function respond({ error, generation, ...reply }: JoinReply, version: number): Write<typeof table.response> {
  const protocolName = reply.protocolName ?? (version >= 7 ? null : '');
  return { ...reply, errorCode: errorCodes[error], generationId: generation, protocolName };
}

import { api } from '../api.js';
import { groupOperations, operationsNotAsked } from '../authorized-operations.js';
import { errorCodes } from '../error-codes.js';
import type { Group } from '../groups/group.js';
import { nothing } from '../groups/member.js';
import { array, bool, bytes, int16, int32, list, string, type Write } from '../schema.js';

const table = {
  key: 15,
  name: 'DescribeGroups',
  versions: [0, 6],
  flexibleFrom: 5,
  request: { groups: array(string()), includeAuthorizedOperations: bool().since(3) },
  response: {
    throttleTimeMs: int32().since(1).or(0),
    groups: list({
      errorCode: int16(),
      errorMessage: string().since(6).nullable().or(null),
      groupId: string(),
      groupState: string(),
      protocolType: string(),
      protocolData: string(),
      members: list({
        memberId: string(),
        groupInstanceId: string().since(4).nullable().or(null),
        clientId: string(),
        clientHost: string(),
        memberMetadata: bytes(),
        memberAssignment: bytes(),
      }),
      authorizedOperations: int32().since(3).or(-2147483648),
    }),
  },
} as const;

type GroupResponse = Write<typeof table.response>['groups'][number];

/** 15 DescribeGroups: members and what they were assigned. A group that is not there is "Dead", and from version 6 on an error. */
export const describeGroups = api(table, (request, { node, rights, version }) => {
  const groups = request.groups.map((groupId) => {
    const authorizedOperations = request.includeAuthorizedOperations ? groupOperations(rights, groupId) : operationsNotAsked;
    if (rights.may('read', groupId)) return describe(groupId, node.groups.group(groupId), version, authorizedOperations);
    const none = { groupState: '', protocolType: '', protocolData: '', members: [] };
    return { errorCode: errorCodes.groupAuthorizationFailed, groupId, ...none };
  });
  return { groups };
});

function describe(groupId: string, group: Group | undefined, version: number, authorizedOperations: number): GroupResponse {
  if (group === undefined || group.state === 'Dead') {
    const isError = version >= 6;
    const errorMessage = isError ? `Group ${groupId} not found.` : null;
    const errorCode = isError ? errorCodes.groupIdNotFound : 0;
    const none = { groupState: 'Dead', protocolType: '', protocolData: '', members: [] };
    return { errorCode, errorMessage, groupId, ...none, authorizedOperations };
  }
  const isStable = group.state === 'Stable';
  const members = [...group.members.values()].map((member) => ({
    memberId: member.id,
    groupInstanceId: member.instanceId,
    clientId: member.clientId,
    clientHost: member.clientHost,
    memberMetadata: isStable ? member.metadata(group.protocolName) : nothing,
    memberAssignment: member.assignment,
  }));
  const protocolData = isStable ? (group.protocolName ?? '') : '';
  return {
    errorCode: 0,
    groupId,
    groupState: group.state,
    protocolType: group.protocolType ?? '',
    protocolData,
    members,
    authorizedOperations,
  };
}

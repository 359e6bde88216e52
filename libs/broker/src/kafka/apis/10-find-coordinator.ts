import { api } from '../api.js';
import { errorCodes } from '../error-codes.js';
import { accepted } from '../refusals.js';
import { array, int16, int32, int8, list, string } from '../schema.js';

const table = {
  key: 10,
  name: 'FindCoordinator',
  versions: [0, 6],
  flexibleFrom: 3,
  request: { key: string().until(3), keyType: int8().since(1).or(0), coordinatorKeys: array(string()).since(4) },
  response: {
    throttleTimeMs: int32().since(1).or(0),
    errorCode: int16().until(3),
    errorMessage: string().since(1).until(3).nullable(),
    nodeId: int32().until(3),
    host: string().until(3),
    port: int32().until(3),
    coordinators: list({
      key: string(),
      nodeId: int32(),
      host: string(),
      port: int32(),
      errorCode: int16(),
      errorMessage: string().nullable(),
    }).since(4),
  },
} as const;

const groupKeys = 0;

/** 10 FindCoordinator: who keeps a group. There is one broker, so it does; transactions and share groups are not built yet. */
export const findCoordinator = api(table, async (request, { node, connection, rights, version }) => {
  const here = { nodeId: node.settings.nodeId, host: connection.host, port: connection.port };
  const nowhere = { nodeId: -1, host: '', port: -1 };
  const isKnown = request.keyType === groupKeys;
  if (isKnown) await node.groups.ready();
  const isRefused = {
    errorCode: errorCodes.invalidRequest,
    errorMessage: 'Only groups have a coordinator here: there are no transactions and share groups yet',
  };
  const sayOf = (key: string): typeof here & { errorCode: number; errorMessage: string | null } => {
    if (!isKnown) return { ...nowhere, ...isRefused };
    if (!rights.may('read', key)) return { ...nowhere, errorCode: errorCodes.groupAuthorizationFailed, errorMessage: null };
    return { ...here, ...accepted };
  };
  if (version < 4) return { ...sayOf(request.key), coordinators: [] };
  return { ...nowhere, ...accepted, coordinators: request.coordinatorKeys.map((key) => ({ key, ...sayOf(key) })) };
});

import { api } from '../api.js';
import { errorCodes } from '../error-codes.js';
import { errorNameOf } from '../refusals.js';
import { int16, int32, int64, string } from '../schema.js';

const table = {
  key: 22,
  name: 'InitProducerId',
  versions: [0, 5],
  flexibleFrom: 2,
  request: {
    transactionalId: string().nullable(),
    transactionTimeoutMs: int32(),
    producerId: int64().since(3).or(-1),
    producerEpoch: int16().since(3).or(-1),
  },
  response: { throttleTimeMs: int32().or(0), errorCode: int16(), producerId: int64().or(-1), producerEpoch: int16() },
} as const;

/** 22 InitProducerId: a number for an idempotent producer. With a transactional id it is refused: transactions are not built yet. */
export const initProducerId = api(table, async ({ transactionalId }, { node, rights }) => {
  if (transactionalId !== null) {
    const error = transactionalId === '' ? 'invalidRequest' : 'transactionalIdAuthorizationFailed';
    return { errorCode: errorCodes[error], producerId: -1, producerEpoch: -1 };
  }
  if (!rights.isAdmitted) return { errorCode: errorCodes.clusterAuthorizationFailed, producerId: -1, producerEpoch: -1 };
  try {
    return { errorCode: 0, producerId: await node.log.takeProducerId(), producerEpoch: 0 };
  } catch (error) {
    return { errorCode: errorCodes[errorNameOf(error)], producerId: -1, producerEpoch: -1 };
  }
});

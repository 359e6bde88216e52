import type { ConfigChange } from '../../log/topic-config.js';
import { api } from '../api.js';
import { changeConfigsOf } from '../config-changes.js';
import { operations } from '../config-entries.js';
import { errorCodes } from '../error-codes.js';
import { bool, int16, int32, int8, list, string } from '../schema.js';

const table = {
  key: 44,
  name: 'IncrementalAlterConfigs',
  versions: [0, 1],
  flexibleFrom: 1,
  request: {
    resources: list({
      resourceType: int8(),
      resourceName: string(),
      configs: list({ name: string(), configOperation: int8(), value: string().nullable() }),
    }),
    validateOnly: bool(),
  },
  response: {
    throttleTimeMs: int32().or(0),
    responses: list({ errorCode: int16(), errorMessage: string().nullable(), resourceType: int8(), resourceName: string() }),
  },
} as const;

/** 44 IncrementalAlterConfigs: sets, takes back, and adds to or takes from lists; the other configs stay. */
export const incrementalAlterConfigs = api(table, async ({ resources, validateOnly }, exchange) => {
  const responses = await Promise.all(
    resources.map(async ({ resourceType, resourceName, configs }) => {
      const unknown = configs.find(({ configOperation }) => operations[configOperation] === undefined);
      const missing = configs.find(({ configOperation, value }) => value === null && operations[configOperation] !== 'delete');
      if (unknown !== undefined || missing !== undefined) {
        const errorMessage =
          unknown === undefined ? `Null value not supported for: ${missing!.name}` : `Unknown operation ${unknown.configOperation}`;
        return { errorCode: errorCodes.invalidRequest, errorMessage, resourceType, resourceName };
      }
      const changes = configs.map(({ name, configOperation, value }): ConfigChange => {
        const operation = operations[configOperation]!;
        return value === null || operation === 'delete' ? { name, operation: 'delete' } : { name, operation, value };
      });
      return changeConfigsOf(resourceType, resourceName, changes, validateOnly, exchange);
    }),
  );
  return { responses };
});

import type { ConfigChange } from '../../log/topic-config.js';
import { api } from '../api.js';
import { changeConfigsOf } from '../config-changes.js';
import { errorCodes } from '../error-codes.js';
import { bool, int16, int32, int8, list, string } from '../schema.js';

const table = {
  key: 33,
  name: 'AlterConfigs',
  versions: [0, 2],
  flexibleFrom: 2,
  request: {
    resources: list({ resourceType: int8(), resourceName: string(), configs: list({ name: string(), value: string().nullable() }) }),
    validateOnly: bool(),
  },
  response: {
    throttleTimeMs: int32().or(0),
    responses: list({ errorCode: int16(), errorMessage: string().nullable(), resourceType: int8(), resourceName: string() }),
  },
} as const;

/** 33 AlterConfigs: the configs named are the topic's own from now on, and no others (clients use 44 instead). */
export const alterConfigs = api(table, async ({ resources, validateOnly }, exchange) => {
  const responses = await Promise.all(
    resources.map(async ({ resourceType, resourceName, configs }) => {
      const named = new Set(configs.map(({ name }) => name));
      const own = exchange.node.log.topic(resourceName)?.describeConfigs() ?? [];
      const missing = configs.find(({ value }) => value === null);
      if (missing !== undefined) {
        const errorMessage = `Null value not supported for: ${missing.name}. Leave it out, and it has its default again`;
        return { errorCode: errorCodes.invalidRequest, errorMessage, resourceType, resourceName };
      }
      const changes: ConfigChange[] = configs.map(({ name, value }) => ({ name, operation: 'set', value: value! }));
      for (const { name, source } of own) if (source === 'topic' && !named.has(name)) changes.push({ name, operation: 'delete' });
      return changeConfigsOf(resourceType, resourceName, changes, validateOnly, exchange);
    }),
  );
  return { responses };
});

import type { ConfigChange } from '../log/topic-config.js';
import { resourceTypes } from './config-entries.js';
import { errorCodes } from './error-codes.js';
import type { Exchange } from './exchange.js';
import { accepted, refusal } from './refusals.js';

/** Changes the configs of one thing, all or none; what is answered about it. Durable when it resolves. */
export async function changeConfigsOf(
  resourceType: number,
  resourceName: string,
  changes: readonly ConfigChange[],
  validateOnly: boolean,
  { node: { log }, rights }: Exchange,
): Promise<{
  readonly errorCode: number;
  readonly errorMessage: string | null;
  readonly resourceType: number;
  readonly resourceName: string;
}> {
  const about = { resourceType, resourceName };
  if (resourceType !== resourceTypes.topic) {
    const isBroker = resourceType === resourceTypes.broker;
    if (isBroker && !rights.isOperator)
      return { ...about, errorCode: errorCodes.clusterAuthorizationFailed, errorMessage: 'Cluster authorization failed.' };
    const errorMessage = isBroker
      ? 'The configs of the broker are not changed while it runs: change its settings and start it again'
      : `Unsupported resource type: ${resourceType}`;
    return { ...about, errorCode: errorCodes[isBroker ? 'invalidConfig' : 'invalidRequest'], errorMessage };
  }
  if (!rights.may('configure', resourceName))
    return { ...about, errorCode: errorCodes.topicAuthorizationFailed, errorMessage: 'Topic authorization failed.' };
  const names = changes.map(({ name }) => name);
  if (new Set(names).size < names.length) {
    return { ...about, errorCode: errorCodes.invalidRequest, errorMessage: `A config is named twice for the topic ${resourceName}` };
  }
  try {
    await log.alterConfigs(resourceName, changes, { validateOnly });
    return { ...about, ...accepted };
  } catch (error) {
    return { ...about, ...refusal(error) };
  }
}

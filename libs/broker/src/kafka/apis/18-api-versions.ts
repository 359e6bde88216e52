import { api } from '../api.js';
import { errorCodes } from '../error-codes.js';
import { bool, int16, int32, int64, list, string } from '../schema.js';

const table = {
  key: 18,
  name: 'ApiVersions',
  versions: [0, 4],
  flexibleFrom: 3,
  request: { clientSoftwareName: string().since(3), clientSoftwareVersion: string().since(3) },
  response: {
    errorCode: int16(),
    apiKeys: list({ apiKey: int16(), minVersion: int16(), maxVersion: int16() }),
    throttleTimeMs: int32().since(1).or(0),
    supportedFeatures: list({ name: string(), minVersion: int16(), maxVersion: int16() }).since(3).tag(0),
    finalizedFeaturesEpoch: int64().since(3).or(-1).tag(1),
    finalizedFeatures: list({ name: string(), maxVersionLevel: int16(), minVersionLevel: int16() }).since(3).tag(2),
    zkMigrationReady: bool().since(3).or(false).tag(3),
  },
} as const;

const namePattern = /^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$/;

/**
 * 18 ApiVersions: what is answered here. Its own answer has the oldest head in every version, because the client does not know yet what
 * we speak; a version that we do not know is answered in version 0, by the connection.
 */
export const apiVersions = api(table, ({ clientSoftwareName, clientSoftwareVersion }, { node, connection, version }) => {
  const isNamed = namePattern.test(clientSoftwareName) && namePattern.test(clientSoftwareVersion);
  if (version >= 3 && !isNamed) return { errorCode: errorCodes.invalidRequest, apiKeys: [], supportedFeatures: [], finalizedFeatures: [] };
  if (version >= 3) connection.software = `${clientSoftwareName} ${clientSoftwareVersion}`;
  const apiKeys = [...node.apis.values()].map(({ key, listedMinVersion, maxVersion }) => ({
    apiKey: key,
    minVersion: listedMinVersion,
    maxVersion,
  }));
  return { errorCode: 0, apiKeys };
});

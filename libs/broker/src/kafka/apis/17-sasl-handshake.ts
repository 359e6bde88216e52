import { api } from '../api.js';
import { errorCodes } from '../error-codes.js';
import { mechanisms } from '../login.js';
import { array, int16, string } from '../schema.js';

const table = {
  key: 17,
  name: 'SaslHandshake',
  versions: [0, 1],
  flexibleFrom: Infinity,
  request: { mechanism: string() },
  response: { errorCode: int16(), mechanisms: array(string()) },
} as const;

/** 17 SaslHandshake: the client names a mechanism. After version 0 it sends its token without a head, which old clients do. */
export const saslHandshake = api(table, ({ mechanism }, { connection, version }) => {
  const chosen = connection.login.choose(mechanism, version === 0);
  const error = { chosen: 'none', unknown: 'unsupportedSaslMechanism', 'out-of-place': 'illegalSaslState' } as const;
  return { errorCode: errorCodes[error[chosen]], mechanisms: chosen === 'out-of-place' ? [] : [...mechanisms] };
});

import { api } from '../api.js';
import { errorCodes } from '../error-codes.js';
import { bytes, int16, int64, string } from '../schema.js';

const table = {
  key: 36,
  name: 'SaslAuthenticate',
  versions: [0, 2],
  flexibleFrom: 2,
  request: { authBytes: bytes() },
  response: { errorCode: int16(), errorMessage: string().nullable(), authBytes: bytes(), sessionLifetimeMs: int64().since(1).or(0) },
} as const;

/** 36 SaslAuthenticate: the client says who it is. A refusal comes after a moment, because guessing must be slow, and ends the connection. */
export const saslAuthenticate = api(table, async ({ authBytes }, { connection, node }) => {
  const wrong = await connection.login.takeToken(authBytes);
  const nothing = Buffer.alloc(0);
  if (wrong === undefined) return { errorCode: 0, errorMessage: null, authBytes: nothing };
  if (wrong === 'out-of-place') {
    return {
      errorCode: errorCodes.illegalSaslState,
      errorMessage: 'SaslAuthenticate comes after a SaslHandshake that was accepted',
      authBytes: nothing,
    };
  }
  node.report(`${connection.name}: the login was refused, closed`);
  return new Promise((resolve) => {
    node.clock.after(node.limits.refusedLoginDelayMs, () => {
      const errorMessage = 'Authentication failed: Invalid username or password';
      resolve({ errorCode: errorCodes.saslAuthenticationFailed, errorMessage, authBytes: nothing });
      connection.endSoon();
    });
  });
});

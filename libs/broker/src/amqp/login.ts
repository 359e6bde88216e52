import { decodeFields, MalformedError } from '../queues/field-table.js';
import { AmqpError } from './replies.js';

/** Whether somebody may connect; a promise where that takes its time. Without a password: proved by a certificate. */
export type Login = (user: string, password: string | undefined, remoteAddress: string) => boolean | Promise<boolean>;

export interface Credentials {
  readonly user: string;
  /** Absent where a certificate has proved who it is. */
  readonly password?: string;
}

/** The SASL mechanisms, as they are announced; EXTERNAL where the client has proved a name by its certificate. */
export function mechanismsFor(peerName: string | undefined): readonly string[] {
  const always = ['ANONYMOUS', 'AMQPLAIN', 'PLAIN'];
  return peerName === undefined ? always : [...always, 'EXTERNAL'];
}

/** Reads the answer to connection.start. Throws AmqpError: unknown mechanism, or an answer that is not one. Keeps nothing. */
export function readCredentials(mechanism: string, response: Buffer, peerName: string | undefined): Credentials {
  if (mechanism === 'EXTERNAL' && peerName !== undefined) return { user: peerName };
  const mechanisms = mechanismsFor(peerName);
  if (mechanism === 'PLAIN') return readPlain(response);
  if (mechanism === 'AMQPLAIN') return readAmqplain(response);
  // As RabbitMQ: the user that everybody knows, while there is one with the password that everybody knows.
  if (mechanism === 'ANONYMOUS') return { user: 'guest', password: 'guest' };
  throw new AmqpError('command-invalid', `unknown SASL mechanism '${mechanism.slice(0, 40)}': use one of ${mechanisms.join(', ')}`);
}

/** An empty authorization identity, NUL, user, NUL, password, and nothing else. */
function readPlain(response: Buffer): Credentials {
  const parts = response.toString('utf8').split('\0');
  const [identity, user, password] = parts;
  if (parts.length !== 3 || identity !== '' || user === undefined || password === undefined) {
    throw new AmqpError('syntax-error', 'the response for SASL PLAIN is not NUL, user, NUL, password');
  }
  return { user, password };
}

/** A field table without its length. */
function readAmqplain(response: Buffer): Credentials {
  try {
    const { LOGIN: user, PASSWORD: password } = decodeFields(response, 0, response.length);
    if (typeof user === 'string' && typeof password === 'string') return { user, password };
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
  }
  throw new AmqpError('syntax-error', 'the response for SASL AMQPLAIN is not a table with LOGIN and PASSWORD');
}

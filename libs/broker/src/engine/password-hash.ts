import { createHash, scrypt, timingSafeEqual } from 'node:crypto';
import { CodedError } from '../errors.js';

/**
 * A password as it is kept: never itself.
 *
 *   dovecote_scrypt                    base64 of | log2 N u8 | r u8 | p u8 | salt, 16 bytes | scrypt, 32 bytes |
 *   rabbit_password_hashing_sha256     base64 of | salt, 4 bytes | SHA-256 of salt and password |
 *   rabbit_password_hashing_sha512     the same with SHA-512
 *
 * New passwords get scrypt with N = 2^14, r = 8, p = 5: 16 MiB of memory and about 0.2 s of one core, the cost that OWASP advises. The
 * others are RabbitMQ's, for users that come from there; they are as weak as they are there until the password is set anew. An empty
 * hash lets nobody in by password.
 */
export interface PasswordHash {
  readonly algorithm: HashingAlgorithm;
  readonly hash: string;
}

export const hashingAlgorithms = ['dovecote_scrypt', 'rabbit_password_hashing_sha256', 'rabbit_password_hashing_sha512'] as const;
export type HashingAlgorithm = (typeof hashingAlgorithms)[number];

const cost = { log2N: 14, r: 8, p: 5 } as const;
const saltBytes = 16;
const keyBytes = 32;
const headBytes = 3 + saltBytes;

/** Lets nobody in. */
export const noPassword: PasswordHash = { algorithm: 'dovecote_scrypt', hash: '' };

/** Off the main thread; `salt` is 16 bytes of chance. */
export async function hashPassword(password: string, salt: Uint8Array): Promise<PasswordHash> {
  const head = Buffer.from([cost.log2N, cost.r, cost.p, ...salt]);
  return { algorithm: 'dovecote_scrypt', hash: Buffer.concat([head, await derive(password, head)]).toString('base64') };
}

/** Whether that is a password's hash; a hash of another kind or of a wasteful cost would be believed for ever. Throws a sentence. */
export function checkHash({ algorithm, hash }: { readonly algorithm: string; readonly hash: string }): PasswordHash {
  const known = hashingAlgorithms.find((name) => name === algorithm);
  if (known === undefined) {
    throw new CodedError('invalid-argument', `the hashing algorithm '${algorithm}' is not known: ${hashingAlgorithms.join(', ')} are`);
  }
  if (hash === '') return { algorithm: known, hash };
  const bytes = Buffer.from(hash, 'base64');
  const wanted = known === 'dovecote_scrypt' ? headBytes + keyBytes : 4 + (known.endsWith('512') ? 64 : 32);
  const isBase64 = bytes.toString('base64').replace(/=+$/, '') === hash.replace(/=+$/, '');
  const isAffordable =
    known !== 'dovecote_scrypt' || (bytes[0]! >= 10 && bytes[0]! <= 17 && bytes[1]! <= 16 && bytes[2]! >= 1 && bytes[2]! <= 16);
  if (!isBase64 || bytes.length !== wanted || !isAffordable) {
    throw new CodedError('invalid-argument', `the password hash is not one of ${algorithm}`);
  }
  return { algorithm: known, hash };
}

/** Whether this takes the time of scrypt. */
export function isSlow({ algorithm, hash }: PasswordHash): boolean {
  return algorithm === 'dovecote_scrypt' && hash !== '';
}

/** Only for what is not slow. */
export function matchesQuickly(password: string, { algorithm, hash }: PasswordHash): boolean {
  if (hash === '') return false;
  const bytes = Buffer.from(hash, 'base64');
  const salt = bytes.subarray(0, 4);
  const digest = createHash(algorithm === 'rabbit_password_hashing_sha512' ? 'sha512' : 'sha256')
    .update(salt)
    .update(password)
    .digest();
  return timingSafeEqual(digest, bytes.subarray(4));
}

export async function matchesSlowly(password: string, { hash }: PasswordHash): Promise<boolean> {
  const bytes = Buffer.from(hash, 'base64');
  return timingSafeEqual(await derive(password, bytes.subarray(0, headBytes)), bytes.subarray(headBytes));
}

/** Takes the time that a slow hash takes, for names that nobody has. */
export async function wasteTime(password: string): Promise<void> {
  await derive(password, Buffer.from([cost.log2N, cost.r, cost.p, ...Buffer.alloc(saltBytes)]));
}

function derive(password: string, head: Uint8Array): Promise<Buffer> {
  const [log2N, r, p] = [head[0]!, head[1]!, head[2]!];
  const options = { N: 2 ** log2N, r, p, maxmem: 256 * 2 ** log2N * r };
  return new Promise((resolve, reject) => {
    scrypt(password, head.subarray(3), keyBytes, options, (error, key) => (error === null ? resolve(key) : reject(error)));
  });
}

import { createHash, timingSafeEqual } from 'node:crypto';
import type { User } from './options.js';

/**
 * Who may log in. Passwords are held as digests and compared in constant time, so that neither a memory dump nor a stopwatch
 * gives one away easily. `guest` may come from this machine only, whatever its password: everybody knows its name.
 */
export class Users {
  private readonly digests: ReadonlyMap<string, Buffer>;

  constructor(users: readonly User[]) {
    this.digests = new Map(users.map(({ name, password }) => [name, digest(password)]));
  }

  login(name: string, password: string, remoteAddress: string): boolean {
    const known = this.digests.get(name);
    const isRight = timingSafeEqual(digest(password), known ?? digest(''));
    return isRight && known !== undefined && (name !== 'guest' || isLoopback(remoteAddress));
  }
}

function digest(password: string): Buffer {
  return createHash('sha256').update(password).digest();
}

function isLoopback(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./.test(address);
}

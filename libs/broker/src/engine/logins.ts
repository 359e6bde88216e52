import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Random } from '@dovecote/ground';
import { isSlow, matchesQuickly, matchesSlowly, type PasswordHash, wasteTime } from './password-hash.js';

/** Password checks that wait for their turn; one more is refused at once. */
const waitingMax = 1000;
/** Each takes a core, 16 MiB and one of the threads that the disk needs too. */
const atOnceMax = 2;

/**
 * Checks passwords without stopping the broker: slow hashes are computed on other threads, few at a time, and a password that was
 * right is remembered as a digest under a key of this process, so that a thousand clients that come back are not a thousand hashes.
 * As long as any user has a slow hash, every refusal takes the time of one, whether the name is known or not.
 *
 * Nothing of it is kept. Only `AccessControl` calls it.
 */
export class Logins {
  /** The last right password of each user, until `forget`. */
  private readonly verified = new Map<string, Buffer>();
  /** Checks under way, so that the same question is asked once. */
  private readonly asked = new Map<string, Promise<boolean>>();
  private readonly waiting: (() => void)[] = [];
  private running = 0;
  private key: Uint8Array | undefined;
  /** Grows with every change, so that what was begun before it is not remembered after it. */
  private changes = 0;

  constructor(private readonly random: Random) {}

  /** `hash` is undefined where nobody has the name. `refusalsAreSlow` says that somebody has a slow hash. */
  check(user: string, password: string, hash: PasswordHash | undefined, refusalsAreSlow: boolean): boolean | Promise<boolean> {
    const digest = this.digest(user, password);
    const known = this.verified.get(user);
    if (known !== undefined && timingSafeEqual(known, digest)) return true;
    if (hash !== undefined && !isSlow(hash) && matchesQuickly(password, hash)) {
      this.verified.set(user, digest);
      return true;
    }
    if (!refusalsAreSlow) return false;
    const question = digest.toString('latin1');
    const same = this.asked.get(question);
    if (same !== undefined) return same;
    if (this.waiting.length >= waitingMax) return false;
    const answer = this.inTurn(() => this.checkSlowly(user, password, digest, hash)).finally(() => this.asked.delete(question));
    this.asked.set(question, answer);
    return answer;
  }

  /** A password that is known to be right, because it was just set. */
  remember(user: string, password: string): void {
    this.verified.set(user, this.digest(user, password));
  }

  /** The user, or the password, is another now. */
  forget(user: string): void {
    this.changes++;
    this.verified.delete(user);
    this.asked.clear();
  }

  private async checkSlowly(user: string, password: string, digest: Buffer, hash: PasswordHash | undefined): Promise<boolean> {
    if (hash === undefined || !isSlow(hash)) {
      await wasteTime(password);
      return false;
    }
    const { changes } = this;
    if (!(await matchesSlowly(password, hash))) return false;
    if (changes === this.changes) this.verified.set(user, digest);
    return true;
  }

  private async inTurn(check: () => Promise<boolean>): Promise<boolean> {
    if (this.running < atOnceMax) this.running++;
    else await new Promise<void>((resolve) => this.waiting.push(resolve)); // whoever ends gives us its place
    try {
      return await check();
    } finally {
      const next = this.waiting.shift();
      if (next === undefined) this.running--;
      else next();
    }
  }

  private digest(user: string, password: string): Buffer {
    this.key ??= this.random.bytes(32);
    return createHmac('sha256', this.key).update(`${user.length}:${user}`).update(password).digest();
  }
}

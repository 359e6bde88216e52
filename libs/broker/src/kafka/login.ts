import { saslHandshakeKey, saslAuthenticateKey, apiVersionsApiKey } from './api-keys.js';
import { allRights, type Rights } from './rights.js';

/** Who may connect. */
export interface Authenticator {
  login(user: string, password: string, remoteAddress: string): boolean | Promise<boolean>;
  /** Whether there is such a user, for who has proved to be him in another way. */
  knows(user: string, remoteAddress: string): boolean;
  rightsOf(user: string): Rights;
}

/** The mechanisms, as they are announced. */
export const mechanisms = ['PLAIN'] as const;

const beforeLogin: ReadonlySet<number> = new Set([saslHandshakeKey, saslAuthenticateKey, apiVersionsApiKey]);

/** Who a client is that has not said so. */
export const anonymous = 'ANONYMOUS';

/**
 * How far a client has come in saying who it is.
 *
 *   stranger → chosen (a mechanism) → done          (`done` from the start where nobody is asked, or the certificate said it)
 *
 * Keeps the name only. Nothing survives the connection.
 */
export class Login {
  user = anonymous;
  rights: Rights = allRights;
  private state: 'stranger' | 'chosen' | 'raw' | 'done';
  private hasLoggedIn = false;

  constructor(
    private readonly isNeeded: boolean,
    private readonly remoteAddress: string,
    private readonly authenticator: Authenticator,
    certifiedName?: string,
  ) {
    this.state = isNeeded ? 'stranger' : 'done';
    if (certifiedName !== undefined && authenticator.knows(certifiedName, remoteAddress)) this.become(certifiedName);
  }

  get isDone(): boolean {
    return this.state === 'done';
  }

  /** What comes next is a token without a head. */
  get isRaw(): boolean {
    return this.state === 'raw';
  }

  allows(key: number): boolean {
    return this.state === 'done' || beforeLogin.has(key);
  }

  /** False: there is no such mechanism, or this is not the time for it. */
  choose(mechanism: string, isRaw: boolean): 'chosen' | 'unknown' | 'out-of-place' {
    if (!this.isNeeded || this.hasLoggedIn || this.state === 'chosen' || this.state === 'raw') return 'out-of-place';
    if (!mechanisms.some((known) => known === mechanism)) return 'unknown';
    this.state = isRaw ? 'raw' : 'chosen';
    return 'chosen';
  }

  /** Takes the token of PLAIN: an identity, NUL, user, NUL, password. The answer is what was wrong, or undefined. */
  async takeToken(token: Buffer): Promise<'out-of-place' | 'refused' | undefined> {
    if (this.state !== 'chosen' && this.state !== 'raw') return 'out-of-place';
    const parts = token.toString('utf8').split('\0');
    const [identity, user, password] = parts;
    const isWhole = parts.length === 3 && user !== undefined && user !== '' && password !== undefined;
    if (!isWhole || (identity !== '' && identity !== user)) return 'refused';
    if (!(await this.authenticator.login(user, password, this.remoteAddress))) return 'refused';
    this.become(user);
    this.hasLoggedIn = true;
    return undefined;
  }

  private become(user: string): void {
    this.user = user;
    this.rights = this.authenticator.rightsOf(user);
    this.state = 'done';
  }
}

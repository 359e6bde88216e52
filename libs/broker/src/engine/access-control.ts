import type { Random } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { AccessCheckpoint, AccessRecord, PermissionRecord, TopicPermissionRecord, UserRecord } from './access-records.js';
import { Logins } from './logins.js';
import { isSlow, noPassword } from './password-hash.js';
import { UserAccess } from './user-access.js';

/** A user that the configuration names. Its password is in the configuration anyway, so that it is kept in no slower form. */
export interface ConfiguredUser {
  readonly name: string;
  /** Without one nobody logs in by password. */
  readonly password?: string;
  /** Default: administrator. */
  readonly tags?: readonly string[];
}

/** What is told to the protocol servers: they close connections and forget what they remembered. */
export type AccessChange =
  | { readonly what: 'user-deleted'; readonly user: string }
  | { readonly what: 'virtual-host-deleted'; readonly virtualHost: string }
  | { readonly what: 'permissions-changed'; readonly user: string; readonly virtualHost: string };

const guest = 'guest';

/** The hash is of a password that everybody knows: RabbitMQ's form, because it takes no time. */
const defaultGuest: UserRecord = {
  name: guest,
  algorithm: 'rabbit_password_hashing_sha256',
  hash: 'ZG92ZSaSMjyRHHxnrt5h3Ma68vvqitWVu1XhGZiKymYav1xE',
  tags: ['administrator'],
};

/**
 * Who may log in, with which tags, and who may do what in which virtual host; for every protocol.
 *
 * Two sources make it up. What the configuration names, the configuration rules: it is given anew at each start and not kept. All
 * else is in the journal and survives like any definition. State changes one way: `Administration` decides and appends, `evolve`
 * changes, also when the journal is read again.
 *
 * A broker that has no user at all when it opens gets one: `guest` with the password `guest`, for this machine only.
 */
export class AccessControl {
  private readonly configured = new Map<string, ConfiguredUser>();
  private readonly configuredPermissions = new Map<string, PermissionRecord>();
  private readonly kept = new Map<string, UserRecord>();
  private readonly permissions = new Map<string, PermissionRecord>();
  private readonly topicPermissions = new Map<string, TopicPermissionRecord>();
  private readonly accesses = new Map<string, UserAccess>();
  private readonly listeners = new Set<(change: AccessChange) => void>();
  private readonly logins: Logins;
  /** Of the users that are kept; while there is one, every refusal is as slow as a check. */
  private slowHashes = 0;
  /** Whether anything about users and permissions was ever decided here. */
  private isDecided = false;
  private unkept: readonly AccessRecord[] = [];

  constructor(random: Random) {
    this.logins = new Logins(random);
  }

  /** Whether somebody may log in. Slow hashes are checked on another thread; then the answer is a promise. */
  login(name: string, password: string, remoteAddress: string): boolean | Promise<boolean> {
    if (name === guest && !isLoopback(remoteAddress)) return this.logins.check('', password, undefined, this.slowHashes > 0);
    const configured = this.configured.get(name);
    // Its plain text is known, so a digest of it is the quick way to compare in constant time.
    if (configured?.password !== undefined) this.logins.remember(name, configured.password);
    const hash = configured === undefined ? this.kept.get(name) : noPassword;
    return this.logins.check(name, password, hash, this.slowHashes > 0);
  }

  /** Whether there is such a user, for logins that prove themselves in another way, and not `guest` from afar. */
  knows(name: string, remoteAddress: string): boolean {
    return this.tagsOf(name) !== undefined && (name !== guest || isLoopback(remoteAddress));
  }

  /** The user's tags; undefined where there is no such user. */
  tagsOf(name: string): readonly string[] | undefined {
    const configured = this.configured.get(name);
    if (configured !== undefined) return configured.tags ?? ['administrator'];
    return this.kept.get(name)?.tags;
  }

  /** What the user may do in that virtual host, which exists. Throws a CodedError `host-refused`. */
  enter(user: string, virtualHost: string): UserAccess {
    const access = this.accessOf(user, virtualHost);
    if (!access.isAdmitted) throw new CodedError('host-refused', `access to vhost '${virtualHost}' refused for user '${user}'`);
    return access;
  }

  /** For who may do everything, whatever users there are. */
  enterFreely(user: string, virtualHost: string): UserAccess {
    const access = new UserAccess(user, virtualHost);
    access.change(everything(user, virtualHost), []);
    return access;
  }

  /** What the user may do there now; told of changes as long as that is anything at all. */
  accessOf(user: string, virtualHost: string): UserAccess {
    const key = keyOf(user, virtualHost);
    let access = this.accesses.get(key);
    if (access === undefined) {
      access = new UserAccess(user, virtualHost);
      this.give(access);
      // Names that strangers ask for must not fill the memory.
      if (access.isAdmitted) this.accesses.set(key, access);
    }
    return access;
  }

  mayEnter(user: string, virtualHost: string): boolean {
    return this.accessOf(user, virtualHost).isAdmitted;
  }

  /** Calls `listener` after each change, until the returned function is called. */
  onChange(listener: (change: AccessChange) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  // What is there.

  get users(): readonly UserRecord[] {
    const configured = [...this.configured.keys()].map((name) => ({ ...noPassword, name, tags: this.tagsOf(name)! }));
    const kept = [...this.kept.values()].filter(({ name }) => !this.configured.has(name));
    return [...configured, ...kept].sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  findUser(name: string): UserRecord | undefined {
    return this.users.find((user) => user.name === name);
  }

  get allPermissions(): readonly PermissionRecord[] {
    const kept = [...this.permissions].filter(([key]) => !this.configuredPermissions.has(key)).map(([, permission]) => permission);
    return [...this.configuredPermissions.values(), ...kept];
  }

  get allTopicPermissions(): readonly TopicPermissionRecord[] {
    return [...this.topicPermissions.values()];
  }

  /** Whether the configuration rules over this user; then nothing else may change it. */
  isConfiguredUser(name: string): boolean {
    return this.configured.has(name);
  }

  isConfiguredPermission(user: string, virtualHost: string): boolean {
    return this.configuredPermissions.has(keyOf(user, virtualHost));
  }

  // How it changes.

  /** The users and permissions of the configuration: once, after recovery and before anybody is served. */
  configure(users: readonly ConfiguredUser[], permissions: readonly PermissionRecord[]): void {
    for (const user of users) this.configured.set(user.name, user);
    for (const permission of permissions) this.configuredPermissions.set(keyOf(permission.user, permission.virtualHost), permission);
    if (this.kept.size > 0 || users.length > 0) return;
    const { isDecided } = this;
    this.unkept = [
      { do: 'put-user', user: defaultGuest },
      { do: 'put-permission', permission: everything(guest, '/') },
    ];
    for (const record of this.unkept) this.evolve(record);
    this.isDecided = isDecided; // as long as there is nothing else to keep, the next opening does the same
    if (isDecided) this.unkept = []; // the checkpoint of this opening has it
  }

  /** What was made true at the opening and is in no journal yet: the next decision takes it along. */
  takeUnkept(): readonly AccessRecord[] {
    const { unkept } = this;
    this.unkept = [];
    return unkept;
  }

  evolve(record: AccessRecord): void {
    this.isDecided = true;
    switch (record.do) {
      case 'put-user':
        this.forgetUser(record.user.name);
        this.kept.set(record.user.name, record.user);
        if (isSlow(record.user)) this.slowHashes++;
        return;
      case 'delete-user':
        return this.deleteUser(record.name);
      case 'put-permission':
        this.permissions.set(keyOf(record.permission.user, record.permission.virtualHost), record.permission);
        return this.refresh(record.permission.user, record.permission.virtualHost);
      case 'delete-permission':
        this.permissions.delete(keyOf(record.user, record.virtualHost));
        return this.refresh(record.user, record.virtualHost);
      case 'put-topic-permission':
        this.topicPermissions.set(topicKey(record.permission), record.permission);
        return this.refresh(record.permission.user, record.permission.virtualHost);
      case 'delete-topic-permission':
        for (const permission of this.topicsOf(record.user, record.virtualHost)) {
          if (record.exchange === undefined || record.exchange === permission.exchange) this.topicPermissions.delete(topicKey(permission));
        }
        return this.refresh(record.user, record.virtualHost);
    }
  }

  /** A virtual host is gone, and what was given in it. */
  forgetVirtualHost(virtualHost: string): void {
    for (const [key, permission] of this.permissions) if (permission.virtualHost === virtualHost) this.permissions.delete(key);
    for (const [key, permission] of this.topicPermissions) if (permission.virtualHost === virtualHost) this.topicPermissions.delete(key);
    for (const [key, access] of this.accesses) if (access.virtualHost === virtualHost) this.accesses.delete(key);
    this.tell({ what: 'virtual-host-deleted', virtualHost });
  }

  /** Undefined where nothing was ever decided, so that it stays so. */
  checkpoint(): AccessCheckpoint | undefined {
    if (!this.isDecided) return undefined;
    return {
      users: [...this.kept.values()],
      permissions: [...this.permissions.values()],
      topicPermissions: [...this.topicPermissions.values()],
    };
  }

  /** Takes the place of all that was kept. */
  recover({ users, permissions, topicPermissions }: AccessCheckpoint): void {
    for (const name of [...this.kept.keys()]) this.forgetUser(name);
    this.permissions.clear();
    this.topicPermissions.clear();
    for (const user of users) this.evolve({ do: 'put-user', user });
    for (const permission of permissions) this.evolve({ do: 'put-permission', permission });
    for (const permission of topicPermissions) this.evolve({ do: 'put-topic-permission', permission });
    this.isDecided = true;
  }

  private deleteUser(name: string): void {
    this.forgetUser(name);
    for (const [key, permission] of this.permissions) if (permission.user === name) this.permissions.delete(key);
    for (const [key, permission] of this.topicPermissions) if (permission.user === name) this.topicPermissions.delete(key);
    for (const [key, access] of this.accesses) {
      if (access.user !== name) continue;
      access.change(undefined, []);
      this.accesses.delete(key);
    }
    this.tell({ what: 'user-deleted', user: name });
  }

  private forgetUser(name: string): void {
    const before = this.kept.get(name);
    if (before !== undefined && isSlow(before)) this.slowHashes--;
    this.kept.delete(name);
    this.logins.forget(name);
  }

  private refresh(user: string, virtualHost: string): void {
    const access = this.accesses.get(keyOf(user, virtualHost));
    if (access === undefined) return;
    this.give(access);
    this.tell({ what: 'permissions-changed', user, virtualHost });
  }

  private give(access: UserAccess): void {
    const { user, virtualHost } = access;
    const key = keyOf(user, virtualHost);
    access.change(this.configuredPermissions.get(key) ?? this.permissions.get(key), this.topicsOf(user, virtualHost));
  }

  private topicsOf(user: string, virtualHost: string): readonly TopicPermissionRecord[] {
    return [...this.topicPermissions.values()].filter((one) => one.user === user && one.virtualHost === virtualHost);
  }

  private tell(change: AccessChange): void {
    for (const listener of [...this.listeners]) listener(change);
  }
}

/** Everything of a virtual host. */
export function everything(user: string, virtualHost: string): PermissionRecord {
  return { user, virtualHost, configure: '.*', write: '.*', read: '.*' };
}

export function isLoopback(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./.test(address);
}

function keyOf(user: string, virtualHost: string): string {
  return `${virtualHost.length}:${virtualHost}${user}`;
}

function topicKey({ user, virtualHost, exchange }: TopicPermissionRecord): string {
  return `${exchange.length}:${exchange}${keyOf(user, virtualHost)}`;
}

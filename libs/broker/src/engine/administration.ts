import type { Random } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { Limits } from '../limits.js';
import type {
  BrokerRecord,
  PermissionRecord,
  TopicPermissionRecord,
  UserRecord,
  VirtualHostLimits,
  VirtualHostSettings,
} from './access-records.js';
import { everything } from './access-control.js';
import { checkHash, hashPassword, noPassword, type PasswordHash } from './password-hash.js';
import { namePattern, withNames } from './user-access.js';
import type { VirtualHosts } from './virtual-hosts.js';

export interface UserSettings {
  readonly name: string;
  /** One of both; without any, nobody logs in as this user by password. */
  readonly password?: string;
  readonly passwordHash?: { readonly algorithm: string; readonly hash: string };
  readonly tags: readonly string[];
}

/** Users, permissions and virtual hosts that come true together. */
export interface AccessImport {
  readonly users: readonly UserSettings[];
  readonly virtualHosts: readonly VirtualHostSettings[];
  readonly permissions: readonly PermissionRecord[];
  readonly topicPermissions: readonly TopicPermissionRecord[];
}

export type PutOutcome = 'created' | 'changed';

const nameBytesMax = 255;
const tagsMax = 50;

/**
 * Users, permissions and virtual hosts: what there is, and every change to them.
 *
 * A change resolves when it is as durable as the broker was told to make it; it is in force before that. Refusals are CodedErrors, and
 * nothing was changed then. What the configuration of the broker names is refused with `configured`: change it there. Nobody is
 * asked for permission here: whoever calls this has seen to it.
 */
export class Administration {
  constructor(
    private readonly hosts: VirtualHosts,
    private readonly random: Random,
    private readonly limits: Limits,
  ) {}

  get users(): readonly UserRecord[] {
    return this.hosts.access.users;
  }

  get virtualHosts(): readonly VirtualHostSettings[] {
    return this.hosts.allSettings;
  }

  get permissions(): readonly PermissionRecord[] {
    return this.hosts.access.allPermissions;
  }

  get topicPermissions(): readonly TopicPermissionRecord[] {
    return this.hosts.access.allTopicPermissions;
  }

  /** Makes the user or takes the place of the one of that name. The password is hashed on another thread. */
  async putUser(settings: UserSettings): Promise<PutOutcome> {
    this.checkUser(settings);
    const user = await this.userRecord(settings);
    const outcome = this.hosts.access.findUser(user.name) === undefined ? 'created' : 'changed';
    await this.decide([{ do: 'put-user', user }]);
    return outcome;
  }

  /** Their permissions go with them, and their connections are closed. */
  async deleteUsers(names: readonly string[]): Promise<void> {
    for (const name of names) this.checkNotConfigured(this.mustKnow(name));
    await this.decide(names.map((name) => ({ do: 'delete-user', name })));
  }

  /** Makes the virtual host, or changes what is given. `creator` may do everything in a new one. */
  async putVirtualHost(settings: VirtualHostSettings, creator?: string): Promise<PutOutcome> {
    this.checkVirtualHost(settings);
    const known = this.hosts.settingsOf(settings.name);
    const records: BrokerRecord[] = [{ do: 'put-virtual-host', virtualHost: { ...known, ...settings } }];
    if (known === undefined && creator !== undefined)
      records.push({ do: 'put-permission', permission: everything(creator, settings.name) });
    await this.decide(records);
    return known === undefined ? 'created' : 'changed';
  }

  /** With everything in it. Its connections are closed. */
  async deleteVirtualHost(name: string): Promise<void> {
    this.hosts.find(name);
    if (name === this.hosts.first.name) {
      throw new CodedError('invalid-argument', `the virtual host '${name}' cannot be deleted: the broker's own sessions live in it`);
    }
    await this.decide([{ do: 'delete-virtual-host', name }]);
  }

  async setLimits(name: string, limits: VirtualHostLimits): Promise<void> {
    this.hosts.find(name);
    const known = this.hosts.settingsOf(name)!;
    await this.decide([{ do: 'put-virtual-host', virtualHost: { ...known, limits } }]);
  }

  async putPermission(permission: PermissionRecord): Promise<PutOutcome> {
    this.checkPermission(permission, true);
    const outcome = this.permissions.some((one) => isSame(one, permission)) ? 'changed' : 'created';
    await this.decide([{ do: 'put-permission', permission }]);
    return outcome;
  }

  /** False where there is none. */
  async deletePermission(user: string, virtualHost: string): Promise<boolean> {
    if (!this.permissions.some((one) => isSame(one, { user, virtualHost }))) return false;
    if (this.hosts.access.isConfiguredPermission(user, virtualHost)) throw configured(`the permissions of '${user}' in '${virtualHost}'`);
    await this.decide([{ do: 'delete-permission', user, virtualHost }]);
    return true;
  }

  async putTopicPermission(permission: TopicPermissionRecord): Promise<PutOutcome> {
    this.checkTopicPermission(permission, true);
    const outcome = this.topicPermissions.some((one) => isSame(one, permission) && one.exchange === permission.exchange);
    await this.decide([{ do: 'put-topic-permission', permission }]);
    return outcome ? 'changed' : 'created';
  }

  /** Of one exchange, or of all. False where there is none. */
  async deleteTopicPermissions(user: string, virtualHost: string, exchange?: string): Promise<boolean> {
    const given = { user, virtualHost };
    const isThere = this.topicPermissions.some((one) => isSame(one, given) && (exchange === undefined || one.exchange === exchange));
    if (!isThere) return false;
    await this.decide([{ do: 'delete-topic-permission', ...given, ...(exchange === undefined ? {} : { exchange }) }]);
    return true;
  }

  /** All of it together, or nothing of it. What is there and not named stays; what the configuration rules over is left out. */
  async import({ users, virtualHosts, permissions, topicPermissions }: AccessImport): Promise<void> {
    const { access } = this.hosts;
    const others = users.filter(({ name }) => !access.isConfiguredUser(name));
    for (const user of others) this.checkUser(user);
    for (const host of virtualHosts) this.checkVirtualHost(host);
    const userNames = new Set([...this.users, ...users].map(({ name }) => name));
    const hostNames = new Set([...this.virtualHosts, ...virtualHosts].map(({ name }) => name));
    for (const { user, virtualHost } of [...permissions, ...topicPermissions]) {
      if (!userNames.has(user)) throw noUser(user);
      if (!hostNames.has(virtualHost)) throw new CodedError('no-virtual-host', `vhost ${virtualHost} not found`);
    }
    const free = permissions.filter(({ user, virtualHost }) => !access.isConfiguredPermission(user, virtualHost));
    for (const permission of free) this.checkPermission(permission, false);
    for (const permission of topicPermissions) this.checkTopicPermission(permission, false);
    const userRecords = await Promise.all(others.map((user) => this.userRecord(user)));
    await this.decide([
      ...virtualHosts.map((virtualHost): BrokerRecord => {
        return { do: 'put-virtual-host', virtualHost: { ...this.hosts.settingsOf(virtualHost.name), ...virtualHost } };
      }),
      ...userRecords.map((user): BrokerRecord => ({ do: 'put-user', user })),
      ...free.map((permission): BrokerRecord => ({ do: 'put-permission', permission })),
      ...topicPermissions.map((permission): BrokerRecord => ({ do: 'put-topic-permission', permission })),
    ]);
  }

  private decide(records: readonly BrokerRecord[]): Promise<void> {
    this.hosts.decide(records);
    return this.hosts.committed();
  }

  private async userRecord({ name, password, passwordHash, tags }: UserSettings): Promise<UserRecord> {
    let hash: PasswordHash = noPassword;
    if (passwordHash !== undefined) hash = checkHash(passwordHash);
    else if (password !== undefined && password !== '') hash = await hashPassword(password, this.random.bytes(16));
    return { name, algorithm: hash.algorithm, hash: hash.hash, tags };
  }

  private checkUser({ name, passwordHash, tags }: UserSettings): void {
    checkName('a user', name);
    this.checkNotConfigured(name);
    if (passwordHash !== undefined) checkHash(passwordHash);
    if (tags.length > tagsMax || tags.some((tag) => tag === '' || Buffer.byteLength(tag) > nameBytesMax)) {
      throw new CodedError(
        'invalid-argument',
        `the user '${name}' has too many tags or one that is empty or longer than ${nameBytesMax} bytes`,
      );
    }
    const { usersMax } = this.limits;
    if (this.hosts.access.findUser(name) === undefined && this.users.length >= usersMax) {
      throw new CodedError('limit-reached', `the user '${name}' cannot be made: the limit of ${usersMax} users is reached`);
    }
  }

  private checkVirtualHost({ name, defaultQueueType = 'classic' }: VirtualHostSettings): void {
    checkName('a virtual host', name);
    if (!['classic', 'quorum', 'stream'].includes(defaultQueueType)) {
      throw new CodedError('invalid-argument', `'${defaultQueueType}' is not a queue type: classic, quorum and stream are`);
    }
    const { virtualHostsMax } = this.limits;
    if (this.hosts.settingsOf(name) === undefined && this.virtualHosts.length >= virtualHostsMax) {
      throw new CodedError('limit-reached', `'${name}' cannot be made: the limit of ${virtualHostsMax} virtual hosts is reached`);
    }
  }

  private checkPermission({ user, virtualHost, configure, write, read }: PermissionRecord, mustExist: boolean): void {
    if (mustExist) {
      this.mustKnow(user);
      this.hosts.find(virtualHost);
    }
    if (this.hosts.access.isConfiguredPermission(user, virtualHost)) throw configured(`the permissions of '${user}' in '${virtualHost}'`);
    for (const text of [configure, write, read]) namePattern(text);
  }

  private checkTopicPermission({ user, virtualHost, exchange, write, read }: TopicPermissionRecord, mustExist: boolean): void {
    if (mustExist) {
      this.mustKnow(user);
      this.hosts.find(virtualHost);
    }
    if (Buffer.byteLength(exchange) > nameBytesMax)
      throw new CodedError('invalid-argument', 'the name of an exchange is at most 255 bytes long');
    for (const text of [write, read]) namePattern(withNames(text, user, virtualHost));
  }

  private mustKnow(user: string): string {
    if (this.hosts.access.findUser(user) === undefined) throw noUser(user);
    return user;
  }

  private checkNotConfigured(user: string): void {
    if (this.hosts.access.isConfiguredUser(user)) throw configured(`the user '${user}'`);
  }
}

function checkName(what: string, name: string): void {
  if (name !== '' && Buffer.byteLength(name) <= nameBytesMax && !/[\0\r\n]/.test(name)) return;
  throw new CodedError('invalid-argument', `the name of ${what} has 1 to ${nameBytesMax} bytes and no line breaks`);
}

function noUser(name: string): CodedError {
  return new CodedError('no-user', `there is no user '${name}'`);
}

function configured(what: string): CodedError {
  return new CodedError('configured', `${what} comes from the configuration of the broker: change it there and start the broker again`);
}

function isSame(
  one: { readonly user: string; readonly virtualHost: string },
  other: { readonly user: string; readonly virtualHost: string },
): boolean {
  return one.user === other.user && one.virtualHost === other.virtualHost;
}

import { CodedError } from '../errors.js';
import type { Access, Deed } from '../queues/access.js';
import type { PermissionRecord, TopicPermissionRecord } from './access-records.js';
import { Pattern } from './pattern.js';

/** Answers that are remembered for each verb; names come and go. */
const rememberedMax = 1000;

/**
 * What one user may do in one virtual host, and what was answered before: connections ask for every exchange they publish to.
 * `AccessControl` makes it and tells it what has changed. Nothing of it is kept.
 */
export class UserAccess implements Access {
  publishesFreely = false;
  private patterns: Readonly<Record<Deed, Pattern>> | undefined;
  private topics: ReadonlyMap<string, { readonly write: Pattern; readonly read: Pattern }> = new Map();
  private readonly answers = { configure: new Map<string, boolean>(), write: new Map<string, boolean>(), read: new Map<string, boolean>() };

  constructor(
    readonly user: string,
    readonly virtualHost: string,
  ) {}

  /** Whether the user may open the virtual host at all. */
  get isAdmitted(): boolean {
    return this.patterns !== undefined;
  }

  /** What is given now; nothing at all where `permission` is undefined. */
  change(permission: PermissionRecord | undefined, topicPermissions: readonly TopicPermissionRecord[]): void {
    this.patterns = permission && {
      configure: namePattern(permission.configure),
      write: namePattern(permission.write),
      read: namePattern(permission.read),
    };
    const topic = (text: string): Pattern => namePattern(withNames(text, this.user, this.virtualHost));
    this.topics = new Map(topicPermissions.map(({ exchange, write, read }) => [exchange, { write: topic(write), read: topic(read) }]));
    for (const remembered of Object.values(this.answers)) remembered.clear();
    this.publishesFreely = this.patterns?.write.matchesAll === true && this.topics.size === 0;
  }

  check(deed: Deed, kind: 'exchange' | 'queue', given: string): void {
    const name = kind === 'exchange' && given === '' ? 'amq.default' : given;
    if (!this.allows(deed, name)) throw this.refuse(`${deed} access to ${kind} '${name}'`);
  }

  allows(deed: Deed, name: string): boolean {
    const remembered = this.answers[deed];
    let isAllowed = remembered.get(name);
    if (isAllowed === undefined) {
      isAllowed = this.patterns?.[deed].matches(name) ?? false;
      if (remembered.size >= rememberedMax) remembered.clear();
      remembered.set(name, isAllowed);
    }
    return isAllowed;
  }

  checkTopic(deed: 'write' | 'read', exchange: string, routingKey: string): void {
    const topic = this.topics.get(exchange);
    if (topic === undefined || topic[deed].matches(routingKey)) return;
    throw this.refuse(`${deed} access to topic '${routingKey}' in exchange '${exchange}'`);
  }

  private refuse(what: string): CodedError {
    return new CodedError('access-refused', `${what} in vhost '${this.virtualHost}' refused for user '${this.user}'`);
  }
}

/** An empty expression lets nothing through, as in RabbitMQ. Throws a CodedError `invalid-argument`. */
export function namePattern(text: string): Pattern {
  return new Pattern(text === '' ? '^$' : text);
}

/** A topic permission with the names filled in, as text and not as expressions. */
export function withNames(text: string, user: string, virtualHost: string): string {
  const literal = (name: string): string => name.replace(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);
  return text.replaceAll('{username}', () => literal(user)).replaceAll('{vhost}', () => literal(virtualHost));
}

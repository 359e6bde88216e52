import type { PermissionRecord, TopicPermissionRecord } from '../engine/access-records.js';
import { CodedError } from '../errors.js';
import type { ManagementContext } from './api.js';
import { notFound, ofWhatIsThere, ok, putAnswer, refuse, type Outcome, type Route, textOf } from './route.js';

/** `/api/permissions` and `/api/topic-permissions`. */
export function permissionRoutes(context: ManagementContext): readonly Route[] {
  const { administration } = context;
  const plain = routesOf(context, {
    word: 'permissions',
    all: () => administration.permissions.map(permissionJson),
    put: (given) => administration.putPermission(permissionOf(given)),
    delete: (user, virtualHost) => administration.deletePermission(user, virtualHost),
    ofOne: ([only]) => only,
  });
  const topic = routesOf(context, {
    word: 'topic-permissions',
    all: () => administration.topicPermissions.map(topicPermissionJson),
    put: (given) => administration.putTopicPermission(topicPermissionOf(given)),
    delete: (user, virtualHost) => administration.deleteTopicPermissions(user, virtualHost),
    ofOne: (several) => several,
  });
  const ofOneExchange: Route = {
    method: 'DELETE',
    path: 'api/topic-permissions/:vhost/:user/:exchange',
    tag,
    run: ({ names: { user, vhost, exchange } }) => ofWhatIsThere(() => administration.deleteTopicPermissions(user!, vhost!, exchange)),
  };
  return [...plain, ...topic, ofOneExchange];
}

const tag = 'administrator';

/** As the API has it: with RabbitMQ's names. */
interface PermissionAnswer {
  readonly user: string;
  readonly vhost: string;
  readonly exchange?: string;
  readonly configure?: string;
  readonly write: string;
  readonly read: string;
}

/** What the routes of permissions and of topic permissions do not share. */
interface Kind {
  readonly word: string;
  readonly all: () => readonly PermissionAnswer[];
  readonly put: (given: Readonly<Record<string, unknown>>) => Promise<'created' | 'changed'>;
  readonly delete: (user: string, virtualHost: string) => Promise<unknown>;
  /** What is answered about one user in one virtual host. */
  readonly ofOne: (found: readonly PermissionAnswer[]) => unknown;
}

function routesOf({ hosts }: ManagementContext, { word, all, put, delete: remove, ofOne }: Kind): readonly Route[] {
  const of = ({ user, vhost }: Readonly<Record<string, string>>): readonly PermissionAnswer[] =>
    all().filter((one) => (user ?? one.user) === one.user && (vhost ?? one.vhost) === one.vhost);
  const one = `api/${word}/:vhost/:user`;
  return [
    { method: 'GET', path: `api/${word}`, tag, run: () => ok(all()) },
    {
      method: 'GET',
      path: `api/users/:user/${word}`,
      tag,
      run: ({ names }) => (hosts.access.findUser(names['user']!) === undefined ? notFound : ok(of(names))),
    },
    {
      method: 'GET',
      path: `api/vhosts/:vhost/${word}`,
      tag,
      run: ({ names }) => (hosts.settingsOf(names['vhost']!) === undefined ? notFound : ok(of(names))),
    },
    {
      method: 'GET',
      path: one,
      tag,
      run: ({ names }) => {
        const found = of(names);
        return found.length === 0 ? notFound : ok(ofOne(found));
      },
    },
    { method: 'PUT', path: one, tag, run: ({ names, body }) => known(() => put({ ...body(), ...names })) },
    { method: 'DELETE', path: one, tag, run: ({ names: { user, vhost } }) => ofWhatIsThere(() => remove(user!, vhost!)) },
  ];
}

export function permissionJson({ user, virtualHost: vhost, configure, write, read }: PermissionRecord): PermissionAnswer {
  return { user, vhost, configure, write, read };
}

export function topicPermissionJson({ user, virtualHost: vhost, exchange, write, read }: TopicPermissionRecord): PermissionAnswer {
  return { user, vhost, exchange, write, read };
}

export function permissionOf(given: Readonly<Record<string, unknown>>): PermissionRecord {
  const [user, virtualHost] = [textOf(given, 'user'), textOf(given, 'vhost')];
  return { user, virtualHost, configure: textOf(given, 'configure'), write: textOf(given, 'write'), read: textOf(given, 'read') };
}

export function topicPermissionOf(given: Readonly<Record<string, unknown>>): TopicPermissionRecord {
  const [user, virtualHost] = [textOf(given, 'user'), textOf(given, 'vhost')];
  return { user, virtualHost, exchange: textOf(given, 'exchange'), write: textOf(given, 'write'), read: textOf(given, 'read') };
}

/** RabbitMQ has one word for both, and no 404. */
async function known(put: () => Promise<'created' | 'changed'>): Promise<Outcome> {
  try {
    return putAnswer(await put());
  } catch (error) {
    if (error instanceof CodedError && (error.code === 'no-user' || error.code === 'no-virtual-host'))
      throw refuse('vhost_or_user_not_found');
    throw error;
  }
}

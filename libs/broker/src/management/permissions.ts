import type { PermissionRecord, TopicPermissionRecord } from '../engine/access-records.js';
import { CodedError } from '../errors.js';
import type { ManagementContext } from './api.js';
import { notFound, ofWhatIsThere, ok, putAnswer, refuse, type Outcome, type Route, textOf } from './route.js';

/** `/api/permissions` and `/api/topic-permissions`. */
export function permissionRoutes(context: ManagementContext): readonly Route[] {
  return [...plainRoutes(context), ...topicRoutes(context)];
}

function plainRoutes({ administration, hosts }: ManagementContext): readonly Route[] {
  const tag = 'administrator';
  const all = (): readonly PermissionRecord[] => administration.permissions;
  return [
    { method: 'GET', path: 'api/permissions', tag, run: () => ok(all().map(permissionJson)) },
    {
      method: 'GET',
      path: 'api/users/:user/permissions',
      tag,
      run: ({ names }) => {
        if (hosts.access.findUser(names['user']!) === undefined) return notFound;
        return ok(
          all()
            .filter(({ user }) => user === names['user'])
            .map(permissionJson),
        );
      },
    },
    {
      method: 'GET',
      path: 'api/vhosts/:vhost/permissions',
      tag,
      run: ({ names }) => {
        if (hosts.settingsOf(names['vhost']!) === undefined) return notFound;
        return ok(
          all()
            .filter(({ virtualHost }) => virtualHost === names['vhost'])
            .map(permissionJson),
        );
      },
    },
    {
      method: 'GET',
      path: 'api/permissions/:vhost/:user',
      tag,
      run: ({ names }) => {
        const found = all().find(({ user, virtualHost }) => user === names['user'] && virtualHost === names['vhost']);
        return found === undefined ? notFound : ok(permissionJson(found));
      },
    },
    {
      method: 'PUT',
      path: 'api/permissions/:vhost/:user',
      tag,
      run: ({ names, body }) => known(() => administration.putPermission(permissionOf({ ...body(), ...names }))),
    },
    {
      method: 'DELETE',
      path: 'api/permissions/:vhost/:user',
      tag,
      run: ({ names }) => ofWhatIsThere(() => administration.deletePermission(names['user']!, names['vhost']!)),
    },
  ];
}

function topicRoutes({ administration, hosts }: ManagementContext): readonly Route[] {
  const tag = 'administrator';
  const all = (): readonly TopicPermissionRecord[] => administration.topicPermissions;
  return [
    { method: 'GET', path: 'api/topic-permissions', tag, run: () => ok(all().map(topicPermissionJson)) },
    {
      method: 'GET',
      path: 'api/users/:user/topic-permissions',
      tag,
      run: ({ names }) => {
        if (hosts.access.findUser(names['user']!) === undefined) return notFound;
        return ok(
          all()
            .filter(({ user }) => user === names['user'])
            .map(topicPermissionJson),
        );
      },
    },
    {
      method: 'GET',
      path: 'api/vhosts/:vhost/topic-permissions',
      tag,
      run: ({ names }) => {
        if (hosts.settingsOf(names['vhost']!) === undefined) return notFound;
        return ok(
          all()
            .filter(({ virtualHost }) => virtualHost === names['vhost'])
            .map(topicPermissionJson),
        );
      },
    },
    {
      method: 'GET',
      path: 'api/topic-permissions/:vhost/:user',
      tag,
      run: ({ names }) => {
        const found = all().filter(({ user, virtualHost }) => user === names['user'] && virtualHost === names['vhost']);
        return found.length === 0 ? notFound : ok(found.map(topicPermissionJson));
      },
    },
    {
      method: 'PUT',
      path: 'api/topic-permissions/:vhost/:user',
      tag,
      run: ({ names, body }) => known(() => administration.putTopicPermission(topicPermissionOf({ ...body(), ...names }))),
    },
    {
      method: 'DELETE',
      path: 'api/topic-permissions/:vhost/:user',
      tag,
      run: ({ names }) => ofWhatIsThere(() => administration.deleteTopicPermissions(names['user']!, names['vhost']!)),
    },
    {
      method: 'DELETE',
      path: 'api/topic-permissions/:vhost/:user/:exchange',
      tag,
      run: ({ names }) => ofWhatIsThere(() => administration.deleteTopicPermissions(names['user']!, names['vhost']!, names['exchange'])),
    },
  ];
}

export function permissionJson({ user, virtualHost: vhost, configure, write, read }: PermissionRecord): object {
  return { user, vhost, configure, write, read };
}

export function topicPermissionJson({ user, virtualHost: vhost, exchange, write, read }: TopicPermissionRecord): object {
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

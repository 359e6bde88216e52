import type { UserRecord } from '../engine/access-records.js';
import type { UserSettings } from '../engine/administration.js';
import type { ManagementContext } from './api.js';
import { notFound, ofWhatIsThere, ok, putAnswer, refuse, type Route, tagsOf } from './route.js';

/** `/api/users` and what belongs to it. */
export function userRoutes({ administration, hosts }: ManagementContext): readonly Route[] {
  const tag = 'administrator';
  const withoutAccess = (): readonly UserRecord[] => {
    const admitted = new Set(administration.permissions.map(({ user }) => user));
    return administration.users.filter(({ name }) => !admitted.has(name));
  };
  return [
    { method: 'GET', path: 'api/users', tag, run: () => ok(administration.users.map(userJson)) },
    { method: 'GET', path: 'api/users/without-access', tag, run: () => ok(withoutAccess().map(userJson)) },
    {
      method: 'POST',
      path: 'api/users/bulk-delete',
      tag,
      run: ({ body }) => {
        const { users } = body();
        if (!Array.isArray(users) || users.some((name) => typeof name !== 'string')) throw refuse('"users" must be a list of names');
        const known = (users as readonly string[]).filter((name) => hosts.access.findUser(name) !== undefined);
        return ofWhatIsThere(() => administration.deleteUsers(known));
      },
    },
    {
      method: 'GET',
      path: 'api/users/:name',
      tag,
      run: ({ names }) => {
        const found = hosts.access.findUser(names['name']!);
        return found === undefined ? notFound : ok(userJson(found));
      },
    },
    {
      method: 'PUT',
      path: 'api/users/:name',
      tag,
      run: async ({ names, body }) => putAnswer(await administration.putUser(userOf({ ...body(), name: names['name']! }))),
    },
    {
      method: 'DELETE',
      path: 'api/users/:name',
      tag,
      run: ({ names }) => ofWhatIsThere(() => administration.deleteUsers([names['name']!])),
    },
    { method: 'GET', path: 'api/user-limits', tag: 'management', run: () => ok([]) },
  ];
}

export function userJson({ name, algorithm, hash, tags }: UserRecord): object {
  return { name, password_hash: hash, hashing_algorithm: algorithm, tags, limits: {} };
}

/** A user as RabbitMQ writes it, in a request or in a file of definitions. */
export function userOf(given: Readonly<Record<string, unknown>>): UserSettings {
  const { name, password, password_hash: hash, hashing_algorithm: algorithm = 'rabbit_password_hashing_sha256', tags, limits } = given;
  if (typeof name !== 'string') throw refuse('a user needs a "name"');
  if (tags === undefined) throw refuse('tags_not_present');
  for (const [key, value] of Object.entries({ password, password_hash: hash, hashing_algorithm: algorithm })) {
    if (value !== undefined && typeof value !== 'string') throw refuse(`"${key}" of user '${name}' must be a text`);
  }
  if (typeof limits === 'object' && limits !== null && Object.keys(limits).length > 0)
    throw refuse(`limits of users are not built: take them from user '${name}'`);
  const common = { name, tags: tagsOf(tags) };
  if (typeof hash === 'string') return { ...common, passwordHash: { algorithm: algorithm as string, hash } };
  return typeof password === 'string' ? { ...common, password } : common;
}

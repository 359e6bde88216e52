/**
 * How listeners, users, permissions and virtual hosts are written in the daemon's settings. Each reader takes text, from the command line or
 * the environment, or the JSON of the file, and answers undefined where that is not allowed; settings.ts turns that into a sentence.
 */
import type { PermissionRecord, User, VirtualHostSettings } from '@dovecote/broker';

export interface ListenerSetting {
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
}

export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

/** Users, and what those may do of whom the settings say so; the others may do everything. */
export interface Accounts {
  readonly users: readonly User[];
  readonly permissions: readonly PermissionRecord[];
}

export function readListeners(given: unknown): readonly ListenerSetting[] | undefined {
  return all(listOf(given).map((one) => readListener('amqp', one)));
}

export function readListener(scheme: 'amqp' | 'kafka', given: unknown): ListenerSetting | undefined {
  const parts = typeof given === 'string' ? /^([a-z]+):\/\/(\[[0-9a-fA-F:.]+\]|[^:/@\s]+):(\d{1,5})\/?$/.exec(given.trim()) : null;
  if (parts === null) return undefined;
  const [, spoken, host = '', port] = parts;
  if (Number(port) > 65_535 || (spoken !== scheme && spoken !== `${scheme}s`)) return undefined;
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port), isTls: spoken !== scheme };
}

/** The address may be one of IPv6, in brackets. */
export function readHostAndPort(given: unknown): HostAndPort | undefined {
  const [, bracketed, plain, digits] = typeof given === 'string' ? (/^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(given.trim()) ?? []) : [];
  const host = bracketed ?? plain;
  const port = readPort(digits);
  return host === undefined || port === undefined || port === 0 ? undefined : { host, port };
}

export function readPort(given: unknown): number | undefined {
  const port = typeof given === 'string' && /^\d{1,5}$/.test(given) ? Number(given) : given;
  return typeof port === 'number' && Number.isInteger(port) && port >= 0 && port <= 65_535 ? port : undefined;
}

export function readAnswer(given: unknown): boolean | undefined {
  return given === true || given === 'yes' ? true : given === false || given === 'no' ? false : undefined;
}

export function readVirtualHosts(given: unknown): readonly VirtualHostSettings[] | undefined {
  return eachOnce(all(listOf(given).map((one) => (typeof one === 'string' ? { name: one.trim() } : readVirtualHost(one)))));
}

const virtualHostFields: Readonly<Record<string, (value: unknown) => boolean>> = {
  name: isText,
  description: (value) => typeof value === 'string',
  tags: isTextList,
  defaultQueueType: (value) => value === 'classic' || value === 'quorum' || value === 'stream',
  limits: (value) => hasOnly(value, { maxConnections: Number.isInteger, maxQueues: Number.isInteger }),
};

function readVirtualHost(given: unknown): VirtualHostSettings | undefined {
  return hasOnly(given, virtualHostFields) && 'name' in given ? (given as unknown as VirtualHostSettings) : undefined;
}

export function readUsers(given: unknown): Accounts | undefined {
  const accounts = eachOnce(all(listOf(given).map(readAccount)));
  if (accounts === undefined) return undefined;
  return {
    users: accounts.map(({ permissions: _permissions, ...user }) => user),
    permissions: accounts.flatMap(({ name: user, permissions }) => permissions?.map((permission) => ({ ...permission, user })) ?? []),
  };
}

type Account = User & { readonly permissions?: readonly Omit<PermissionRecord, 'user'>[] };

const permissionFields = { virtualHost: isText, configure: isString, write: isString, read: isString };
const accountFields = {
  name: isText,
  password: isText,
  tags: isTextList,
  permissions: (value: unknown) =>
    Array.isArray(value) &&
    value.every((one) => hasOnly(one, permissionFields) && Object.keys(one).length === Object.keys(permissionFields).length),
};

/** The name ends at the first colon: a password may hold more of them. In the file a user without a password comes with a certificate. */
function readAccount(given: unknown): Account | undefined {
  if (typeof given !== 'string') return hasOnly(given, accountFields) && 'name' in given ? (given as unknown as Account) : undefined;
  const colon = given.indexOf(':');
  const user = { name: given.slice(0, Math.max(colon, 0)), password: given.slice(colon + 1) };
  return user.name === '' || user.password === '' ? undefined : user;
}

/** Text with commas comes from the environment; a repeated option and the file give lists. */
export function listOf(given: unknown): readonly unknown[] {
  return typeof given === 'string' ? given.split(',') : Array.isArray(given) ? given : [];
}

export function all<T>(read: readonly (T | undefined)[]): readonly T[] | undefined {
  const known = read.filter((one) => one !== undefined);
  return known.length > 0 && known.length === read.length ? known : undefined;
}

function eachOnce<T extends { readonly name: string }>(given: readonly T[] | undefined): readonly T[] | undefined {
  return given === undefined || new Set(given.map(({ name }) => name)).size < given.length ? undefined : given;
}

/** Whether every field of the object is one of these and holds what it should. */
function hasOnly(
  given: unknown,
  fields: Readonly<Record<string, (value: unknown) => boolean>>,
): given is Readonly<Record<string, unknown>> {
  return isObject(given) && Object.entries(given).every(([name, value]) => fields[name]?.(value) === true);
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isString(value: unknown): boolean {
  return typeof value === 'string';
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && value !== '';
}

function isTextList(value: unknown): boolean {
  return Array.isArray(value) && value.every(isText);
}

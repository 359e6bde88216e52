import { CodedError } from '../errors.js';

/** What the API answers. Without a body: nothing but the status. */
export interface Outcome {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The least tag that a route takes; see RabbitMQ's management guide. */
export type Tag = 'management' | 'policymaker' | 'monitoring' | 'administrator';

export interface RouteRequest {
  /** What stands in the path for `:name` and the like, decoded. */
  readonly names: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly user: { readonly name: string; readonly tags: readonly string[] };
  /** One header, by its name in small letters. */
  readonly header: (name: string) => string | undefined;
  /** The body as an object, empty where there is none. Throws a Refusal for anything but JSON. */
  readonly body: () => Readonly<Record<string, unknown>>;
}

/** One method of one path. Refuses with a CodedError or a Refusal. */
export interface Route {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** Without the first slash. */
  readonly path: string;
  readonly tag: Tag;
  readonly run: (request: RouteRequest) => Outcome | Promise<Outcome>;
}

/** Ends a request with an answer. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  constructor(readonly outcome: Outcome) {
    super(String(outcome.status));
  }
}

export const notFound: Outcome = { status: 404, body: { error: 'Object Not Found', reason: 'Not Found' } };
export const created: Outcome = { status: 201 };
export const done: Outcome = { status: 204 };

export function ok(body: unknown): Outcome {
  return { status: 200, body };
}

export function putAnswer(outcome: 'created' | 'changed'): Outcome {
  return outcome === 'created' ? created : done;
}

/** The reason is a sentence, or where RabbitMQ has a list of words, those. */
export function refuse(reason: string | readonly unknown[]): Refusal {
  return new Refusal({ status: 400, body: { error: 'bad_request', reason } });
}

/** Somebody is there, and may not do that. */
export function notAuthorised(reason: string): Outcome {
  return { status: 401, body: { error: 'not_authorised', reason } };
}

/** Of a body: all of these must be there. */
export function keysOf(body: Readonly<Record<string, unknown>>, keys: readonly string[]): void {
  const missing = keys.filter((key) => body[key] === undefined);
  if (missing.length > 0) throw refuse(`[${missing.map((key) => `{key_missing,${key}}`).join(',')}]`);
}

/** Of a body: true or false, as such or as a text; false where it is not there. */
export function flagOf(body: Readonly<Record<string, unknown>>, key: string): boolean {
  const value = body[key] ?? false;
  if (value === true || value === 'true') return true;
  if (value === false || value === 'false') return false;
  throw refuse(['not_boolean', value]);
}

/** Of a query such as `?if-empty=true`. */
export function flagIn({ query }: RouteRequest, name: string): boolean {
  return query.get(name) === 'true';
}

/** Of a body: a text that must be there. The sentence for what is missing is RabbitMQ's. */
export function textOf(body: Readonly<Record<string, unknown>>, key: string): string {
  const value = body[key];
  keysOf(body, [key]);
  if (typeof value !== 'string') throw refuse(`"${key}" must be a text`);
  return value;
}

/** Of a body: tags, as a list or as a text with commas. */
export function tagsOf(value: unknown): readonly string[] {
  const list = typeof value === 'string' ? value.split(',').map((tag) => tag.trim()) : value;
  if (!Array.isArray(list) || list.some((tag) => typeof tag !== 'string'))
    throw refuse('"tags" must be a text with commas, or a list of texts');
  return (list as readonly string[]).filter((tag) => tag !== '');
}

/** Runs a change of something that a path names: what is not there is 404. */
export async function ofWhatIsThere(change: () => Promise<unknown>): Promise<Outcome> {
  try {
    return (await change()) === false ? notFound : done;
  } catch (error) {
    if (error instanceof CodedError && (error.code === 'no-user' || error.code === 'no-virtual-host')) return notFound;
    throw error;
  }
}

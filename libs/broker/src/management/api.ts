import type { HttpRequest, HttpResponse } from '@dovecote/ground';
import type { Administration } from '../engine/administration.js';
import type { ClientConnection } from '../engine/clients.js';
import type { VirtualHosts } from '../engine/virtual-hosts.js';
import { CodedError } from '../errors.js';
import type { Limits } from '../limits.js';
import { bindingRoutes } from './bindings.js';
import { connectionRoutes } from './connections.js';
import { definitionRoutes } from './definitions.js';
import { exchangeRoutes } from './exchanges.js';
import { healthRoutes, unbuiltRoutes } from './health.js';
import { viewOf } from './list-view.js';
import { overviewRoutes } from './overview.js';
import { permissionRoutes } from './permissions.js';
import { queueRoutes } from './queues.js';
import { limitRoutes, virtualHostRoutes } from './virtual-hosts.js';
import { userRoutes } from './users.js';
import { notAuthorised, notFound, type Outcome, Refusal, type Route, type RouteRequest, type Tag } from './route.js';

/** What the API tells and changes; given by whoever opens the broker. */
export interface ManagementContext {
  readonly hosts: VirtualHosts;
  readonly administration: Administration;
  /** Who is connected, anew at each call. */
  readonly connections: () => readonly ClientConnection[];
  readonly limits: Limits;
  /** Since the broker was opened. */
  readonly uptimeMs: () => number;
  readonly listeners: () => readonly { readonly protocol: string; readonly host: string; readonly port: number }[];
  readonly log: (line: string) => void;
}

/**
 * The management API: RabbitMQ's paths and JSON for what there is, so that its tools work on this
 * broker and `dovecote` works on a RabbitMQ. SUPPORT.md lists what there is.
 *
 * Each request says who it is from (basic authentication with the broker's users, `guest` from this machine only), and each route which
 * tag it takes. What changes something must be JSON and must not come from another site's page: a browser that knows a password
 * would send it along. Nothing is kept here.
 */
export class ManagementApi {
  private readonly routes: readonly Route[];

  constructor(private readonly context: ManagementContext) {
    this.routes = [
      ...overviewRoutes(context),
      ...userRoutes(context),
      ...virtualHostRoutes(context),
      ...limitRoutes(context),
      ...permissionRoutes(context),
      ...queueRoutes(context),
      ...exchangeRoutes(context),
      ...bindingRoutes(context),
      ...connectionRoutes(context),
      ...healthRoutes(context),
      ...unbuiltRoutes(),
      ...definitionRoutes(context),
    ];
  }

  async answer(request: HttpRequest): Promise<HttpResponse> {
    try {
      return respond(await this.run(request));
    } catch (error) {
      if (error instanceof Refusal) return respond(error.outcome);
      if (error instanceof CodedError) return respond(refusalOf(error));
      throw error;
    }
  }

  private async run(request: HttpRequest): Promise<Outcome> {
    const url = new URL(request.url, 'http://broker');
    // A slash at the end says nothing, as in RabbitMQ: some clients send one.
    const segments = url.pathname.replace(/\/$/, '').split('/').slice(1).map(decode);
    const found = this.routes.map((route) => ({ route, names: match(route.path, segments) })).filter(({ names }) => names !== undefined);
    const user = await this.authenticate(request);
    if (found.length === 0) return notFound;
    const method = request.method === 'HEAD' ? 'GET' : request.method;
    const chosen = found.find(({ route }) => route.method === method);
    if (chosen === undefined) {
      const allow = found.map(({ route }) => route.method).join(', ');
      return { status: 405, body: { error: 'Method Not Allowed', reason: `there is ${allow}` }, headers: { allow } };
    }
    if (method !== 'GET') refuseForeign(request);
    if (!mayUse(user.tags, chosen.route.tag)) return notAuthorised(`Not ${withArticle(chosen.route.tag)} user`);
    const header = (name: string): string | undefined => textIn(request.headers[name]);
    const given: RouteRequest = { names: chosen.names!, query: url.searchParams, user, header, body: () => parse(request.body) };
    return viewOf(await chosen.route.run(given), url.searchParams);
  }

  private async authenticate({ headers, remoteAddress }: HttpRequest): Promise<{ name: string; tags: readonly string[] }> {
    const { access } = this.context.hosts;
    const [name, password] = credentials(headers['authorization']) ?? [undefined, ''];
    const tags = name !== undefined && (await access.login(name, password, remoteAddress)) ? access.tagsOf(name) : undefined;
    if (name === undefined || tags === undefined) {
      if (name !== undefined) this.context.log(`management: login refused for ${JSON.stringify(name.slice(0, 100))} from ${remoteAddress}`);
      throw new Refusal({
        status: 401,
        body: { error: 'not_authorized', reason: 'Not_Authorized' },
        headers: { 'www-authenticate': 'Basic realm="Dovecote"' },
      });
    }
    return { name, tags };
  }
}

/** Which tags include which. */
const including: Readonly<Record<Tag, readonly string[]>> = {
  management: ['management', 'policymaker', 'monitoring', 'administrator'],
  policymaker: ['policymaker', 'administrator'],
  monitoring: ['monitoring', 'administrator'],
  administrator: ['administrator'],
};

function mayUse(tags: readonly string[], tag: Tag): boolean {
  return tags.some((given) => including[tag].includes(given));
}

function withArticle(tag: Tag): string {
  return tag === 'administrator' ? 'administrator' : tag;
}

/** A page of another site can make a browser send forms and texts, with the password that it remembers; it cannot make it send JSON. */
function refuseForeign({ headers, body }: HttpRequest): void {
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') {
    throw new Refusal({ status: 403, body: { error: 'forbidden', reason: 'changes are not taken from the pages of another site' } });
  }
  const type = String(headers['content-type'] ?? '');
  if ((body.length > 0 || type !== '') && !/^application\/json\s*(?:;|$)/i.test(type)) {
    const reason = "the body must be JSON, and say so: send the header 'content-type: application/json'";
    throw new Refusal({ status: 415, body: { error: 'bad_request', reason } });
  }
}

/** Of a header that came twice, the first. */
function textIn(header: string | readonly string[] | undefined): string | undefined {
  return typeof header === 'string' ? header : header?.[0];
}

function credentials(header: string | readonly string[] | undefined): readonly [string, string] | undefined {
  const encoded = /^Basic ([A-Za-z0-9+/=]+)$/i.exec(String(header ?? ''))?.[1];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : [text.slice(0, colon), text.slice(colon + 1)];
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new Refusal(notFound);
  }
}

/** The names in a path such as `api/users/:name`. */
function match(path: string, segments: readonly string[]): Readonly<Record<string, string>> | undefined {
  const wanted = path.split('/');
  if (wanted.length !== segments.length) return undefined;
  const names: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    if (part.startsWith(':')) names[part.slice(1)] = segments[index]!;
    else if (part !== segments[index]) return undefined;
  }
  return names;
}

function parse(body: Buffer): Readonly<Record<string, unknown>> {
  if (body.length === 0) return {};
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch {
    throw new Refusal({ status: 400, body: { error: 'bad_request', reason: 'not_json' } });
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new Refusal({ status: 400, body: { error: 'bad_request', reason: 'the body must be one JSON object' } });
  }
  return parsed as Readonly<Record<string, unknown>>;
}

function refusalOf(error: CodedError): Outcome {
  return { status: 400, body: { error: 'bad_request', reason: error.message } };
}

function respond({ status, body, headers = {} }: Outcome): HttpResponse {
  const always = {
    'cache-control': 'no-cache',
    'content-security-policy': "default-src 'none'",
    'x-content-type-options': 'nosniff',
  };
  if (body === undefined) return { status, headers: { ...always, ...headers }, body: '' };
  return { status, headers: { ...always, 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) };
}

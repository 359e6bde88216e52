import { InProcessSession } from '../engine/in-process-session.js';
import type { VirtualHost } from '../queues/virtual-host.js';
import { CodedError } from '../errors.js';
import type { ManagementContext } from './api.js';
import { notAuthorised, notFound, type Outcome, Refusal, type RouteRequest } from './route.js';

/** Whether a user is shown what is in a virtual host: who watches the broker sees all of them, others those that they may enter. */
export function sees({ hosts }: ManagementContext, { user }: RouteRequest, virtualHost: string): boolean {
  return user.tags.some((tag) => tag === 'administrator' || tag === 'monitoring') || hosts.access.mayEnter(user.name, virtualHost);
}

/** The virtual hosts of a list: all that the user sees, or the one that the path names, which must be there. */
export function hostsOf(context: ManagementContext, request: RouteRequest): readonly VirtualHost[] {
  const name = request.names['vhost'];
  const { hosts } = context;
  if (name === undefined) return hosts.all.filter((host) => sees(context, request, host.name));
  if (hosts.settingsOf(name) === undefined) throw new Refusal(notFound);
  if (!sees(context, request, name)) throw mayNotEnter();
  return [hosts.find(name)];
}

/** Acts in the virtual host of the path with the permissions of the user, as over a channel of its own, and leaves it. */
export async function visit(
  context: ManagementContext,
  { names, user }: RouteRequest,
  act: (session: InProcessSession, host: VirtualHost) => Promise<Outcome>,
): Promise<Outcome> {
  const { hosts } = context;
  const name = names['vhost']!;
  if (hosts.settingsOf(name) === undefined) throw new Refusal(notThere('vhost_not_found'));
  if (!hosts.access.mayEnter(user.name, name)) throw mayNotEnter();
  const host = hosts.find(name);
  const session = new InProcessSession(host, context.log, () => undefined, hosts.access.enter(user.name, name));
  try {
    return await act(session, host);
  } catch (error) {
    throw error instanceof CodedError ? refusalOf(error) : error;
  } finally {
    await session.close();
  }
}

/** What RabbitMQ answers where its channel was closed. */
function refusalOf(error: CodedError): CodedError | Refusal {
  const { code, message } = error;
  if (code === 'no-queue' || code === 'no-exchange') return new Refusal(notThere(message));
  if (code === 'access-refused' || code === 'reserved-name' || code === 'default-exchange' || code === 'internal-exchange') {
    return new Refusal(notAuthorised(message));
  }
  return error;
}

export function notThere(reason: string): Outcome {
  return { status: 404, body: { error: 'not_found', reason } };
}

function mayNotEnter(): Refusal {
  return new Refusal(notAuthorised('User not authorised to access virtual host'));
}

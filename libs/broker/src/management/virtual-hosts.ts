import type { VirtualHostLimits, VirtualHostSettings } from '../engine/access-records.js';
import type { ManagementContext } from './api.js';
import { notFound, ofWhatIsThere, ok, putAnswer, refuse, type Route, type RouteRequest, tagsOf } from './route.js';
import { sees } from './visit.js';

/** `/api/vhosts`. A user without the right tag sees those that it may enter. */
export function virtualHostRoutes(context: ManagementContext): readonly Route[] {
  const { administration, hosts } = context;
  return [
    {
      method: 'GET',
      path: 'api/vhosts',
      tag: 'management',
      run: (request) => ok(administration.virtualHosts.filter(({ name }) => sees(context, request, name)).map(virtualHostJson)),
    },
    {
      method: 'GET',
      path: 'api/vhosts/:vhost',
      tag: 'management',
      run: (request) => {
        const settings = hosts.settingsOf(request.names['vhost']!);
        return settings === undefined || !sees(context, request, settings.name) ? notFound : ok(virtualHostJson(settings));
      },
    },
    {
      method: 'PUT',
      path: 'api/vhosts/:vhost',
      tag: 'administrator',
      run: async ({ names, body, user }) =>
        putAnswer(await administration.putVirtualHost(virtualHostOf({ ...body(), name: names['vhost']! }), user.name)),
    },
    {
      method: 'DELETE',
      path: 'api/vhosts/:vhost',
      tag: 'administrator',
      run: ({ names }) => ofWhatIsThere(() => administration.deleteVirtualHost(names['vhost']!)),
    },
  ];
}

const limitNames: Readonly<Record<string, keyof VirtualHostLimits>> = { 'max-connections': 'maxConnections', 'max-queues': 'maxQueues' };

export function limitsJson({ name, limits = {} }: VirtualHostSettings): readonly { readonly vhost: string; readonly value: object }[] {
  const value = Object.fromEntries(
    Object.entries(limitNames).flatMap(([theirs, ours]) => (limits[ours] === undefined ? [] : [[theirs, limits[ours]]])),
  );
  return Object.keys(value).length === 0 ? [] : [{ vhost: name, value }];
}

/** Limits as RabbitMQ writes them: `{"max-queues": 5}`. */
export function limitsOf(given: unknown): VirtualHostLimits {
  if (typeof given !== 'object' || given === null) throw refuse('the limits of a virtual host are an object such as {"max-queues": 5}');
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => {
      const ours = limitNames[name];
      if (ours === undefined || !Number.isInteger(value))
        throw refuse(`there is no limit '${name}' of virtual hosts that is ${JSON.stringify(value)}`);
      return [ours, value as number];
    }),
  );
}

/** `/api/vhost-limits`. */
export function limitRoutes({ administration, hosts }: ManagementContext): readonly Route[] {
  const change = (names: RouteRequest['names'], value: number | undefined): Promise<void> => {
    const { vhost = '', name = '' } = names;
    const ours = limitNames[name];
    if (ours === undefined) throw refuse(`there is no limit '${name}' of virtual hosts: max-connections and max-queues are`);
    const { [ours]: _before, ...others } = hosts.settingsOf(vhost)?.limits ?? {};
    return administration.setLimits(vhost, value === undefined ? others : { ...others, [ours]: value });
  };
  return [
    { method: 'GET', path: 'api/vhost-limits', tag: 'management', run: () => ok(administration.virtualHosts.flatMap(limitsJson)) },
    {
      method: 'GET',
      path: 'api/vhost-limits/:vhost',
      tag: 'management',
      run: ({ names }) => {
        const settings = hosts.settingsOf(names['vhost']!);
        return settings === undefined ? notFound : ok(limitsJson(settings));
      },
    },
    {
      method: 'PUT',
      path: 'api/vhost-limits/:vhost/:name',
      tag: 'administrator',
      run: async ({ names, body }) => {
        const { value } = body();
        if (typeof value !== 'number' || !Number.isInteger(value))
          throw refuse(`"value" must be a whole number; a negative one is no limit`);
        return ofWhatIsThere(() => change(names, value));
      },
    },
    {
      method: 'DELETE',
      path: 'api/vhost-limits/:vhost/:name',
      tag: 'administrator',
      run: ({ names }) => ofWhatIsThere(() => change(names, undefined)),
    },
  ];
}

export function virtualHostJson({ name, description = '', tags = [], defaultQueueType = 'classic' }: VirtualHostSettings): object {
  const metadata = { description, tags, default_queue_type: defaultQueueType };
  return { name, ...metadata, metadata, tracing: false };
}

/** A virtual host as RabbitMQ writes it, in a request or in a file of definitions. */
export function virtualHostOf(given: Readonly<Record<string, unknown>>): VirtualHostSettings {
  const { name, metadata } = given;
  if (typeof name !== 'string') throw refuse('a virtual host needs a "name"');
  const all = typeof metadata === 'object' && metadata !== null ? { ...metadata, ...given } : given;
  const { description, tags, default_queue_type: type, tracing } = all as Readonly<Record<string, unknown>>;
  if (tracing === true) throw refuse(`tracing is not built: take it from virtual host '${name}'`);
  if (description !== undefined && typeof description !== 'string') throw refuse(`"description" of virtual host '${name}' must be a text`);
  if (type !== undefined && typeof type !== 'string') throw refuse(`"default_queue_type" of virtual host '${name}' must be a text`);
  return {
    name,
    ...(description === undefined ? {} : { description }),
    ...(tags === undefined ? {} : { tags: tagsOf(tags) }),
    ...(type === undefined || type === 'undefined' ? {} : { defaultQueueType: type }),
  };
}

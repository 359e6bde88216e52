/** `dovecote exchanges` and `dovecote bindings`: the ways of messages. Requests to the management API of a Dovecote or a RabbitMQ; keeps nothing. */
import type { Command } from 'commander';
import { type CommandContext, type Item, show, showOne } from './access-commands.js';
import { addVirtualHost, argumentsOption, type Arguments, inVirtualHost, messageFrom } from './broker-options.js';
import { RefusedError } from './management-client.js';

interface Where {
  readonly vhost: string;
}

export function addExchanges(program: Command, context: CommandContext): void {
  const { connect, terminal } = context;
  const exchanges = program.command('exchanges').description('exchanges, and publishing to them');
  exchanges
    .command('list')
    .description('all exchanges, or those of one virtual host')
    .option('--vhost <name>', 'in this virtual host only')
    .action(async ({ vhost }: Partial<Where>) => {
      const all = await (await connect()).ask<readonly Item[]>('GET', ['exchanges', ...inVirtualHost(vhost)]);
      show(context, ['vhost', 'name', 'type', 'durable', 'auto_delete', 'internal', 'arguments'], all);
    });
  addVirtualHost(exchanges.command('show <name>'))
    .description('everything that is known of one')
    .action(async (name: string, { vhost }: Where) => showOne(context, await (await connect()).ask('GET', ['exchanges', vhost, name])));
  addVirtualHost(exchanges.command('declare <name> <type>'))
    .description('makes an exchange: direct, fanout, topic, headers and others; does nothing where there is one like it')
    .option('--transient', 'gone when the broker ends')
    .option('--auto-delete', 'gone with its last binding')
    .option('--internal', 'only for other exchanges')
    .addOption(argumentsOption('such as alternate-exchange=other, repeatable'))
    .action(
      async (
        name: string,
        type: string,
        given: Where & { transient?: boolean; autoDelete?: boolean; internal?: boolean; argument: Arguments },
      ) => {
        const { vhost, transient = false, autoDelete = false, internal = false, argument } = given;
        const exchange = { type, durable: !transient, auto_delete: autoDelete, internal, arguments: argument };
        await (await connect()).ask('PUT', ['exchanges', vhost, name], exchange);
      },
    );
  addVirtualHost(exchanges.command('delete <names...>'))
    .description('deletes exchanges with their bindings')
    .option('--if-unused', 'only where nothing is bound')
    .action(async (names: readonly string[], { vhost, ifUnused = false }: Where & { ifUnused?: boolean }) => {
      const client = await connect();
      const query: Readonly<Record<string, string>> = ifUnused ? { 'if-unused': 'true' } : {};
      for (const name of names) await client.ask('DELETE', ['exchanges', vhost, name], undefined, { query });
    });
  addVirtualHost(exchanges.command('publish <name> <key> [payload]'))
    .description('publishes one message, from the command line or from standard input; fails where no queue takes it')
    .option('--properties <json>', `such as '{"content_type":"text/plain"}'`, '{"delivery_mode":2}')
    .action(async (name: string, key: string, payload: string | undefined, { vhost, properties }: Where & { properties: string }) => {
      const message = await messageFrom(key, payload, properties, terminal);
      const { routed } = await (await connect()).ask<{ routed: boolean }>('POST', ['exchanges', vhost, name, 'publish'], message);
      if (!routed) throw new RefusedError(200, 'no queue took the message, and it is gone');
    });
}

export function addBindings(program: Command, context: CommandContext): void {
  const { connect } = context;
  const bindings = program.command('bindings').description('which messages of an exchange go where');
  bindings
    .command('list')
    .description('all bindings, or those of one virtual host; those of the default exchange are left out')
    .option('--vhost <name>', 'in this virtual host only')
    .action(async ({ vhost }: Partial<Where>) => {
      const all = await (await connect()).ask<readonly Item[]>('GET', ['bindings', ...inVirtualHost(vhost)]);
      const made = all.filter(({ source }) => source !== '');
      show(context, ['vhost', 'source', 'destination', 'destination_type', 'routing_key', 'arguments'], made);
    });
  const ends = '<source> <destination> [key]';
  type Given = Where & { exchange?: boolean; argument: Arguments };
  const path = (source: string, destination: string, { vhost, exchange = false }: Given): readonly string[] => {
    return ['bindings', vhost, 'e', source, exchange ? 'e' : 'q', destination];
  };
  const prepared = (name: string): Command =>
    addVirtualHost(bindings.command(`${name} ${ends}`))
      .option('--exchange', 'the destination is an exchange, not a queue')
      .addOption(argumentsOption('for headers exchanges, such as x-match=any, repeatable'));
  prepared('add')
    .description('leads messages from an exchange to a queue, or to another exchange')
    .action(async (source: string, destination: string, key = '', given: Given) => {
      await (await connect()).ask('POST', path(source, destination, given), { routing_key: key, arguments: given.argument });
    });
  prepared('delete')
    .description('takes the binding of that key and those arguments away')
    .action(async (source: string, destination: string, key = '', given: Given) => {
      const client = await connect();
      const all = await client.ask<readonly Item[]>('GET', path(source, destination, given));
      const found = all.find((one) => one['routing_key'] === key && isSame(one['arguments'] as Arguments, given.argument));
      if (found === undefined) throw new RefusedError(404, 'there is no such binding');
      await client.ask('DELETE', [...path(source, destination, given), String(found['properties_key'])]);
    });
}

function isSame(one: Arguments, other: Arguments): boolean {
  const text = (given: Arguments): string => JSON.stringify(Object.entries(given).sort(([a], [b]) => (a < b ? -1 : 1)));
  return text(one) === text(other);
}

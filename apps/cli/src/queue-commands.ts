/** `dovecote queues`: what waits where, and what a person does about it by hand. Requests to the management API of a Dovecote or a RabbitMQ; keeps nothing. */
import type { Command } from 'commander';
import { type CommandContext, type Item, show, showOne } from './access-commands.js';
import { addVirtualHost, argumentsOption, type Arguments, inVirtualHost, messageFrom, wholeNumber } from './broker-options.js';

interface Where {
  readonly vhost: string;
}

export function addQueues(program: Command, context: CommandContext): void {
  const { connect } = context;
  const queues = program.command('queues').description('queues and what is in them');
  queues
    .command('list')
    .description('all queues, or those of one virtual host')
    .option('--vhost <name>', 'in this virtual host only')
    .action(async ({ vhost }: Partial<Where>) => {
      const all = await (await connect()).ask<readonly Item[]>('GET', ['queues', ...inVirtualHost(vhost)]);
      show(context, ['vhost', 'name', 'type', 'durable', 'messages_ready', 'messages_unacknowledged', 'consumers'], all);
    });
  addVirtualHost(queues.command('show <name>'))
    .description('everything that is known of one')
    .action(async (name: string, { vhost }: Where) => showOne(context, await (await connect()).ask('GET', ['queues', vhost, name])));
  addVirtualHost(queues.command('declare <name>'))
    .description('makes a queue; does nothing where there is one like it')
    .option('--transient', 'gone when the broker ends')
    .option('--auto-delete', 'gone with its last consumer')
    .option('--type <type>', 'classic or quorum; else what the virtual host says')
    .addOption(argumentsOption('such as x-message-ttl=60000, repeatable'))
    .action(async (name: string, given: Where & { transient?: boolean; autoDelete?: boolean; type?: string; argument: Arguments }) => {
      const { vhost, transient = false, autoDelete = false, type, argument } = given;
      const settings = { ...argument, ...(type === undefined ? {} : { 'x-queue-type': type }) };
      const queue = { durable: !transient, auto_delete: autoDelete, arguments: settings };
      await (await connect()).ask('PUT', ['queues', vhost, name], queue);
    });
  addVirtualHost(queues.command('delete <names...>'))
    .description('deletes queues with everything in them')
    .option('--if-unused', 'only where nobody consumes')
    .option('--if-empty', 'only where nothing waits')
    .action(async (names: readonly string[], given: Where & { ifUnused?: boolean; ifEmpty?: boolean }) => {
      const query = { ...(given.ifUnused ? { 'if-unused': 'true' } : {}), ...(given.ifEmpty ? { 'if-empty': 'true' } : {}) };
      const client = await connect();
      for (const name of names) await client.ask('DELETE', ['queues', given.vhost, name], undefined, { query });
    });
  addVirtualHost(queues.command('purge <names...>'))
    .description('drops what waits; what is out with consumers stays')
    .action(async (names: readonly string[], { vhost }: Where) => {
      const client = await connect();
      for (const name of names) await client.ask('DELETE', ['queues', vhost, name, 'contents']);
    });
  addMessages(queues, context);
}

function addMessages(queues: Command, context: CommandContext): void {
  const { connect, terminal } = context;
  addVirtualHost(queues.command('publish <name> [payload]'))
    .description('puts one message in, from the command line or from standard input')
    .option('--properties <json>', `such as '{"content_type":"text/plain"}'`, '{"delivery_mode":2}')
    .action(async (name: string, payload: string | undefined, { vhost, properties }: Where & { properties: string }) => {
      const message = await messageFrom(name, payload, properties, terminal);
      await (await connect()).ask('GET', ['queues', vhost, name]); // the default exchange would drop what it cannot place
      await (await connect()).ask('POST', ['exchanges', vhost, 'amq.default', 'publish'], message);
    });
  addVirtualHost(queues.command('get <name>'))
    .description('shows messages; they go back to the queue, flagged redelivered, unless they are taken')
    .option('--count <number>', 'how many at most', '1')
    .option('--take', 'they are gone from the queue then')
    .action(async (name: string, { vhost, count, take = false }: Where & { count: string; take?: boolean }) => {
      const request = { count: wholeNumber('--count', count), ackmode: take ? 'ack_requeue_false' : 'ack_requeue_true', encoding: 'auto' };
      const messages = await (await connect()).ask<readonly Item[]>('POST', ['queues', vhost, name, 'get'], request);
      show(context, ['exchange', 'routing_key', 'redelivered', 'properties', 'payload_bytes', 'payload_encoding', 'payload'], messages);
    });
}

/** `dovecote connections`, `channels` and `consumers`: who is there. Requests to the management API of a Dovecote or a RabbitMQ; keeps nothing. */
import type { Command } from 'commander';
import { type CommandContext, type Item, show, showOne } from './access-commands.js';
import { inVirtualHost } from './broker-options.js';

export function addConnections(program: Command, context: CommandContext): void {
  const { connect } = context;
  const connections = program.command('connections').description('who is connected');
  connections
    .command('list')
    .description('all connections')
    .action(async () => {
      const all = await (await connect()).ask<readonly Item[]>('GET', ['connections']);
      show(context, ['name', 'user_provided_name', 'user', 'vhost', 'state', 'channels', 'ssl'], all);
    });
  connections
    .command('show <name>')
    .description('everything that is known of one')
    .action(async (name: string) => showOne(context, await (await connect()).ask('GET', ['connections', name])));
  connections
    .command('close <names...>')
    .description('ends connections; what they have not acknowledged goes back to its queues')
    .option('--reason <text>', 'what the client is told', 'Closed by the operator')
    .action(async (names: readonly string[], { reason }: { reason: string }) => {
      const client = await connect();
      for (const name of names) await client.ask('DELETE', ['connections', name], undefined, { headers: { 'x-reason': reason } });
    });
}

export function addChannels(program: Command, context: CommandContext): void {
  const { connect } = context;
  const channels = program.command('channels').description('the channels of those connections');
  channels
    .command('list')
    .description('all channels')
    .action(async () => {
      const all = await (await connect()).ask<readonly Item[]>('GET', ['channels']);
      show(context, ['name', 'user', 'vhost', 'confirm', 'prefetch_count', 'consumer_count', 'messages_unacknowledged'], all);
    });
  channels
    .command('show <name>')
    .description('everything that is known of one')
    .action(async (name: string) => showOne(context, await (await connect()).ask('GET', ['channels', name])));
}

export function addConsumers(program: Command, context: CommandContext): void {
  program
    .command('consumers')
    .description('who takes messages')
    .command('list')
    .description('all consumers, or those of one virtual host')
    .option('--vhost <name>', 'in this virtual host only')
    .action(async ({ vhost }: { vhost?: string }) => {
      const all = await (await context.connect()).ask<readonly Item[]>('GET', ['consumers', ...inVirtualHost(vhost)]);
      const told = all.map((one) => {
        const [queue, channel] = [one['queue'] as Item, one['channel_details'] as Item | undefined];
        return { ...one, ...(context.isJson() ? {} : { vhost: queue['vhost'], queue: queue['name'], channel: channel?.['name'] }) };
      });
      show(context, ['vhost', 'queue', 'consumer_tag', 'channel', 'ack_required', 'prefetch_count', 'active'], told);
    });
}

/** `dovecote users`, `vhosts`, `permissions` and `definitions`: each a few requests to the management API and a table or JSON. */
import { readFileSync, writeFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { wholeNumber } from './broker-options.js';
import type { ManagementClient } from './management-client.js';
import { newPassword, UsageError } from './passwords.js';
import { table, type Terminal } from './terminal.js';

/** What a command needs. */
export interface CommandContext {
  readonly terminal: Terminal;
  /** Asks for the password where it must. */
  readonly connect: () => Promise<ManagementClient>;
  readonly isJson: () => boolean;
}

/** One thing as the API tells of it. */
export type Item = Readonly<Record<string, unknown>>;

export function addUsers(program: Command, context: CommandContext): void {
  const { connect, terminal } = context;
  const users = program.command('users').description('who may log in');
  const put = async (name: string, change: (user: Item | undefined) => Promise<Item>): Promise<void> => {
    const client = await connect();
    const known = (await client.ask<readonly Item[]>('GET', ['users'])).find((user) => user['name'] === name);
    await client.ask('PUT', ['users', name], await change(known));
  };
  const mustKnow = (name: string, user: Item | undefined): Item => {
    if (user === undefined) throw new UsageError(`There is no user '${name}': add it first`);
    return user;
  };
  users
    .command('list')
    .description('all users and their tags')
    .action(async () => show(context, ['name', 'tags'], await (await connect()).ask('GET', ['users'])));
  users
    .command('add <name>')
    .description('makes a user; the password is asked for, or read from standard input')
    .option('--tags <tags>', 'such as administrator,monitoring', '')
    .option('--no-password', 'who never logs in by password')
    .option('--hash <hash>', "the password's hash, as RabbitMQ exports it")
    .addOption(new Option('--algorithm <name>', 'of the hash').default('rabbit_password_hashing_sha256'))
    .action((name: string, { tags, password, hash, algorithm }: { tags: string; password: boolean; hash?: string; algorithm: string }) =>
      put(name, async (known) => {
        if (known !== undefined)
          throw new UsageError(`There is a user '${name}' already: change it with 'users password' and 'users tags'`);
        if (hash !== undefined) return { tags, password_hash: hash, hashing_algorithm: algorithm };
        return password ? { tags, password: await newPassword(name, terminal) } : { tags, password_hash: '' };
      }),
    );
  users
    .command('delete <names...>')
    .description('deletes users with their permissions, and closes their connections')
    .action(async (names: readonly string[]) => {
      const client = await connect();
      for (const name of names) await client.ask('DELETE', ['users', name]);
    });
  users
    .command('password <name>')
    .description('sets another password')
    .option('--clear', 'no password any more: nobody logs in by one')
    .action((name: string, { clear = false }: { clear?: boolean }) =>
      put(name, async (known) => {
        const { tags } = mustKnow(name, known);
        return clear ? { tags, password_hash: '' } : { tags, password: await newPassword(name, terminal) };
      }),
    );
  users
    .command('tags <name> [tags...]')
    .description('sets the tags, none where none are given')
    .action((name: string, tags: readonly string[]) =>
      put(name, async (known) => {
        const { password_hash, hashing_algorithm } = mustKnow(name, known);
        return { tags: tags.join(','), password_hash, hashing_algorithm };
      }),
    );
}

export function addVirtualHosts(program: Command, context: CommandContext): void {
  const { connect } = context;
  const hosts = program.command('vhosts').description('virtual hosts');
  hosts
    .command('list')
    .description('all virtual hosts and their limits')
    .action(async () => {
      const client = await connect();
      const limits = await client.ask<readonly { vhost: string; value: Item }[]>('GET', ['vhost-limits']);
      const all = await client.ask<readonly Item[]>('GET', ['vhosts']);
      const withLimits = all.map((host) => ({ ...host, ...limits.find(({ vhost }) => vhost === host['name'])?.value }));
      show(context, ['name', 'description', 'default_queue_type', 'max-connections', 'max-queues'], withLimits);
    });
  hosts
    .command('add <name>')
    .description('makes a virtual host; who makes it may do everything in it')
    .option('--description <text>')
    .option('--tags <tags>', 'with commas')
    .option('--default-queue-type <type>', 'classic, quorum or stream')
    .action(async (name: string, given: { description?: string; tags?: string; defaultQueueType?: string }) => {
      const { description, tags, defaultQueueType } = given;
      const settings = { description, tags, default_queue_type: defaultQueueType };
      await (await connect()).ask('PUT', ['vhosts', name], settings);
    });
  hosts
    .command('delete <names...>')
    .description('deletes virtual hosts with everything in them: queues, messages, exchanges, permissions')
    .action(async (names: readonly string[]) => {
      const client = await connect();
      for (const name of names) await client.ask('DELETE', ['vhosts', name]);
    });
  hosts
    .command('limit <name>')
    .description('sets limits; "none" takes one away')
    .option('--max-connections <number>')
    .option('--max-queues <number>')
    .action(async (name: string, given: { maxConnections?: string; maxQueues?: string }) => {
      const limits = { 'max-connections': given.maxConnections, 'max-queues': given.maxQueues };
      const client = await connect();
      for (const [limit, text] of Object.entries(limits)) {
        if (text === 'none') await client.ask('DELETE', ['vhost-limits', name, limit]);
        else if (text !== undefined)
          await client.ask('PUT', ['vhost-limits', name, limit], { value: wholeNumber(`--${limit}`, text, ' or "none"') });
      }
    });
}

export function addPermissions(program: Command, context: CommandContext): void {
  const { connect } = context;
  const permissions = program.command('permissions').description('what users may do in virtual hosts, as regular expressions over names');
  const vhost = ['--vhost <name>', 'virtual host', '/'] as const;
  permissions
    .command('list')
    .description('all permissions, or those of one user or virtual host')
    .option('--user-name <name>', 'of this user only')
    .option('--vhost <name>', 'in this virtual host only')
    .option('--topic', 'those for routing keys of topic exchanges')
    .action(async ({ userName, vhost: host, topic = false }: { userName?: string; vhost?: string; topic?: boolean }) => {
      const all = await (await connect()).ask<readonly Item[]>('GET', [topic ? 'topic-permissions' : 'permissions']);
      const chosen = all.filter((one) => (userName ?? one['user']) === one['user'] && (host ?? one['vhost']) === one['vhost']);
      show(context, topic ? ['user', 'vhost', 'exchange', 'write', 'read'] : ['user', 'vhost', 'configure', 'write', 'read'], chosen);
    });
  permissions
    .command('set <user> <configure> <write> <read>')
    .description(`gives permissions: '' nothing, '.*' everything, '^team\\.' what begins so`)
    .option(...vhost)
    .action(async (user: string, configure: string, write: string, read: string, { vhost: host }: { vhost: string }) => {
      await (await connect()).ask('PUT', ['permissions', host, user], { configure, write, read });
    });
  permissions
    .command('clear <user>')
    .description('takes all permissions in the virtual host')
    .option(...vhost)
    .action(async (user: string, { vhost: host }: { vhost: string }) => {
      await (await connect()).ask('DELETE', ['permissions', host, user]);
    });
  permissions
    .command('set-topic <user> <exchange> <write> <read>')
    .description('gives permissions for routing keys of a topic exchange')
    .option(...vhost)
    .action(async (user: string, exchange: string, write: string, read: string, { vhost: host }: { vhost: string }) => {
      await (await connect()).ask('PUT', ['topic-permissions', host, user], { exchange, write, read });
    });
  permissions
    .command('clear-topic <user>')
    .description('takes all topic permissions in the virtual host')
    .option(...vhost)
    .action(async (user: string, { vhost: host }: { vhost: string }) => {
      await (await connect()).ask('DELETE', ['topic-permissions', host, user]);
    });
}

export function addDefinitions(program: Command, { connect, terminal }: CommandContext): void {
  const definitions = program
    .command('definitions')
    .description('users, virtual hosts, permissions, queues, exchanges and bindings as a file, as RabbitMQ writes it');
  definitions
    .command('export [file]')
    .description('to a file, or to standard output; passwords as hashes')
    .action(async (file: string | undefined) => {
      const text = `${JSON.stringify(await (await connect()).ask('GET', ['definitions']), null, 2)}\n`;
      if (file === undefined) terminal.say(text);
      else writeFileSync(file, text, { mode: 0o600 });
    });
  definitions
    .command('import <file>')
    .description('users, virtual hosts and permissions together, then exchanges, queues and bindings; what is there stays as it is')
    .action(async (file: string) => {
      let parsed: unknown;
      try {
        parsed = JSON.parse(readFileSync(file, 'utf8'));
      } catch (error) {
        throw new UsageError(`The file ${file} cannot be read as JSON: ${(error as Error).message}`);
      }
      await (await connect()).ask('POST', ['definitions'], parsed);
    });
}

export function addWhoami(program: Command, context: CommandContext): void {
  program
    .command('whoami')
    .description('who the broker thinks you are')
    .action(async () => show(context, ['name', 'tags'], [await (await context.connect()).ask<Item>('GET', ['whoami'])]));
}

/** A table of some of it, or JSON of all of it. */
export function show({ isJson, terminal }: CommandContext, columns: readonly string[], items: readonly Item[]): void {
  terminal.say(isJson() ? `${JSON.stringify(items, null, 2)}\n` : table(columns, items));
}

/** One thing, a line for each of its fields. */
export function showOne({ isJson, terminal }: CommandContext, item: Item): void {
  const fields = Object.entries(item).map(([field, value]) => ({ field, value }));
  terminal.say(isJson() ? `${JSON.stringify(item, null, 2)}\n` : table(['field', 'value'], fields));
}

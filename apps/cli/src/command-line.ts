/**
 * `dovecote`: what it understands, and how it ends.
 *
 *   0   done
 *   1   the broker refused, or something is wrong with a folder
 *   2   the command line is wrong, or a folder could not be checked: nothing was done; or a line to be sent is wrong: what came before it was
 *   3   no broker answered there, or it did not let us in
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import type { KafkaClientError } from '@dovecote/broker/kafka-client';
import type { MessagingError } from '@dovecote/messaging/dead-letters';
import { addDefinitions, addPermissions, addUsers, addVirtualHosts, addWhoami, type CommandContext } from './access-commands.js';
import { addCheck, UncheckedError, WrongFolderError } from './check-command.js';
import { addChannels, addConnections, addConsumers } from './client-commands.js';
import { addCompletion } from './completion.js';
import { addConsume } from './consume-command.js';
import { addDeadLetters } from './dlq-command.js';
import { NoLetterError } from './dlq-desk.js';
import { addGroups } from './groups-command.js';
import { ManagementClient, RefusedError, UnreachableError } from './management-client.js';
import { addOffsets } from './offsets-command.js';
import { ownPassword, UsageError } from './passwords.js';
import { addProduce } from './produce-command.js';
import { addQueues } from './queue-commands.js';
import type { Terminal } from './terminal.js';
import { addTopics } from './topics-command.js';
import { addBindings, addExchanges } from './topology-commands.js';

export interface Surroundings {
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly terminal: Terminal;
}

const defaultUrl = 'http://127.0.0.1:15672';

/** Resolves with the exit code. */
export async function run({ argv, environment, terminal }: Surroundings): Promise<number> {
  const program = new Command('dovecote');
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
  program
    .description(
      'Users, queues, exchanges and connections of a running broker: a Dovecote, or a RabbitMQ with its management plugin. Topics, records and groups of a Dovecote, or of any Kafka cluster. Dead letters of a service. And what is in the folder of a broker that is not running.',
    )
    .version(version)
    .option('--url <url>', `management API of the broker (DOVECOTE_URL; default: ${defaultUrl})`)
    .option('--user <name>', 'who gives the command (DOVECOTE_USER; default: guest). The password is DOVECOTE_PASSWORD, or asked for')
    .option('--ca <file>', 'PEM file with the authorities to believe, for https')
    .option('--json', 'print JSON instead of tables')
    .addHelpText('after', '\nExit codes: 0 done, 1 refused by the broker, 2 wrong command line or input, 3 no broker there or no way in.')
    .configureOutput({ writeOut: terminal.say, writeErr: () => undefined })
    .exitOverride();
  const context: CommandContext = {
    terminal,
    isJson: () => program.opts<{ json?: boolean }>().json === true,
    connect: () => connect(program.opts(), environment, terminal),
  };
  addUsers(program, context);
  addVirtualHosts(program, context);
  addPermissions(program, context);
  addDefinitions(program, context);
  addQueues(program, context);
  addExchanges(program, context);
  addBindings(program, context);
  addConnections(program, context);
  addChannels(program, context);
  addConsumers(program, context);
  addWhoami(program, context);
  const logContext = { terminal, environment };
  addTopics(program, logContext);
  addProduce(program, logContext);
  addConsume(program, logContext);
  addGroups(program, logContext);
  addOffsets(program, logContext);
  addDeadLetters(program, logContext);
  addCheck(program, context);
  addCompletion(program, terminal);
  for (const command of everyCommand(program))
    command.exitOverride().configureOutput({ writeOut: terminal.say, writeErr: () => undefined });
  try {
    await program.parseAsync(argv, { from: 'user' });
    return 0;
  } catch (error) {
    return explain(error, terminal);
  }
}

async function connect(
  given: { url?: string; user?: string; ca?: string },
  environment: Surroundings['environment'],
  terminal: Terminal,
): Promise<ManagementClient> {
  const text = given.url ?? (environment['DOVECOTE_URL'] || defaultUrl);
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) throw new UsageError(`--url must be such as ${defaultUrl}; "${text}" was given`);
  const url = new URL(text);
  const user = given.user ?? (decodeURIComponent(url.username) || environment['DOVECOTE_USER'] || 'guest');
  const inUrl = url.password === '' ? undefined : decodeURIComponent(url.password);
  const password = await ownPassword(user, inUrl ?? (environment['DOVECOTE_PASSWORD'] || undefined), terminal);
  return new ManagementClient({ url, user, password, authorities: given.ca });
}

function everyCommand(command: Command): readonly Command[] {
  return command.commands.flatMap((inner) => [inner, ...everyCommand(inner)]);
}

function explain(error: unknown, { warn, say }: Terminal): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    if (error.code === 'commander.help') say('');
    warn(`${error.message.replace(/^error: /, '').replace(/\n/g, ' ')}. --help lists what there is`);
    return 2;
  }
  if (error instanceof WrongFolderError) return 1;
  if (!(error instanceof Error) || codeOf(error) === undefined) throw error;
  warn(
    error instanceof RefusedError
      ? `The broker refused: ${error.message}`
      : isOfMessaging(error)
        ? error.message.replace(/\.$/, '')
        : error.message,
  );
  return codeOf(error) ?? 1;
}

/** How it ends; nothing for what nobody foresaw. */
function codeOf(error: Error): number | undefined {
  if (error instanceof UsageError || error instanceof UncheckedError) return 2;
  if (error instanceof RefusedError || error instanceof NoLetterError) return 1;
  if (error instanceof UnreachableError) return 3;
  if (isOfKafka(error)) return error.code === 'refused' || error.code === 'unsupported' ? 1 : 3;
  if (!isOfMessaging(error)) return undefined;
  if (error.code === 'broker-unreachable') return 3;
  return wrongToAsk.has(error.code) ? 2 : 1;
}

const wrongToAsk: ReadonlySet<MessagingError['code']> = new Set([
  'invalid-options',
  'unknown-broker',
  'missing-package',
  'unsupported',
] as const);

/** By its name: the client is loaded only by who needs it. */
function isOfKafka(error: unknown): error is KafkaClientError {
  return error instanceof Error && error.name === 'KafkaClientError';
}

function isOfMessaging(error: unknown): error is MessagingError {
  return error instanceof Error && error.name === 'MessagingError';
}

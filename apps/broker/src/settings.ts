/**
 * What the daemon was told to be: each option read from the command line, else from the environment, else from the file, else its default.
 *
 * One table says all of it. Whatever its source, a value passes the same check once, here, and a wrong one is answered with a sentence: which option,
 * what was given, what is allowed. Passwords are never repeated. Read once, by main.ts; nothing is kept.
 *
 * The table does the checking because a validation library would take longer to load (zod: 45 ms) than the broker does to open.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import type { Durability, User } from '@dovecote/broker';

export interface Settings {
  /** The folder that keeps everything, as an absolute path. Nothing is kept in it under `memory`. */
  readonly data: string;
  readonly durability: Durability;
  readonly amqp: { readonly host: string; readonly port: number };
  readonly users: readonly User[];
  /** Undefined: nothing listens for Kafka clients. */
  readonly kafkaPort: number | undefined;
  /** Where Kafka clients are told to come; undefined: where it listens. */
  readonly kafkaAdvertised: { readonly host: string; readonly port: number } | undefined;
  /** A port that was asked for and has no server yet. */
  readonly managementPort: number | undefined;
}

/** The message is a sentence for the person who started the daemon. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
}

/** What was asked for is in `text`, and the daemon ends: `--help`, `--version`. */
export interface Answer {
  readonly text: string;
}

interface Setting<T> {
  readonly flag: string;
  readonly environment: string;
  /** Its name in the file. */
  readonly key: string;
  readonly says: string;
  /** Takes what was given as text, or the JSON of the file. Answers undefined where it is not allowed. */
  readonly read: (given: unknown) => T | undefined;
  readonly allowed: string;
  readonly isSecret?: boolean;
}

const data: Setting<string> = {
  flag: '--data <folder>',
  environment: 'DOVECOTE_DATA',
  key: 'data',
  says: 'folder that keeps everything (default: dovecote-data)',
  read: readText,
  allowed: 'the path of a folder',
};
const amqpPort: Setting<number> = {
  flag: '--amqp-port <port>',
  environment: 'DOVECOTE_AMQP_PORT',
  key: 'amqpPort',
  says: 'port for AMQP clients, 0 takes a free one (default: 5672)',
  read: readPort,
  allowed: 'a whole number from 0 to 65535',
};
const amqpHost: Setting<string> = {
  flag: '--amqp-host <address>',
  environment: 'DOVECOTE_AMQP_HOST',
  key: 'amqpHost',
  says: 'address to listen on, 0.0.0.0 for all (default: 127.0.0.1)',
  read: readText,
  allowed: 'an address of this machine',
};
const durability: Setting<Durability> = {
  flag: '--durability <name>',
  environment: 'DOVECOTE_DURABILITY',
  key: 'durability',
  says: 'what a confirmed message survives: fsync (loss of power), os (kill -9) or memory (nothing) (default: fsync)',
  read: (given) => (['fsync', 'os', 'memory'] as const).find((name) => name === given),
  allowed: 'fsync, os or memory',
};
const users: Setting<readonly User[]> = {
  flag: '--user <name:password>',
  environment: 'DOVECOTE_USERS',
  key: 'users',
  says: 'who may log in, repeatable; others on this machine can read it in the list of processes (default: guest:guest, from this machine only)',
  read: readUsers,
  allowed:
    'NAME:PASSWORD, each name once (in the environment several are parted by commas; in the file they are [{"name": …, "password": …}])',
  isSecret: true,
};
const kafkaPort: Setting<number> = {
  ...amqpPort,
  flag: '--kafka-port <port>',
  environment: 'DOVECOTE_KAFKA_PORT',
  key: 'kafkaPort',
  says: 'port for Kafka clients, at the same address, 0 takes a free one (default: none)',
};
const kafkaAdvertised: Setting<{ readonly host: string; readonly port: number }> = {
  flag: '--kafka-advertised <host:port>',
  environment: 'DOVECOTE_KAFKA_ADVERTISED',
  key: 'kafkaAdvertised',
  says: 'where Kafka clients are told to come (default: where it listens)',
  read: readHostAndPort,
  allowed: 'HOST:PORT',
};
const managementPort: Setting<number> = { ...amqpPort, ...notYet('management', 'DOVECOTE_MANAGEMENT_PORT', 'managementPort') };
const config: Setting<string> = {
  flag: '--config <file>',
  environment: 'DOVECOTE_CONFIG',
  key: 'config',
  says: 'JSON file with any of these settings, named as in the README',
  read: readText,
  allowed: 'the path of a JSON file',
};

const inFile = [data, amqpPort, amqpHost, durability, users, kafkaPort, kafkaAdvertised, managementPort];

/** Throws a SettingsError. Relative paths begin where the daemon was started; one in the file too. */
export function readSettings(argv: readonly string[], environment: Readonly<Record<string, string | undefined>>): Settings | Answer {
  const flags = readFlags(argv);
  if ('text' in flags) return flags;
  const fromConfig = choose(config, flags.given, environment, {}, '');
  const file = fromConfig === undefined ? {} : readFile(fromConfig);
  const given = <T>(setting: Setting<T>): T | undefined => choose(setting, flags.given, environment, file, fromConfig ?? '');
  return {
    data: resolve(given(data) ?? 'dovecote-data'),
    durability: given(durability) ?? 'fsync',
    amqp: { host: given(amqpHost) ?? '127.0.0.1', port: given(amqpPort) ?? 5672 },
    users: given(users) ?? [{ name: 'guest', password: 'guest' }],
    kafkaPort: given(kafkaPort),
    kafkaAdvertised: given(kafkaAdvertised),
    managementPort: given(managementPort),
  };
}

type Given = Readonly<Record<string, unknown>>;

function readFlags(argv: readonly string[]): { readonly given: Given } | Answer {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
  let text = '';
  const command = new Command('dovecote-broker')
    .description('A message broker for any AMQP 0-9-1 client and, where asked for, any Kafka client, in one process.')
    .version(version)
    .helpOption('--help', 'say this')
    .addHelpText(
      'after',
      `\nEach option can also be set by environment (${data.environment}, ${amqpPort.environment} …) or in the file; the command line wins, then the environment.`,
    )
    .configureOutput({ writeOut: (line) => (text += line), writeErr: () => undefined })
    .exitOverride();
  for (const setting of [...inFile, config]) {
    const option = new Option(setting.flag, setting.says);
    command.addOption(
      setting === users ? option.argParser((value, before: readonly string[] | undefined) => [...(before ?? []), value]) : option,
    );
  }
  try {
    command.parse(argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { text };
    throw new SettingsError(`${sentence(error.message)}. --help lists what there is`);
  }
  return { given: command.opts() };
}

/** commander says "error: unknown option '--prot'\n(Did you mean --port?)". */
function sentence(message: string): string {
  const [first = '', ...rest] = message.replace(/^error: /, '').split('\n');
  return [first.charAt(0).toUpperCase() + first.slice(1), ...rest].join(' ').replace(/\.$/, '');
}

function choose<T>(setting: Setting<T>, flags: Given, environment: Given, file: Given, fileName: string): T | undefined {
  const flag = setting.flag.split(' ')[0]!;
  const sources: readonly [unknown, string][] = [
    [flags[attribute(flag)], flag],
    [environment[setting.environment] || undefined, setting.environment], // an empty variable is how compose files say "not set"
    [file[setting.key], `"${setting.key}" in ${fileName}`],
  ];
  for (const [given, name] of sources) {
    if (given === undefined) continue;
    const value = setting.read(given);
    if (value !== undefined) return value;
    const shown =
      setting.isSecret === true
        ? 'what was given is not (and not shown here: it may hold a password)'
        : `${JSON.stringify(given)} was given`;
    throw new SettingsError(`${name} must be ${setting.allowed}; ${shown}`);
  }
  return undefined;
}

/** `--amqp-port` is `amqpPort` for commander. */
function attribute(flag: string): string {
  return flag.slice(2).replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

function readFile(path: string): Given {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new SettingsError(`The file ${path} cannot be read as JSON: ${(error as Error).message}`);
  }
  if (!isObject(parsed)) throw new SettingsError(`The file ${path} must hold one JSON object, such as {"amqpPort": 5672}`);
  const known = inFile.map(({ key }) => key);
  const unknown = Object.keys(parsed).find((key) => !known.includes(key));
  if (unknown !== undefined) throw new SettingsError(`"${unknown}" in ${path} is not a setting: there are ${known.join(', ')}`);
  return parsed;
}

function readText(given: unknown): string | undefined {
  return typeof given === 'string' && given.trim() !== '' && !given.includes('\0') ? given : undefined;
}

function readPort(given: unknown): number | undefined {
  const port = typeof given === 'string' && /^\d{1,5}$/.test(given) ? Number(given) : given;
  return typeof port === 'number' && Number.isInteger(port) && port >= 0 && port <= 65_535 ? port : undefined;
}

/** The address may be one of IPv6, in brackets. */
function readHostAndPort(given: unknown): { readonly host: string; readonly port: number } | undefined {
  const [, bracketed, plain, digits] = typeof given === 'string' ? (/^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(given.trim()) ?? []) : [];
  const host = bracketed ?? plain;
  const port = readPort(digits);
  return host === undefined || port === undefined || port === 0 ? undefined : { host, port };
}

function readUsers(given: unknown): readonly User[] | undefined {
  const entries: readonly unknown[] = typeof given === 'string' ? given.split(',') : Array.isArray(given) ? given : [];
  const read = entries.map(readUser);
  const known = read.filter((user) => user !== undefined);
  const names = new Set(known.map(({ name }) => name));
  return known.length > 0 && known.length === read.length && names.size === known.length ? known : undefined;
}

/** The name ends at the first colon: a password may hold more of them. */
function readUser(given: unknown): User | undefined {
  if (typeof given === 'string') {
    const colon = given.indexOf(':');
    return checkUser({ name: given.slice(0, Math.max(colon, 0)), password: given.slice(colon + 1) });
  }
  return isObject(given) && Object.keys(given).length === 2 ? checkUser({ name: given['name'], password: given['password'] }) : undefined;
}

function checkUser({ name, password }: { name: unknown; password: unknown }): User | undefined {
  return typeof name === 'string' && name !== '' && typeof password === 'string' && password !== '' ? { name, password } : undefined;
}

function isObject(value: unknown): value is Given {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function notYet(protocol: string, environment: string, key: string): Pick<Setting<number>, 'flag' | 'environment' | 'key' | 'says'> {
  return { flag: `--${protocol}-port <port>`, environment, key, says: 'accepted; nothing listens on it yet' };
}

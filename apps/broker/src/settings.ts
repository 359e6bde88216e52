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
import {
  defaultLimits,
  type Durability,
  type KafkaOptions,
  type Limits,
  type PermissionRecord,
  type User,
  type VirtualHostSettings,
} from '@dovecote/broker';
import {
  type Accounts,
  type HostAndPort,
  isObject,
  type ListenerSetting,
  readAnswer,
  readHostAndPort,
  readListeners,
  readPort,
  readUsers,
  readVirtualHosts,
} from './access-settings.js';
import { readLimits } from './limit-settings.js';
import { type KafkaConfigs, type KafkaListenerSetting, readKafkaConfigs, readKafkaListeners } from './kafka-settings.js';

export interface Settings {
  /** The folder that keeps everything, as an absolute path. Nothing is kept in it under `memory`. */
  readonly data: string;
  readonly durability: Durability;
  /** At least one. */
  readonly amqp: readonly ListenerSetting[];
  /** undefined where the folder alone says who there is. */
  readonly users: readonly User[] | undefined;
  readonly permissions: readonly PermissionRecord[];
  readonly virtualHosts: readonly VirtualHostSettings[];
  /** undefined where nobody speaks TLS. Paths of PEM files. */
  readonly tls: TlsFiles | undefined;
  /** Where the management API answers; undefined for nowhere. `isDefault`: nobody asked for it, so a port that is taken is no fault. */
  readonly management: { readonly host: string; readonly port: number; readonly isDefault: boolean } | undefined;
  /** Where and how it meets Kafka clients; undefined for nowhere. `isDefault`: nobody asked for it, so a port that is taken is no fault. */
  readonly kafka: KafkaSettings | undefined;
  /** Where others than the broker's own are wanted. */
  readonly limits: Partial<Limits>;
}

export interface KafkaSettings extends KafkaConfigs, Pick<KafkaOptions, 'replication'> {
  readonly listeners: readonly KafkaListenerSetting[];
  readonly isDefault: boolean;
}

export interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
  readonly authorities: string | undefined;
  readonly requiresClient: boolean;
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
const amqpListeners: Setting<readonly ListenerSetting[]> = {
  flag: '--amqp-listener <url>',
  environment: 'DOVECOTE_AMQP_LISTENERS',
  key: 'amqpListeners',
  says: 'amqp://ADDRESS:PORT or amqps://ADDRESS:PORT (TLS), repeatable, in place of the two above',
  read: readListeners,
  allowed: 'amqp://ADDRESS:PORT or amqps://ADDRESS:PORT (in the environment several are parted by commas; in the file they are a list)',
};
const tlsCertificate: Setting<string> = {
  flag: '--tls-certificate <file>',
  environment: 'DOVECOTE_TLS_CERTIFICATE',
  key: 'tlsCertificate',
  says: 'PEM file with the certificate for amqps and kafkas; read again at SIGHUP',
  read: readText,
  allowed: 'the path of a PEM file',
};
const tlsKey: Setting<string> = {
  ...tlsCertificate,
  flag: '--tls-key <file>',
  environment: 'DOVECOTE_TLS_KEY',
  key: 'tlsKey',
  says: 'PEM file with its key',
};
const tlsAuthorities: Setting<string> = {
  ...tlsCertificate,
  flag: '--tls-authorities <file>',
  environment: 'DOVECOTE_TLS_AUTHORITIES',
  key: 'tlsAuthorities',
  says: 'PEM file with authorities whose client certificates are believed: their common name may log in (EXTERNAL; with Kafka without a word)',
};
const tlsRequiresClient: Setting<boolean> = {
  flag: '--tls-requires-client <answer>',
  environment: 'DOVECOTE_TLS_REQUIRES_CLIENT',
  key: 'tlsRequiresClient',
  says: 'yes refuses clients without such a certificate (default: no)',
  read: readAnswer,
  allowed: 'yes or no (in the file: true or false)',
};
const users: Setting<Accounts> = {
  flag: '--user <name:password>',
  environment: 'DOVECOTE_USERS',
  key: 'users',
  says: 'who may log in beside the users in the folder, repeatable; others on this machine can read it in the list of processes',
  read: readUsers,
  allowed:
    'NAME:PASSWORD, each name once (in the environment several are parted by commas; in the file they are [{"name": …, "password": …, "tags": …, "permissions": …}])',
  isSecret: true,
};
const virtualHosts: Setting<readonly VirtualHostSettings[]> = {
  flag: '--virtual-host <name>',
  environment: 'DOVECOTE_VIRTUAL_HOSTS',
  key: 'virtualHosts',
  says: 'made where it is not there, repeatable',
  read: readVirtualHosts,
  allowed:
    'names, each once (in the file names, or objects such as {"name": "team", "defaultQueueType": "quorum", "limits": {"maxQueues": 100}})',
};
const kafkaPort: Setting<number | 'off'> = {
  flag: '--kafka-port <port>',
  environment: 'DOVECOTE_KAFKA_PORT',
  key: 'kafkaPort',
  says: 'port for Kafka clients, 0 takes a free one, "off" for none (default: 9092)',
  read: readPortOrOff,
  allowed: 'a whole number from 0 to 65535, or off',
};
const kafkaHost: Setting<string> = {
  ...amqpHost,
  flag: '--kafka-host <address>',
  environment: 'DOVECOTE_KAFKA_HOST',
  key: 'kafkaHost',
  says: 'address to listen on for them; from other machines they must log in (default: 127.0.0.1)',
};
const kafkaAdvertised: Setting<HostAndPort> = {
  flag: '--kafka-advertised <host:port>',
  environment: 'DOVECOTE_KAFKA_ADVERTISED',
  key: 'kafkaAdvertised',
  says: 'where they are told to come (default: where it listens)',
  read: readHostAndPort,
  allowed: 'HOST:PORT',
};
const kafkaListeners: Setting<readonly KafkaListenerSetting[]> = {
  flag: '--kafka-listener <url>',
  environment: 'DOVECOTE_KAFKA_LISTENERS',
  key: 'kafkaListeners',
  says: 'kafka://ADDRESS:PORT or kafkas://ADDRESS:PORT (TLS), with ?advertised=HOST:PORT and &login=yes or no; repeatable, in place of the three above',
  read: readKafkaListeners,
  allowed:
    'kafka://ADDRESS:PORT or kafkas://ADDRESS:PORT, behind it ?advertised=HOST:PORT and &login=yes or no where wanted (in the environment several are parted by commas; in the file they are a list)',
};
const kafkaLogin: Setting<boolean> = {
  ...tlsRequiresClient,
  flag: '--kafka-login <answer>',
  environment: 'DOVECOTE_KAFKA_LOGIN',
  key: 'kafkaLogin',
  says: 'yes makes all Kafka clients log in (SASL PLAIN), no none (default: those of other machines)',
};
const kafkaReplication: Setting<'refuse' | 'one-for-all'> = {
  flag: '--kafka-replication <answer>',
  environment: 'DOVECOTE_KAFKA_REPLICATION',
  key: 'kafkaReplication',
  says: 'who asks for more than one replica of a topic is refused, or given one (default: refuse)',
  read: (given) => (['refuse', 'one-for-all'] as const).find((name) => name === given),
  allowed: 'refuse or one-for-all',
};
const kafkaConfigs: Setting<KafkaConfigs> = {
  flag: '--kafka-config <name=value>',
  environment: 'DOVECOTE_KAFKA_CONFIGS',
  key: 'kafkaConfigs',
  says: "a setting under Kafka's name, such as num.partitions=3 or the default of a topic config, repeatable",
  read: readKafkaConfigs,
  allowed: "NAME=VALUE, Kafka's own names and each once (in the environment several are parted by commas; in the file they are an object)",
};
const managementPort: Setting<number | 'off'> = {
  flag: '--management-port <port>',
  environment: 'DOVECOTE_MANAGEMENT_PORT',
  key: 'managementPort',
  says: 'port of the management API, "off" for none (default: 15672)',
  read: readPortOrOff,
  allowed: 'a whole number from 0 to 65535, or off',
};
const managementHost: Setting<string> = {
  ...amqpHost,
  flag: '--management-host <address>',
  environment: 'DOVECOTE_MANAGEMENT_HOST',
  key: 'managementHost',
  says: 'address of the management API; it speaks no TLS, so mind who can listen (default: 127.0.0.1)',
};
const limits: Setting<Partial<Limits>> = {
  flag: '--limit <name=value>',
  environment: 'DOVECOTE_LIMITS',
  key: 'limits',
  says: 'a limit other than the default, such as memoryBytesMax=512MiB or consumerTimeoutMs=none, repeatable',
  read: readLimits,
  allowed: `NAME=VALUE, each once: a whole number from 1, bytes also with KiB, MiB or GiB, of ${Object.keys(defaultLimits).join(', ')} (in the environment several are parted by commas; in the file they are an object)`,
};
const config: Setting<string> = {
  flag: '--config <file>',
  environment: 'DOVECOTE_CONFIG',
  key: 'config',
  says: 'JSON file with any of these settings, named as in the README',
  read: readText,
  allowed: 'the path of a JSON file',
};

const inFile = [
  ...[data, amqpPort, amqpHost, amqpListeners, durability, users, virtualHosts],
  ...[tlsCertificate, tlsKey, tlsAuthorities, tlsRequiresClient, managementPort, managementHost],
  ...[kafkaPort, kafkaHost, kafkaAdvertised, kafkaListeners, kafkaLogin, kafkaReplication, kafkaConfigs],
  limits,
];
const repeatable: readonly unknown[] = [users, virtualHosts, amqpListeners, kafkaListeners, kafkaConfigs, limits];

/** Throws a SettingsError. Relative paths begin where the daemon was started; one in the file too. */
export function readSettings(argv: readonly string[], environment: Readonly<Record<string, string | undefined>>): Settings | Answer {
  const flags = readFlags(argv);
  if ('text' in flags) return flags;
  const fromConfig = choose(config, flags.given, environment, {}, '');
  const file = fromConfig === undefined ? {} : readFile(fromConfig);
  const given = <T>(setting: Setting<T>): T | undefined => choose(setting, flags.given, environment, file, fromConfig ?? '');
  const accounts = given(users);
  const port = given(managementPort);
  const kafka = readKafka(given);
  const listeners = given(amqpListeners) ?? [{ host: given(amqpHost) ?? '127.0.0.1', port: given(amqpPort) ?? 5672, isTls: false }];
  return {
    data: resolve(given(data) ?? 'dovecote-data'),
    durability: given(durability) ?? 'fsync',
    amqp: listeners,
    users: accounts?.users,
    permissions: accounts?.permissions ?? [],
    virtualHosts: given(virtualHosts) ?? [],
    tls: tlsFiles(given, [...listeners, ...(kafka?.listeners ?? [])]),
    management:
      port === 'off' ? undefined : { host: given(managementHost) ?? '127.0.0.1', port: port ?? 15_672, isDefault: port === undefined },
    kafka,
    limits: given(limits) ?? {},
  };
}

function readKafka(given: <T>(setting: Setting<T>) => T | undefined): Settings['kafka'] {
  const [several, port, host = '127.0.0.1', advertised] = [
    given(kafkaListeners),
    given(kafkaPort),
    given(kafkaHost),
    given(kafkaAdvertised),
  ];
  const [login, replication, configs] = [given(kafkaLogin), given(kafkaReplication), given(kafkaConfigs)];
  if (port === 'off') return undefined;
  const single = { host, port: port ?? 9092, isTls: false, ...(advertised === undefined ? {} : { advertised }) };
  const listeners = (several ?? [single]).map((one) => ({ ...(login === undefined ? {} : { login }), ...one }));
  const lost = listeners.find((one) => one.advertised === undefined && /^(0\.0\.0\.0|::)$/.test(one.host));
  if (lost !== undefined) {
    const how = several === undefined ? '--kafka-advertised HOST:PORT' : '?advertised=HOST:PORT behind the listener';
    throw new SettingsError(
      `Kafka clients are told where to come, and nobody can come to ${lost.host}: say under which address they reach this broker (${how})`,
    );
  }
  const isDefault = several === undefined && port === undefined;
  return { listeners, isDefault, ...(replication === undefined ? {} : { replication }), ...configs };
}

/** TLS takes a certificate and its key, and a certificate without a listener for it would be a mistake. */
function tlsFiles(given: <T>(setting: Setting<T>) => T | undefined, listeners: readonly ListenerSetting[]): TlsFiles | undefined {
  const [certificate, key] = [given(tlsCertificate), given(tlsKey)];
  const isWanted = listeners.some(({ isTls }) => isTls);
  if (certificate !== undefined && key !== undefined && isWanted) {
    const [authorities, requiresClient = false] = [given(tlsAuthorities), given(tlsRequiresClient)];
    if (requiresClient && authorities === undefined)
      throw new SettingsError('--tls-requires-client takes --tls-authorities: whose certificates?');
    return {
      certificate: resolve(certificate),
      key: resolve(key),
      authorities: authorities === undefined ? undefined : resolve(authorities),
      requiresClient,
    };
  }
  if (isWanted) throw new SettingsError('amqps:// and kafkas:// take --tls-certificate and --tls-key, both of them');
  if (certificate !== undefined || key !== undefined)
    throw new SettingsError(
      '--tls-certificate and --tls-key take an --amqp-listener amqps://ADDRESS:PORT or a --kafka-listener kafkas://ADDRESS:PORT',
    );
  return undefined;
}

type Given = Readonly<Record<string, unknown>>;

function readFlags(argv: readonly string[]): { readonly given: Given } | Answer {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
  let text = '';
  const command = new Command('dovecote-broker')
    .description('A message broker for any AMQP 0-9-1 and any Kafka client, in one process.')
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
      repeatable.includes(setting)
        ? option.argParser((value, before: readonly string[] | undefined) => [...(before ?? []), value])
        : option,
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
    throw new SettingsError(`The file ${path} cannot be read as JSON: ${(error as Error).message}${placeOf(error as Error, path)}`);
  }
  if (!isObject(parsed)) throw new SettingsError(`The file ${path} must hold one JSON object, such as {"amqpPort": 5672}`);
  const known = inFile.map(({ key }) => key);
  const unknown = Object.keys(parsed).find((key) => !known.includes(key));
  if (unknown !== undefined) throw new SettingsError(`"${unknown}" in ${path} is not a setting: there are ${known.join(', ')}`);
  return parsed;
}

/** Newer Nodes say the line themselves. */
function placeOf({ message }: Error, path: string): string {
  const position = / position (\d+)(?! \(line)/.exec(message)?.[1];
  if (position === undefined) return '';
  const before = readFileSync(path, 'utf8').slice(0, Number(position)).split('\n');
  return ` (line ${before.length}, column ${before.at(-1)!.length + 1})`;
}

function readText(given: unknown): string | undefined {
  return typeof given === 'string' && given.trim() !== '' && !given.includes('\0') ? given : undefined;
}

function readPortOrOff(given: unknown): number | 'off' | undefined {
  return given === 'off' ? given : readPort(given);
}

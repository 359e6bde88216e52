/**
 * What the commands for the partitioned log have in common: `topics`, `produce`, `consume`, `groups` and `offsets` speak Kafka's protocol, to this broker
 * or to any Kafka cluster. The options that say where and who, tables, progress. The password is never an option.
 */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { KafkaClient } from '@dovecote/broker/kafka-client';
import { ownPassword, UsageError } from './passwords.js';
import { table, type Terminal } from './terminal.js';

export const defaultBootstrap = '127.0.0.1:9092';

export interface LogContext {
  readonly terminal: Terminal;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export interface ConnectionOptions {
  readonly bootstrap?: string;
  readonly user?: string;
  readonly tls?: boolean;
  readonly ca?: string;
  readonly tlsCertificate?: string;
  readonly tlsKey?: string;
  readonly json?: boolean;
}

/** A command that speaks to a cluster. */
export function logCommand(parent: Command, name: string, description: string): Command {
  return parent
    .command(name)
    .description(description)
    .option('-b, --bootstrap <host:port>', `where, several with commas (DOVECOTE_BOOTSTRAP; default: ${defaultBootstrap})`)
    .option('--user <name>', 'log in (SASL PLAIN; DOVECOTE_USER). The password is DOVECOTE_PASSWORD, or asked for')
    .option('--tls', 'speak TLS')
    .option('--ca <file>', 'PEM file with the authorities to believe')
    .option('--tls-certificate <file>', 'PEM file with the certificate to show; takes --tls-key')
    .option('--tls-key <file>', 'PEM file with its key')
    .option('--json', 'print JSON');
}

/** Connects, does `work`, and lets go. Rejects with a UsageError or what the client rejects with. */
export async function withClient<T>(command: Command, context: LogContext, work: (client: KafkaClient) => Promise<T>): Promise<T> {
  const { connectKafka } = await import('@dovecote/broker/kafka-client');
  const options = command.optsWithGlobals<ConnectionOptions>();
  const { environment, terminal } = context;
  const user = options.user ?? (environment['DOVECOTE_USER'] || undefined);
  const login =
    user === undefined ? undefined : { user, password: await ownPassword(user, environment['DOVECOTE_PASSWORD'] || undefined, terminal) };
  const bootstrap = readBootstrap(options.bootstrap ?? (environment['DOVECOTE_BOOTSTRAP'] || defaultBootstrap));
  const tls = readTls(options);
  const client = await connectKafka({ bootstrap, ...(login === undefined ? {} : { login }), ...(tls === undefined ? {} : { tls }) });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

function readBootstrap(text: string): { readonly host: string; readonly port: number }[] {
  return text.split(',').map((one) => {
    const [, bracketed, plain, port = '9092'] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(one.trim()) ?? [];
    const host = bracketed ?? plain;
    if (host === undefined || Number(port) > 65_535)
      throw new UsageError(`--bootstrap must be such as ${defaultBootstrap}; "${one}" was given`);
    return { host, port: Number(port) };
  });
}

function readTls({
  tls,
  ca,
  tlsCertificate: certificate,
  tlsKey: key,
}: ConnectionOptions): { readonly authorities?: string; readonly certificate?: string; readonly key?: string } | undefined {
  if ((certificate === undefined) !== (key === undefined)) throw new UsageError('--tls-certificate and --tls-key are given together');
  if (tls !== true && certificate === undefined && ca === undefined) return undefined;
  const read = (path: string): string => {
    try {
      return readFileSync(path, 'utf8');
    } catch (error) {
      throw new UsageError(`The PEM file ${path} cannot be read: ${(error as Error).message}`);
    }
  };
  return {
    ...(ca === undefined ? {} : { authorities: read(ca) }),
    ...(certificate === undefined || key === undefined ? {} : { certificate: read(certificate), key: read(key) }),
  };
}

/** A table, or JSON. */
export function show(
  command: Command,
  { terminal }: LogContext,
  columns: readonly string[],
  rows: readonly Readonly<Record<string, unknown>>[],
): void {
  const isJson = command.optsWithGlobals<ConnectionOptions>().json === true;
  terminal.say(isJson ? `${JSON.stringify(rows, null, 2)}\n` : table(columns, rows));
}

/** `NAME=VALUE`, several. */
export function readPairs(given: readonly string[] | undefined, option: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    (given ?? []).map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw new UsageError(`${option} must be NAME=VALUE; "${pair}" was given`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

export function readCount(text: string, option: string, least = 0): number {
  const count = /^\d{1,15}$/.test(text) ? Number(text) : -1;
  if (count < least) throw new UsageError(`${option} must be a whole number from ${least}; "${text}" was given`);
  return count;
}

/** Milliseconds since 1970, or a date such as 2026-11-28T10:00:00Z. */
export function readTime(text: string, option: string): number {
  const time = /^\d+$/.test(text) ? Number(text) : Date.parse(text);
  if (Number.isNaN(time))
    throw new UsageError(`${option} must be milliseconds since 1970 or a date such as 2026-11-28T10:00:00Z; "${text}" was given`);
  return time;
}

/** `commander` calls it for each time that an option is given. */
export function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

const sayEveryMs = 2000;

/** Says on standard error how far long work has come: how many, how many a second, and how long it still takes where that is known. */
export class Progress {
  private count = 0;
  private readonly startedMs: number;
  private saidMs: number;

  constructor(
    private readonly what: string,
    private readonly terminal: Terminal,
    private total?: number,
    private readonly now: () => number = Date.now,
  ) {
    this.startedMs = this.saidMs = now();
  }

  /** `total`: where it is known only by now, or has grown. */
  add(count: number, total = this.total): void {
    this.count += count;
    if (total !== undefined) this.total = total;
    const nowMs = this.now();
    if (nowMs - this.saidMs < sayEveryMs) return;
    this.saidMs = nowMs;
    const perSecond = (this.count * 1000) / (nowMs - this.startedMs);
    const left = this.total === undefined ? '' : `, ${Math.ceil(Math.max(this.total - this.count, 0) / perSecond)} s left`;
    const of = this.total === undefined ? '' : ` of ${this.total}`;
    this.terminal.warn(`${this.count}${of} ${this.what}, ${Math.round(perSecond)}/s${left}`);
  }
}

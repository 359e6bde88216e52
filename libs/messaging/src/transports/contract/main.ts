/**
 * `npm run contract -- [--amqp URL] [--kafka URL] [--only TEXT] [--on TEXT]`: what every transport must do, on each broker that is there, and a table of it.
 * `--only` takes the cases whose name has the text in it, `--on` the brokers (the columns of the table). How far it has come is on standard error.
 *
 * The embedded broker and ours behind its two protocols are always there; a RabbitMQ and a Kafka are where the URLs say. Ends with 1 where a promise is
 * broken. What a broker does not promise is a dash: its transport says so, and a handler that needs it stops the start.
 */
import { parseArgs } from 'node:util';
import { realGround } from '@dovecote/ground';
import type { ContractCase } from '../../contract-case.js';
import { reasonOf } from '../../errors.js';
import { type TransportSubject, transportContract } from '../../transport-contract.js';
import { transportCrashes } from '../../transport-crashes.js';
import { AmqpSubject } from '../amqp-subject.js';
import { EmbeddedSubject } from '../embedded-subject.js';
import { JumpingClock } from '../kafka/jumping-clock.js';
import { KafkaSubject } from '../kafka/kafka-subject.js';
import { openOurAmqp, openOurKafka } from '../our-subjects.js';
import { TwoBrokersSubject } from '../two-brokers-subject.js';
import { ContractProgress } from './progress.js';

const CASE_MS_MAX = 60_000;
const usage = 'usage: npm run contract -- [--amqp amqp://user:password@host:port] [--kafka kafka://host:port] [--only TEXT] [--on TEXT]';

type Outcome = 'kept' | 'not-promised' | 'broken';

interface Column {
  readonly name: string;
  readonly open: () => Promise<TransportSubject>;
}

const signs: Readonly<Record<Outcome, string>> = { kept: 'yes', 'not-promised': '-', broken: 'BROKEN' };

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      amqp: { type: 'string' },
      kafka: { type: 'string' },
      only: { type: 'string', default: '' },
      on: { type: 'string', default: '' },
    },
  });
  const columns: Column[] = [
    { name: 'embedded', open: () => EmbeddedSubject.open() },
    { name: 'ours, AMQP', open: openOurAmqp },
    { name: 'ours, Kafka', open: openOurKafka },
    { name: 'ours, both', open: async () => new TwoBrokersSubject(await openOurKafka(), await openOurAmqp()) },
  ];
  const { amqp, kafka } = values;
  if (amqp !== undefined) {
    if (!/^amqps?:/.test(amqp)) throw new Error(usage);
    columns.push({ name: await productAt(amqp), open: () => AmqpSubject.open(amqp) });
  }
  if (kafka !== undefined) {
    if (!/^kafkas?:/.test(kafka)) throw new Error(usage);
    columns.push({ name: 'Kafka', open: () => openKafka(kafka) });
  }
  if (amqp !== undefined && kafka !== undefined) {
    const both = async (): Promise<TransportSubject> => new TwoBrokersSubject(await openKafka(kafka), await AmqpSubject.open(amqp));
    columns.push({ name: 'Kafka, and commands over AMQP', open: both });
  }
  const names = casesOn(() => EmbeddedSubject.open())
    .map(({ name }) => name)
    .filter((name) => name.includes(values.only));
  const chosen = columns.filter(({ name }) => name.toLowerCase().includes(values.on.toLowerCase()));
  refuseNothing('case', '--only', values.only, names);
  refuseNothing(`broker among ${columns.map(({ name }) => name).join('; ')}`, '--on', values.on, chosen);
  const outcomes = new Map<string, Outcome[]>(names.map((name) => [name, []]));
  const progress = new ContractProgress(names.length * chosen.length, realGround().clock);
  for (const { name: column, open } of chosen) {
    for (const contractCase of casesOn(open)) {
      const results = outcomes.get(contractCase.name);
      if (results === undefined) continue;
      console.error(`> ${progress.begins(column, contractCase.name)}`);
      results.push(await judge(column, contractCase));
    }
  }
  print(chosen, outcomes);
  if (amqp === undefined) console.log('Not run: a RabbitMQ (--amqp URL).');
  if (kafka === undefined) console.log('Not run: a Kafka (--kafka URL).');
  return [...outcomes.values()].flat().includes('broken') ? 1 : 0;
}

function refuseNothing(what: string, option: string, text: string, found: readonly unknown[]): void {
  if (found.length === 0) throw new Error(`no ${what} has "${text}" in its name (${option})`);
}

function casesOn(open: Column['open']): readonly ContractCase[] {
  return [...transportContract(open), ...transportCrashes(open)];
}

async function openKafka(url: string): Promise<TransportSubject> {
  const subject = new KafkaSubject(url, new JumpingClock());
  subject.isForeign = true;
  return subject;
}

async function judge(column: string, { name, run }: ContractCase): Promise<Outcome> {
  let timer: { cancel(): void } | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = realGround().clock.after(CASE_MS_MAX, () => reject(new Error(`nothing more happened within ${CASE_MS_MAX} ms`)));
  });
  try {
    return await Promise.race([run(), late]);
  } catch (error) {
    console.log(`${column}: ${name}: ${reasonOf(error)}`);
    return 'broken';
  } finally {
    timer?.cancel();
  }
}

function print(columns: readonly Column[], outcomes: ReadonlyMap<string, readonly Outcome[]>): void {
  console.log(`| case | ${columns.map(({ name }) => name).join(' | ')} |`);
  console.log(`| --- | ${columns.map(() => '---').join(' | ')} |`);
  for (const [name, results] of outcomes) console.log(`| ${name} | ${results.map((result) => signs[result]).join(' | ')} |`);
}

/** What answers there, in its own words. */
async function productAt(url: string): Promise<string> {
  const { connect } = await import('amqplib');
  const connection = await connect(url);
  const { product, version } = connection.connection.serverProperties as { product?: string; version?: string };
  await connection.close();
  return `${product ?? 'AMQP'} ${version ?? ''}`.trim();
}

main().then(
  (code) => (process.exitCode = code),
  (error: unknown) => {
    console.error(reasonOf(error));
    process.exitCode = 1;
  },
);

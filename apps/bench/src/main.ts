/**
 * `npm run bench -- amqp`, `npm run bench -- kafka`, `… in-process`, `… transports`: the benchmarks, ours side by side with the peers. See the README beside this folder.
 *
 * A program: it exits with 1 when a case went wrong, because then its figures are void.
 */
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { CASE_NAMES, runAmqpBenchmark, type CaseName } from './amqp/benchmark.js';
import { BODY_BYTES_MIN } from './amqp/publisher.js';
import type { Durability } from './amqp/server.js';
import { IN_PROCESS_CASES, type InProcessCase, runInProcessBenchmark } from './in-process/benchmark.js';
import { KAFKA_CASES, type KafkaCase, runKafkaBenchmark } from './kafka/benchmark.js';
import type { LogDurability } from './kafka/server.js';
import { runLostNodes } from './lost-nodes/benchmark.js';
import { formatReport, type Report, reportAsJson } from './report.js';
import { TRANSPORT_CASES, type TransportCase, runTransportsBenchmark } from './transports/benchmark.js';
import { CONTENDER_NAMES, type ContenderName, type Protocol } from './transports/contenders.js';

interface AmqpArguments {
  readonly rounds: number;
  readonly seconds: number;
  readonly warmup: number;
  readonly backlog: number;
  readonly bodyBytes: number;
  readonly cases: readonly CaseName[];
  readonly durability: readonly Durability[];
  readonly daemon: string;
  readonly dataRoot: string;
  readonly ours: boolean;
  readonly peer?: string;
  readonly peerPid?: number;
  readonly peerScript?: string;
  readonly json?: string;
}

const DURABILITIES = ['memory', 'os', 'fsync'] as const;
const LOG_DURABILITIES = ['os', 'fsync'] as const;

function number(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!(value >= least)) throw new InvalidArgumentError(`a number of at least ${least} is needed`);
    return value;
  };
}

function listOf<Name extends string>(names: readonly Name[]): (text: string) => Name[] {
  return (text) =>
    text.split(',').map((part) => {
      const name = names.find((known) => known === part);
      if (name === undefined) throw new InvalidArgumentError(`"${part}" is none of ${names.join(', ')}`);
      return name;
    });
}

async function runAmqp(given: AmqpArguments): Promise<void> {
  const peer = given.peerScript ? { script: resolve(given.peerScript) } : given.peer ? { url: given.peer, pid: given.peerPid } : undefined;
  const report = await runAmqpBenchmark({
    cases: given.cases,
    durabilities: given.durability,
    rounds: given.rounds,
    stretch: { warmupMs: given.warmup * 1000, measureMs: given.seconds * 1000 },
    backlogMessages: given.backlog,
    bodyBytes: given.bodyBytes,
    daemon: given.ours ? { file: resolve(given.daemon), dataRoot: resolve(given.dataRoot) } : undefined,
    peer,
    progress: (line) => console.error(`> ${line}`),
  });
  tell(report, given.json);
}

interface KafkaArguments extends Omit<AmqpArguments, 'cases' | 'durability' | 'backlog' | 'bodyBytes'> {
  readonly cases: readonly KafkaCase[];
  readonly durability: readonly LogDurability[];
  readonly logMegabytes: number;
  readonly recoveryMegabytes: number;
}

async function runKafka(given: KafkaArguments): Promise<void> {
  const peer = given.peerScript
    ? { script: resolve(given.peerScript) }
    : given.peer
      ? { address: given.peer, pid: given.peerPid }
      : undefined;
  const report = await runKafkaBenchmark({
    cases: given.cases,
    durabilities: given.durability,
    rounds: given.rounds,
    stretch: { warmupMs: given.warmup * 1000, measureMs: given.seconds * 1000 },
    logBytes: given.logMegabytes * 1_000_000,
    recoveryBytes: given.recoveryMegabytes * 1_000_000,
    daemon: given.ours ? { file: resolve(given.daemon), dataRoot: resolve(given.dataRoot) } : undefined,
    peer,
    progress: (line) => console.error(`> ${line}`),
  });
  tell(report, given.json);
}

interface InProcessArguments extends Pick<AmqpArguments, 'rounds' | 'seconds' | 'warmup' | 'durability' | 'dataRoot' | 'json'> {
  readonly cases: readonly InProcessCase[];
}

async function runInProcess(given: InProcessArguments): Promise<void> {
  const report = await runInProcessBenchmark({
    cases: given.cases,
    durabilities: given.durability,
    rounds: given.rounds,
    warmupMs: given.warmup * 1000,
    measureMs: given.seconds * 1000,
    dataRoot: resolve(given.dataRoot),
    progress: (line) => console.error(`> ${line}`),
  });
  tell(report, given.json);
}

interface TransportsArguments extends Pick<AmqpArguments, 'rounds' | 'seconds' | 'warmup' | 'daemon' | 'dataRoot' | 'json'> {
  readonly cases: readonly TransportCase[];
  readonly contenders: readonly ContenderName[];
  readonly durability: LogDurability;
  readonly poisonSeconds: number;
  readonly broker: Readonly<Partial<Record<Protocol, string>>>;
}

async function runTransports(given: TransportsArguments): Promise<void> {
  const report = await runTransportsBenchmark({
    cases: given.cases,
    contenders: given.contenders,
    rounds: given.rounds,
    stretch: { warmupMs: given.warmup * 1000, measureMs: given.seconds * 1000 },
    poisonMs: given.poisonSeconds * 1000,
    durability: given.durability,
    daemon: { file: resolve(given.daemon), dataRoot: resolve(given.dataRoot) },
    brokers: given.broker,
    progress: (line) => console.error(`> ${line}`),
  });
  console.log(`\n${report.text}`);
  if (given.json !== undefined) writeFileSync(given.json, `${JSON.stringify(report.results, null, 2)}\n`);
  if (report.failures.length > 0) process.exitCode = 1;
}

interface LostNodesArguments {
  readonly peerScript: string;
  readonly port: number;
  readonly nodes: number;
  readonly perSecond: number;
  readonly step: number;
}

async function loseNodes({ peerScript, port, nodes, perSecond, step }: LostNodesArguments): Promise<void> {
  const progress = (line: string): void => console.error(`> ${line}`);
  const { text, isVoid } = await runLostNodes({ script: resolve(peerScript), port, nodes, perSecond, stepMs: step * 1000, progress });
  console.log(`\n${text}`);
  if (isVoid) process.exitCode = 1;
}

function brokerAt(url: string, before: Readonly<Partial<Record<Protocol, string>>>): Readonly<Partial<Record<Protocol, string>>> {
  const [, protocol, host] = /^(amqp|kafka):\/\/([^/]+)\/?$/.exec(url) ?? [];
  if (host === undefined) throw new InvalidArgumentError('amqp://user:password@host:port or kafka://host:port is needed');
  return { ...before, [protocol as Protocol]: host };
}

function tell(report: Report, json: string | undefined): void {
  console.log(`\n${formatReport(report)}`);
  if (json !== undefined) writeFileSync(json, `${reportAsJson(report)}\n`);
  if (report.failures.length > 0) process.exitCode = 1;
}

/** Not the ones that take minutes and gigabytes. */
const usualCases = CASE_NAMES.filter((name) => name !== 'ten-million');
const daemonFile = fileURLToPath(new URL('../../broker/bundle/main.js', import.meta.url));
const program = new Command('bench').description('Measures Dovecote, side by side with the brokers it stands in for.');
program
  .command('amqp')
  .description('small messages over AMQP 0-9-1; beside RabbitMQ where one is given')
  .option('--rounds <n>', 'rounds per case; the report tells medians', number(1), 3)
  .option('--seconds <s>', 'measured time per case, side and round', number(0.1), 5)
  .option('--warmup <s>', 'time before it that is not counted', number(0), 1)
  .option('--backlog <n>', 'messages of the backlog', number(1), 500_000)
  .option('--body-bytes <n>', 'size of a message', number(BODY_BYTES_MIN), 100)
  .option('--cases <names>', `of ${CASE_NAMES.join(',')}`, listOf(CASE_NAMES), usualCases)
  .option('--durability <names>', `of ${DURABILITIES.join(',')}`, listOf(DURABILITIES), [...DURABILITIES])
  .option('--daemon <file>', "the daemon's main file", daemonFile)
  .option('--data-root <folder>', 'where the daemon keeps its data meanwhile', tmpdir())
  .option('--no-ours', 'measure only the peer')
  .option('--peer <url>', 'a peer that is running, such as amqp://guest:guest@127.0.0.1:5682')
  .option('--peer-pid <pid>', 'the root of its processes, for its processor time and memory', number(1))
  .option('--peer-script <file>', 'starts and stops the peer: apps/bench/peers/rabbitmq.sh')
  .option('--json <file>', 'writes every figure of every round there')
  .action(runAmqp);

program
  .command('kafka')
  .description('record batches over the Kafka protocol; beside Apache Kafka where one is given')
  .option('--rounds <n>', 'rounds per case; the report tells medians', number(1), 3)
  .option('--seconds <s>', 'measured time per case, side and round', number(0.1), 5)
  .option('--warmup <s>', 'time before it that is not counted', number(0), 2)
  .option('--log-megabytes <n>', 'what is fetched over and over', number(1), 512)
  .option('--recovery-megabytes <n>', 'what is in the log when the server is killed', number(1), 1000)
  .option('--cases <names>', `of ${KAFKA_CASES.join(',')}`, listOf(KAFKA_CASES), [...KAFKA_CASES])
  .option('--durability <names>', `of ${LOG_DURABILITIES.join(',')}`, listOf(LOG_DURABILITIES), [...LOG_DURABILITIES])
  .option('--daemon <file>', "the daemon's main file", daemonFile)
  .option('--data-root <folder>', 'where the daemon keeps its data meanwhile', tmpdir())
  .option('--no-ours', 'measure only the peer')
  .option('--peer <address>', 'a peer that is running, such as 127.0.0.1:9192')
  .option('--peer-pid <pid>', 'its process, for its processor time and memory', number(1))
  .option('--peer-script <file>', 'starts and stops the peer: apps/bench/peers/kafka.sh')
  .option('--json <file>', 'writes every figure of every round there')
  .action(runKafka);

program
  .command('in-process')
  .description('publish to handler with the broker in the same process, alone and through the framework')
  .option('--rounds <n>', 'rounds per case; the report tells medians', number(1), 3)
  .option('--seconds <s>', 'measured time per case and round', number(0.1), 5)
  .option('--warmup <s>', 'time before it that is not counted', number(0), 2)
  .option('--cases <names>', `of ${IN_PROCESS_CASES.join(',')}`, listOf(IN_PROCESS_CASES), [...IN_PROCESS_CASES])
  .option('--durability <names>', `of ${DURABILITIES.join(',')}`, listOf(DURABILITIES), [...DURABILITIES])
  .option('--data-root <folder>', 'where the broker keeps its data meanwhile', tmpdir())
  .option('--json <file>', 'writes every figure of every round there')
  .action(runInProcess);

program
  .command('transports')
  .description("our messaging beside Nest's own transports and @golevelup/nestjs-rabbitmq, on the same broker")
  .option('--rounds <n>', 'rounds; the report tells medians', number(1), 3)
  .option('--seconds <s>', 'measured time per contender and round', number(0.1), 5)
  .option('--warmup <s>', 'time before it that is not counted', number(0), 3)
  .option('--poison-seconds <s>', 'how long a poisoned message is watched', number(1), 20)
  .option('--cases <names>', `of ${TRANSPORT_CASES.join(',')}`, listOf(TRANSPORT_CASES), [...TRANSPORT_CASES])
  .option('--contenders <names>', `of ${CONTENDER_NAMES.join(',')}`, listOf(CONTENDER_NAMES), CONTENDER_NAMES)
  .option('--durability <name>', `of our daemon: ${LOG_DURABILITIES.join(' or ')}`, (text) => listOf(LOG_DURABILITIES)(text)[0], 'os')
  .option('--daemon <file>', "the daemon's main file", daemonFile)
  .option('--data-root <folder>', 'where the daemon keeps its data meanwhile', tmpdir())
  .option('--broker <url>', 'a broker that is running, instead of ours: amqp://… or kafka://…, each once', brokerAt, {})
  .option('--json <file>', 'writes what was found there')
  .action(runTransports);

program
  .command('lost-nodes')
  .description('a service on a Kafka cluster whose nodes are killed with -9 and started again, one after the other')
  .requiredOption('--peer-script <file>', 'starts, kills and stops the cluster: apps/bench/peers/kafka.sh')
  .option('--port <port>', 'of its first node', number(1), 9392)
  .option('--nodes <n>', 'how many', number(2), 3)
  .option('--per-second <n>', 'messages published a second', number(1), 200)
  .option('--step <s>', 'time before each kill, and before each new start', number(1), 8)
  .action(loseNodes);

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
try {
  await program.parseAsync();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

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
import type { SidesOptions } from './sides.js';
import { TRANSPORT_CASES, type TransportCase, runTransportsBenchmark } from './transports/benchmark.js';
import { CONTENDER_NAMES, type ContenderName, type Protocol } from './transports/contenders.js';

/** Of each benchmark that goes in rounds. */
interface RoundArguments<Case, Durability> {
  readonly rounds: number;
  readonly seconds: number;
  readonly warmup: number;
  readonly cases: readonly Case[];
  readonly durability: readonly Durability[];
  readonly dataRoot: string;
  readonly json?: string;
}

/** Of those that stand beside a peer. */
interface SidesArguments<Case, Durability> extends RoundArguments<Case, Durability> {
  readonly daemon: string;
  readonly ours: boolean;
  readonly peer?: string;
  readonly peerPid?: number;
  readonly peerScript?: string;
}

interface AmqpArguments extends SidesArguments<CaseName, Durability> {
  readonly backlog: number;
  readonly bodyBytes: number;
}

interface KafkaArguments extends SidesArguments<KafkaCase, LogDurability> {
  readonly logMegabytes: number;
  readonly recoveryMegabytes: number;
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

const progress = (line: string): void => console.error(`> ${line}`);

function sidesOf<Case extends string, Kind extends string>(given: SidesArguments<Case, Kind>): SidesOptions<Case, Kind> {
  const running = given.peer === undefined ? undefined : { address: given.peer, pid: given.peerPid };
  return {
    cases: given.cases,
    durabilities: given.durability,
    rounds: given.rounds,
    stretch: { warmupMs: given.warmup * 1000, measureMs: given.seconds * 1000 },
    daemon: given.ours ? { file: resolve(given.daemon), dataRoot: resolve(given.dataRoot) } : undefined,
    peer: given.peerScript === undefined ? running : { script: resolve(given.peerScript) },
    progress,
  };
}

async function runAmqp(given: AmqpArguments): Promise<void> {
  tell(await runAmqpBenchmark({ ...sidesOf(given), backlogMessages: given.backlog, bodyBytes: given.bodyBytes }), given.json);
}

async function runKafka(given: KafkaArguments): Promise<void> {
  const [logBytes, recoveryBytes] = [given.logMegabytes * 1_000_000, given.recoveryMegabytes * 1_000_000];
  tell(await runKafkaBenchmark({ ...sidesOf(given), logBytes, recoveryBytes }), given.json);
}

async function runInProcess(given: RoundArguments<InProcessCase, Durability>): Promise<void> {
  const report = await runInProcessBenchmark({
    cases: given.cases,
    durabilities: given.durability,
    rounds: given.rounds,
    warmupMs: given.warmup * 1000,
    measureMs: given.seconds * 1000,
    dataRoot: resolve(given.dataRoot),
    progress,
  });
  tell(report, given.json);
}

interface TransportsArguments extends Omit<RoundArguments<TransportCase, LogDurability>, 'durability'> {
  readonly daemon: string;
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
    progress,
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

function inRounds(command: Command, per: string, warmup: number): Command {
  return command
    .option('--rounds <n>', 'rounds; the report tells medians', number(1), 3)
    .option('--seconds <s>', `measured time per ${per} and round`, number(0.1), 5)
    .option('--warmup <s>', 'time before it that is not counted', number(0), warmup)
    .option('--data-root <folder>', 'where the broker keeps its data meanwhile', tmpdir())
    .option('--json <file>', 'writes every figure of every round there');
}

function ofDurabilities<Name extends string>(command: Command, names: readonly Name[]): Command {
  return command.option('--durability <names>', `of ${names.join(',')}`, listOf(names), [...names]);
}

function withDaemon(command: Command): Command {
  return command.option('--daemon <file>', "the daemon's main file", daemonFile);
}

/** `running` is what a peer's address looks like, and `script` what would start one. */
function besidePeer(command: Command, { running, script }: { readonly running: string; readonly script: string }): Command {
  return withDaemon(command)
    .option('--no-ours', 'measure only the peer')
    .option('--peer <address>', `a peer that is running, such as ${running}`)
    .option('--peer-pid <pid>', 'the root of its processes, for its processor time and memory', number(1))
    .option('--peer-script <file>', `starts and stops the peer: ${script}`);
}

const amqp = program.command('amqp').description('small messages over AMQP 0-9-1; beside RabbitMQ where one is given');
ofDurabilities(inRounds(amqp, 'case, side', 1), DURABILITIES)
  .option('--backlog <n>', 'messages of the backlog', number(1), 500_000)
  .option('--body-bytes <n>', 'size of a message', number(BODY_BYTES_MIN), 100)
  .option('--cases <names>', `of ${CASE_NAMES.join(',')}`, listOf(CASE_NAMES), usualCases)
  .action(runAmqp);
besidePeer(amqp, { running: 'amqp://guest:guest@127.0.0.1:5682', script: 'apps/bench/peers/rabbitmq.sh' });

const kafka = program.command('kafka').description('record batches over the Kafka protocol; beside Apache Kafka where one is given');
ofDurabilities(inRounds(kafka, 'case, side', 2), LOG_DURABILITIES)
  .option('--log-megabytes <n>', 'what is fetched over and over', number(1), 512)
  .option('--recovery-megabytes <n>', 'what is in the log when the server is killed', number(1), 1000)
  .option('--cases <names>', `of ${KAFKA_CASES.join(',')}`, listOf(KAFKA_CASES), [...KAFKA_CASES])
  .action(runKafka);
besidePeer(kafka, { running: '127.0.0.1:9192', script: 'apps/bench/peers/kafka.sh' });

const inProcess = program
  .command('in-process')
  .description('publish to handler with the broker in the same process, alone and through the framework');
ofDurabilities(inRounds(inProcess, 'case', 2), DURABILITIES)
  .option('--cases <names>', `of ${IN_PROCESS_CASES.join(',')}`, listOf(IN_PROCESS_CASES), [...IN_PROCESS_CASES])
  .action(runInProcess);

const transports = program
  .command('transports')
  .description("our messaging beside Nest's own transports and @golevelup/nestjs-rabbitmq, on the same broker");
withDaemon(inRounds(transports, 'contender', 3))
  .option('--poison-seconds <s>', 'how long a poisoned message is watched', number(1), 20)
  .option('--cases <names>', `of ${TRANSPORT_CASES.join(',')}`, listOf(TRANSPORT_CASES), [...TRANSPORT_CASES])
  .option('--contenders <names>', `of ${CONTENDER_NAMES.join(',')}`, listOf(CONTENDER_NAMES), CONTENDER_NAMES)
  .option('--durability <name>', `of our daemon: ${LOG_DURABILITIES.join(' or ')}`, (text) => listOf(LOG_DURABILITIES)(text)[0], 'os')
  .option('--broker <url>', 'a broker that is running, instead of ours: amqp://… or kafka://…, each once', brokerAt, {})
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

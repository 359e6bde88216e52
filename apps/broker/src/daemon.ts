/**
 * One broker as a process: opens it, says where it listens, and ends with it.
 *
 * Everything that must survive is the broker's business; the process may be killed at any moment. What it says on stdout is read by programs (one
 * line per listener, the last of them when clients may come); what happens later is said on stderr.
 */
import { Broker, CodedError } from '@dovecote/broker';
import type { Settings } from './settings.js';

/** What the daemon needs of its process. */
export interface DaemonProcess {
  /** For programs that wait for the daemon, and for people. */
  readonly say: (line: string) => void;
  /** For people: what went wrong or is worth knowing. */
  readonly warn: (line: string) => void;
  /** Calls back at each request to stop. */
  readonly onStop: (stop: (signal: NodeJS.Signals) => void) => void;
  /** Ends the process at once. */
  readonly exit: (code: number) => void;
}

const confirmedMeans = {
  fsync: 'what is confirmed survives the loss of power',
  os: 'what is confirmed survives kill -9, not the loss of power',
  memory: 'nothing survives the end of this process',
} as const;

const interrupted = { SIGTERM: 143, SIGINT: 130 } as const;

/** Resolves with the exit code when the broker has ended: 0 when it was asked to, 1 when it could not start or go on (it has said why). */
export async function runDaemon(settings: Settings, { say, warn, onStop, exit }: DaemonProcess): Promise<number> {
  try {
    const broker = await open(settings, warn);
    let isStopping = false;
    const stopped = new Promise<void>((resolve, reject) => {
      onStop((signal) => {
        if (isStopping) return exit(interrupted[signal as keyof typeof interrupted] ?? 1);
        isStopping = true;
        warn(`${signal}: closing connections and writing what is left. Once more ends at once`);
        broker.close().then(resolve, reject);
      });
    });
    announce(settings, broker, say);
    const failure = await Promise.race([broker.ended, stopped.then(() => undefined)]);
    if (failure !== undefined) throw failure;
    if (isStopping) await stopped;
    return 0;
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    warn(error.message);
    return 1;
  }
}

async function open(settings: Settings, warn: (line: string) => void): Promise<Broker> {
  const { data, durability, amqp, users, kafkaPort, kafkaAdvertised: advertised, managementPort } = settings;
  if (managementPort !== undefined) warn(`Management is not there yet: nothing will listen on port ${managementPort}`);
  const kafka =
    kafkaPort === undefined ? {} : { kafka: { port: kafkaPort, host: amqp.host, ...(advertised === undefined ? {} : { advertised }) } };
  const broker = await Broker.open({ ...(durability === 'memory' ? {} : { data }), durability, amqp, ...kafka, users, log: warn });
  if (!/^(127\.|::1$|localhost$)/.test(amqp.host) && users.every(({ name }) => name === 'guest')) {
    warn('Nobody can log in from another machine: guest may not, whatever its password. Give --user NAME:PASSWORD');
  }
  return broker;
}

function announce({ data, amqp }: Settings, broker: Broker, say: (line: string) => void): void {
  const { durability, amqpPort, kafkaPort } = broker;
  const host = amqp.host.includes(':') ? `[${amqp.host}]` : amqp.host;
  if (durability !== 'memory') say(`data folder ${data}`);
  say(`durability ${durability}: ${confirmedMeans[durability]}`);
  if (kafkaPort !== undefined) say(`Kafka listening on ${host}:${kafkaPort}`);
  say(`AMQP listening on ${host}:${amqpPort}`);
}

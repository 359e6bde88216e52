/**
 * One broker as a process: opens it, says where it listens, and ends with it.
 *
 * Everything that must survive is the broker's business; the process may be killed at any moment. What it says on stdout is read by programs (one
 * line per listener, the last of them when clients may come); what happens later is said on stderr.
 */
import { readFileSync } from 'node:fs';
import { Broker, CodedError, type KafkaOptions } from '@dovecote/broker';
import type { TlsIdentity } from '@dovecote/ground';
import type { KafkaSettings, Settings, TlsFiles } from './settings.js';

/** What the daemon needs of its process. */
export interface DaemonProcess {
  /** For programs that wait for the daemon, and for people. */
  readonly say: (line: string) => void;
  /** For people: what went wrong or is worth knowing. */
  readonly warn: (line: string) => void;
  /** Calls back at each request to stop. */
  readonly onStop: (stop: (signal: NodeJS.Signals) => void) => void;
  /** Calls back when certificates are to be read again; asked for only where there are any, so that a hang-up ends the others as ever. */
  readonly onReload: (reload: () => void) => void;
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
export async function runDaemon(settings: Settings, { say, warn, onStop, onReload, exit }: DaemonProcess): Promise<number> {
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
    const { tls } = settings;
    if (tls !== undefined) onReload(() => reload(tls, broker, warn));
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
  const { data, durability, amqp, users, permissions, virtualHosts, management, kafka, limits } = settings;
  const tls = settings.tls === undefined ? undefined : readTls(settings.tls);
  const broker = await Broker.open({
    ...(durability === 'memory' ? {} : { data }),
    durability,
    door: true,
    amqp: amqp.map(({ host, port, isTls }) => ({ host, port, ...(isTls && tls !== undefined ? { tls } : {}) })),
    ...(kafka === undefined ? {} : { kafka: kafkaOptions(kafka, tls) }),
    ...(management === undefined ? {} : { management: { ...management, mayBeTaken: management.isDefault } }),
    ...(users === undefined ? {} : { users }),
    permissions,
    virtualHosts,
    limits,
    log: warn,
  });
  const isFarAway = [...amqp, ...(kafka?.listeners ?? [])].some(({ host }) => !/^(127\.|::1$|localhost$)/.test(host));
  if (isFarAway && broker.administration.users.every(({ name }) => name === 'guest')) {
    warn('Nobody can log in from another machine: guest may not, whatever its password. Give --user NAME:PASSWORD');
  }
  return broker;
}

function kafkaOptions({ isDefault, listeners, ...settings }: KafkaSettings, tls: TlsIdentity | undefined): KafkaOptions {
  return {
    ...settings,
    listeners: listeners.map(({ isTls, ...listener }) => ({ ...listener, ...(isTls && tls !== undefined ? { tls } : {}) })),
    mayBeTaken: isDefault,
  };
}

function readTls({ certificate, key, authorities, requiresClient }: TlsFiles): TlsIdentity {
  const read = (path: string): string => {
    try {
      return readFileSync(path, 'utf8');
    } catch (error) {
      throw new CodedError('port-unusable', `The PEM file ${path} cannot be read: ${(error as Error).message}`, { cause: error });
    }
  };
  return {
    certificate: read(certificate),
    key: read(key),
    ...(authorities === undefined ? {} : { authorities: read(authorities), requiresClient }),
  };
}

/** A certificate that is no good leaves the old one in place. */
function reload(tls: TlsFiles, broker: Broker, warn: (line: string) => void): void {
  try {
    broker.renewCertificates(readTls(tls));
    warn('SIGHUP: the certificate was read again; who is connected stays so');
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    warn(`${error.message}. The old certificate stays`);
  }
}

function announce({ data, management }: Settings, broker: Broker, say: (line: string) => void): void {
  const { durability, amqpAddresses, kafkaAddresses, managementPort } = broker;
  const at = (host: string, port: number): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;
  if (durability !== 'memory') say(`data folder ${data}`);
  say(`durability ${durability}: ${confirmedMeans[durability]}`);
  if (management !== undefined && managementPort !== undefined) say(`management listening on ${at(management.host, managementPort)}`);
  for (const { host, port, isTls, advertised } of kafkaAddresses) {
    const elsewhere = advertised.host === host && advertised.port === port ? '' : `, advertised as ${at(advertised.host, advertised.port)}`;
    say(`Kafka ${isTls ? 'over TLS ' : ''}listening on ${at(host, port)}${elsewhere}`);
  }
  for (const { host, port } of amqpAddresses.filter(({ isTls }) => isTls)) say(`AMQP over TLS listening on ${at(host, port)}`);
  for (const { host, port } of amqpAddresses.filter(({ isTls }) => !isTls)) say(`AMQP listening on ${at(host, port)}`);
}

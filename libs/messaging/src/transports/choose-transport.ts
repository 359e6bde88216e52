import { realGround } from '@dovecote/ground';
import { Backoff } from '../backoff.js';
import { MessagingError } from '../errors.js';
import type { Log } from '../log.js';
import { isMissing } from '../missing-package.js';
import type { OneBrokerOptions, Settings, UrlBrokerOptions } from '../options.js';
import type { Transport } from '../transport.js';
import { parseAddress } from './amqp-address.js';
import { bindingsBy } from './amqp-bindings.js';
import type { Connect } from './amqp-link.js';
import { AmqpTransport } from './amqp-transport.js';
import { type BrokerSource, type EmbeddedBroker, type EmbeddedSettings, EmbeddedTransport } from './embedded-transport.js';
import { type FolderSettings, FolderTransport } from './folder-transport.js';
import { kafkaTransport } from './kafka/kafka-options.js';
import { checkQuorumSize } from './quorum-size.js';
import { TwoBrokers } from './two-brokers.js';

/** A broker that restarts is back in seconds, so nobody should wait much longer than that for the next try. */
const RECONNECT_FIRST_MS = 100;
const RECONNECT_MAX_MS = 5_000;

/** Whoever takes the place of a process that is gone does so on the same machine. */
const REJOIN_FIRST_MS = 20;
const REJOIN_MAX_MS = 1_000;

/** Of what a service reads in order, when nothing is said. */
const LANES = 8;

const EMBEDDED = 'embedded:';

/** The transport for the broker the settings name; nothing is opened yet. Throws a `MessagingError` whose sentence says what to write instead. */
export function chooseTransport(settings: Settings, log: Log, role: Role = {}): Transport {
  const { broker } = settings;
  if (!('events' in broker)) return transportFor(settings, broker, log, role);
  return new TwoBrokers(transportFor(settings, broker.events, log, role), transportFor(settings, broker.commands, log, role));
}

/** `isGuest`: moves messages of others, which are kept as whoever has the broker of a folder said; another service asks for its own durability. */
export interface Role {
  readonly isGuest?: boolean;
}

function transportFor(settings: Settings, broker: OneBrokerOptions, log: Log, role: Role): Transport {
  if ('broker' in broker) return new EmbeddedTransport(givenBroker(broker.broker), embeddedSettings(settings, broker, log));
  const { url } = broker;
  if (/^amqps?:\/\//.test(url)) return amqpTransport(settings, broker, log);
  if (broker.management !== undefined)
    throw new MessagingError('invalid-options', 'management is for AMQP brokers, whose bindings it tells. Remove it.');
  if (url.startsWith(EMBEDDED)) return embeddedTransport(settings, broker, log, role);
  if (/^kafkas?:\/\//.test(url)) return kafkaTransport(settings, broker, log, loadKafkaLibrary);
  // Only the scheme is repeated: what follows may hold a password.
  const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(url)?.[0];
  throw new MessagingError(
    'unknown-broker',
    `${scheme === undefined ? 'The broker must be a URL, and this has no scheme' : `No transport speaks ${scheme}`}. Use 'embedded:./data' (in this process, kept in a folder), 'embedded:' (in memory), 'amqp://user:password@host:port/vhost' or 'kafka://host:port,host:port'.`,
  );
}

function amqpTransport(settings: Settings, broker: UrlBrokerOptions, log: Log): Transport {
  if (broker.durability !== undefined) {
    throw new MessagingError(
      'invalid-options',
      'durability is for embedded brokers: an AMQP broker decides by itself when it confirms. Remove it.',
    );
  }
  if (broker.kafka !== undefined) throw new MessagingError('invalid-options', 'The settings in kafka are for kafka:// URLs. Remove them.');
  const { service, connectTimeoutMs, clock, random } = settings;
  const queueType = broker.queueType ?? 'quorum';
  return new AmqpTransport({
    address: parseAddress(broker.url),
    service,
    queueType,
    quorumSize: checkQuorumSize(broker.quorumSize, queueType),
    makesNothing: settings.topology === 'check',
    bindings: broker.management === undefined ? undefined : bindingsBy(broker.management, broker.url),
    lanes: broker.lanes ?? LANES,
    connectTimeoutMs,
    loadClient,
    clock,
    random,
    backoff: new Backoff(random, RECONNECT_FIRST_MS, RECONNECT_MAX_MS),
    log,
  });
}

/** Loaded when it is needed: an application on the embedded broker need not install it. */
async function loadClient(): Promise<Connect> {
  try {
    const client = await import('amqplib');
    return client.connect;
  } catch (error) {
    if (!isMissing(error)) throw error;
    const advice = 'A broker at amqp: is reached through the package amqplib, which is not installed: npm install amqplib';
    throw new MessagingError('missing-package', advice, { cause: error });
  }
}

async function loadKafkaLibrary(): Promise<typeof import('@platformatic/kafka')> {
  try {
    return await import('@platformatic/kafka');
  } catch (error) {
    if (!isMissing(error)) throw error;
    const advice =
      'A Kafka cluster is reached through the package @platformatic/kafka, which is not installed: npm install @platformatic/kafka (version 1 on Node 20)';
    throw new MessagingError('missing-package', advice, { cause: error });
  }
}

function givenBroker(broker: object): BrokerSource {
  if (!('session' in broker) || typeof broker.session !== 'function') {
    throw new MessagingError('invalid-options', '{ broker } must hold an open broker: { broker: await Broker.open({ … }) }.');
  }
  const given = broker as EmbeddedBroker;
  return { open: () => Promise.resolve(given), isOurs: false, isDurable: given.durability !== 'memory' };
}

function embeddedTransport(settings: Settings, broker: UrlBrokerOptions, log: Log, role: Role): Transport {
  const { url, durability, queueType, quorumSize } = broker;
  if (quorumSize !== undefined)
    throw new MessagingError('invalid-options', 'quorumSize is for AMQP clusters: the embedded broker is one node. Remove it.');
  if (queueType !== undefined) {
    throw new MessagingError('invalid-options', 'queueType is for AMQP brokers: the embedded broker has one kind of queue. Remove it.');
  }
  const folder = url.slice(EMBEDDED.length);
  if (folder.startsWith('//')) {
    throw new MessagingError(
      'invalid-options',
      "An embedded broker has a folder, not a host: write 'embedded:./data' or 'embedded:/var/lib/data'.",
    );
  }
  if (folder === '' && durability !== undefined && durability !== 'memory') {
    throw new MessagingError(
      'invalid-options',
      `An embedded broker without a folder cannot be durable ('${durability}'): write 'embedded:./data'.`,
    );
  }
  const embedded = embeddedSettings(settings, broker, log);
  if (folder !== '' && durability !== 'memory')
    return folderTransport(settings, { folder, durability: durability ?? 'fsync', ...role }, embedded);
  const open = async (): Promise<EmbeddedBroker> => {
    const { Broker } = await import('@dovecote/broker');
    return Broker.open({ durability: 'memory', log: (line) => log.info(line) });
  };
  return new EmbeddedTransport({ open, isOurs: true, isDurable: false }, embedded);
}

function embeddedSettings({ clock, random }: Settings, { lanes = LANES }: OneBrokerOptions, log: Log): EmbeddedSettings {
  return { lanes, clock, random, log };
}

function folderTransport(
  settings: Settings,
  place: Pick<FolderSettings, 'folder' | 'durability' | 'isGuest'>,
  embedded: EmbeddedSettings,
): Transport {
  const { folder, durability } = place;
  const { service, connectTimeoutMs } = settings;
  const { lanes, clock, random, log } = embedded;
  const { doors } = realGround();
  return new FolderTransport({
    ...place,
    openBroker: async () => {
      const { Broker } = await import('@dovecote/broker');
      return Broker.open({ data: folder, durability, door: true, log: (line) => log.info(line) });
    },
    embeddedTransport: (source) => new EmbeddedTransport(source, embedded),
    findDoor: async () => doors?.find(folder),
    loadClient,
    amqpTransport: (address, load) => {
      const backoff = new Backoff(random, REJOIN_FIRST_MS, REJOIN_MAX_MS);
      const parts = { address, service, queueType: 'quorum', lanes, makesNothing: false, connectTimeoutMs, loadClient: load } as const;
      return new AmqpTransport({ ...parts, clock, random, backoff, log });
    },
    log,
  });
}

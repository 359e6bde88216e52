/**
 * A real broker inside the user's own test: the same code that stands behind the daemon, on a port of its own. Under `memory` nothing of it survives
 * `stop`. Called by whoever writes tests for code that uses AMQP or Kafka today.
 */
import { Broker, type BrokerOptions, type User } from '@dovecote/broker';

/** What a test may ask for; `startBroker()` needs none of it. */
export interface TestBrokerOptions extends Pick<BrokerOptions, 'data' | 'durability' | 'limits' | 'log'> {
  /** Who may log in; the first of them stands in `url`. Default: `guest` with password `guest`. */
  readonly users?: readonly User[];
  /** For AMQP. Default: a free one. Needed only where a broker is started again in the place of the last one. */
  readonly port?: number;
  /** The same for Kafka. */
  readonly kafkaPort?: number;
}

/** A running broker: the real one, in the test's own process, listening on this machine only. */
export interface TestBroker {
  /** For any AMQP 0-9-1 client: `amqp://guest:guest@127.0.0.1:PORT`. */
  readonly url: string;
  readonly port: number;
  /** For any Kafka client, as its bootstrap server: `127.0.0.1:PORT`, without a login. Groups do not wait for more members. */
  readonly kafka: string;
  /** What is in it (`inspect()`), and how to publish and consume without a socket (`session()`). */
  readonly broker: Broker;
  /** Closes connections and broker; resolves when nothing of it is left. A second call waits for the first. */
  readonly stop: () => Promise<void>;
  /** `await using broker = await startBroker()` stops it at the end of the block. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts a broker on a free port within some tens of milliseconds.
 *
 * It keeps nothing (`memory`) unless it is given a `data` folder, and nothing is shared: tests that run side by side each start their own. Rejects
 * with a CodedError: durability without a folder, folder in use, port taken.
 */
export async function startBroker(options: TestBrokerOptions = {}): Promise<TestBroker> {
  const { users = [{ name: 'guest', password: 'guest' }], port = 0, kafkaPort = 0, ...rest } = options;
  const host = '127.0.0.1';
  const kafka = { host, port: kafkaPort, offsetsPartitionCount: 1 };
  const broker = await Broker.open({ ...rest, users, amqp: { host, port }, kafka });
  const stop = (): Promise<void> => broker.close();
  const listening = broker.amqpPort!;
  const login = users[0] === undefined ? '' : `${encodeURIComponent(users[0].name)}:${encodeURIComponent(users[0].password ?? '')}@`;
  const url = `amqp://${login}${host}:${listening}`;
  return { url, port: listening, kafka: `${host}:${broker.kafkaPort!}`, broker, stop, [Symbol.asyncDispose]: stop };
}

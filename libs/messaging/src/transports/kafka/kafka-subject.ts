/**
 * A Kafka cluster for the contract suite: each transport has a client of its own, with hooks to hold back and to refuse. A member that dies is missed when
 * its session is over, which a clock that can jump brings near. For tests only.
 */
import { RealRandom } from '@dovecote/ground';
import * as library from '@platformatic/kafka';
import { Backoff } from '../../backoff.js';
import type { Log } from '../../log.js';
import type { TransportSubject } from '../../transport-contract.js';
import { turn } from '../../turn.js';
import { JumpingClock } from './jumping-clock.js';
import { parseKafkaAddress } from './kafka-address.js';
import { type KafkaClient, KafkaFailure, kafkaCodes } from './kafka-client.js';
import { KafkaTransport, type KafkaTransportSettings } from './kafka-transport.js';
import { PlatformaticClient } from './platformatic-client.js';

/** The shortest that brokers take (`group.min.session.timeout.ms`). */
const SESSION_MS = 6_000;
const JUMP_MS = 1_000;
/** Turns of the event loop in which a member and the broker have time to hear of each other after a jump. */
const TURNS_PER_JUMP = 50;
const RETRY_MS = 5;

export class KafkaSubject implements TransportSubject {
  /** A cluster whose clock is not ours: time passes for it by waiting alone. */
  isForeign = false;
  readonly #run = new RealRandom().bytes(6).toString('hex');
  readonly #transports: KafkaTransport[] = [];
  #confirms: Promise<void> | undefined;
  #isRefusing = false;

  constructor(
    private readonly url: string,
    readonly clock: JumpingClock,
    private readonly afterwards: () => Promise<void> = () => Promise.resolve(),
    private readonly log: Log = silent,
  ) {}

  transport(overrides: Partial<KafkaTransportSettings> = {}): KafkaTransport {
    const address = parseKafkaAddress(this.url);
    const transport = new KafkaTransport({
      service: this.unique('service'),
      shown: address.shown,
      connectTimeoutMs: undefined,
      loadClient: () => {
        const client = new PlatformaticClient(library, { address, clientId: 'contract', acks: 'all', compression: 'none' });
        return Promise.resolve(this.#watched(client));
      },
      topics: { partitions: 4, replicationFactor: -1, configs: {} },
      sessionTimeoutMs: SESSION_MS,
      rebalanceTimeoutMs: SESSION_MS,
      commitEveryMs: 1,
      heartbeatEveryMs: 20,
      discoverEveryMs: 20,
      clock: this.clock,
      random: new RealRandom(),
      backoff: new Backoff(new RealRandom(), RETRY_MS, RETRY_MS),
      log: this.log,
      ...overrides,
    });
    this.#transports.push(transport);
    return transport;
  }

  unique(name: string): string {
    return `contract-${this.#run}-${name}`;
  }

  async crash(transport: KafkaTransport): Promise<void> {
    await transport.abandon();
    await this.pass(SESSION_MS + JUMP_MS);
  }

  /** In steps in which a member has time to say that it is alive. */
  async pass(ms: number): Promise<void> {
    if (this.isForeign) return new Promise((resolve) => void this.clock.after(ms, resolve));
    for (let leftMs = ms; leftMs > 0; leftMs -= JUMP_MS) {
      this.clock.jump(Math.min(leftMs, JUMP_MS));
      for (let count = 0; count < TURNS_PER_JUMP; count++) await turn();
    }
  }

  holdConfirms(): { release(): void } {
    let release = (): void => undefined;
    this.#confirms = new Promise((resolve) => (release = resolve));
    return { release };
  }

  async refusePublishes(): Promise<void> {
    this.#isRefusing = true;
  }

  async close(): Promise<void> {
    for (const transport of this.#transports) await transport.close();
    await this.afterwards();
  }

  #watched(client: KafkaClient): KafkaClient {
    const produce = client.produce.bind(client);
    client.produce = async (records) => {
      if (this.#isRefusing) throw new KafkaFailure('not authorized', kafkaCodes.topicAuthorizationFailed);
      await produce(records);
      await this.#confirms;
    };
    return client;
  }
}

const silent: Log = { info: ignore, warn: ignore, error: ignore };

function ignore(): void {}

/**
 * An AMQP broker for the contract suite and the tests of reconnecting: each transport reaches it through a relay of its own, so that a test can cut
 * its connection, hold back the broker's answers, or keep it from connecting. For tests only.
 */
import { type Clock, RealClock, RealNetwork, RealRandom, type Listener, type Socket } from '@dovecote/ground';
import amqplib from 'amqplib';
import { Backoff } from '../backoff.js';
import type { Log } from '../log.js';
import type { TransportSubject } from '../transport-contract.js';
import { parseAddress } from './amqp-address.js';
import { AmqpTransport } from './amqp-transport.js';
import { laneTopologyOf } from './lanes/lane-topology.js';
import { EVENTS_EXCHANGE, commandQueueOf, deadLettersOf, ownQueueOf, quarantineOf, queueOf, type QueueType } from './topology.js';

/** The first attempt to reconnect comes after this long; short, because a test waits for it. */
const RECONNECT_MS = 5;
/** Few, because a real broker takes its time to make them. */
const LANES = 3;

export class AmqpSubject implements TransportSubject {
  readonly clock: Clock = new RealClock();
  /** How time passes for the broker: by waiting, where it is not one of ours with a clock that leaps. */
  pass = (ms: number): Promise<void> => new Promise((resolve) => void this.clock.after(ms, resolve));
  readonly relays = new Map<AmqpTransport, Relay>();
  readonly #run = new RealRandom().bytes(6).toString('hex');
  readonly #groups = new Set<string>();
  queueType: QueueType = 'quorum';

  private constructor(
    private readonly brokerUrl: string,
    private readonly freeRelays: Relay[],
    private readonly afterwards: () => Promise<void>,
    private readonly log: Log,
  ) {}

  /** Relays are made beforehand, because asking for a transport takes no time. */
  static async open(
    brokerUrl: string,
    afterwards: () => Promise<void> = nothing,
    log: Log = silent,
    relayCount = 24,
  ): Promise<AmqpSubject> {
    const { hostname, port } = new URL(brokerUrl);
    const relays = Array.from({ length: relayCount }, () => Relay.open({ host: hostname, port: Number(port) }));
    return new AmqpSubject(brokerUrl, await Promise.all(relays), afterwards, log);
  }

  transport(overrides: { readonly connectTimeoutMs?: number; readonly queueType?: 'classic' | 'quorum' } = {}): AmqpTransport {
    const relay = this.freeRelays.pop();
    if (relay === undefined) throw new Error('this subject has no relay left: ask for more');
    const url = new URL(this.brokerUrl);
    url.host = `127.0.0.1:${relay.port}`;
    const transport = new AmqpTransport({
      address: parseAddress(url.href),
      service: 'contract',
      queueType: overrides.queueType ?? this.queueType,
      lanes: LANES,
      connectTimeoutMs: overrides.connectTimeoutMs,
      loadClient: () => Promise.resolve(amqplib.connect),
      clock: this.clock,
      random: new RealRandom(),
      backoff: new Backoff(new RealRandom(), RECONNECT_MS, RECONNECT_MS),
      log: this.log,
    });
    this.relays.set(transport, relay);
    return transport;
  }

  unique(name: string): string {
    const unique = `contract-${this.#run}-${name}`;
    this.#groups.add(unique);
    return unique;
  }

  async crash(transport: AmqpTransport): Promise<void> {
    await this.relays.get(transport)?.close();
    await transport.close();
  }

  holdConfirms(): { release(): void } {
    for (const relay of this.relays.values()) relay.holdAnswers();
    return {
      release: () => {
        for (const relay of this.relays.values()) relay.releaseAnswers();
      },
    };
  }

  /** Without its exchange the broker refuses; whoever connects anew declares it again. */
  async refusePublishes(): Promise<void> {
    await this.administer((channel) => channel.deleteExchange(EVENTS_EXCHANGE));
  }

  async administer(task: (channel: amqplib.Channel) => Promise<unknown>): Promise<void> {
    const connection = await amqplib.connect(this.brokerUrl);
    await task(await connection.createChannel());
    await connection.close();
  }

  async close(): Promise<void> {
    for (const transport of this.relays.keys()) await transport.close();
    await this.administer(async (channel) => {
      for (const group of this.#groups) {
        const lanes = laneTopologyOf(group, this.queueType, LANES).filter((declared) => 'name' in declared);
        for (const queue of [queueOf(group), commandQueueOf(group), quarantineOf(group), deadLettersOf(group)])
          await channel.deleteQueue(queue);
        for (const pattern of this.#groups) await channel.deleteQueue(ownQueueOf(group, { kind: 'event', pattern }));
        for (const { thing, name } of lanes) await (thing === 'queue' ? channel.deleteQueue(name) : channel.deleteExchange(name));
      }
    });
    for (const relay of [...this.relays.values(), ...this.freeRelays]) await relay.close();
    await this.afterwards();
  }
}

/** Passes bytes on in both directions, and can stop doing so. */
export class Relay {
  readonly #pairs = new Set<readonly [near: Socket, far: Socket]>();
  readonly #held: (() => void)[] = [];
  #isHolding = false;
  #isRefusing = false;
  /** Connections that were asked for, refused ones included. */
  attempts = 0;

  private constructor(
    private readonly listener: Listener,
    readonly port: number,
  ) {}

  static async open(target: { readonly host: string; readonly port: number }): Promise<Relay> {
    const network = new RealNetwork();
    const opened: { relay?: Relay } = {};
    const listener = await network.listen({ host: '127.0.0.1', port: 0 }, (near) => void opened.relay?.connect(network, target, near));
    opened.relay = new Relay(listener, listener.port);
    return opened.relay;
  }

  /** Cuts every connection through it. */
  cut(): void {
    for (const [near, far] of this.#pairs) {
      near.destroy();
      far.destroy();
    }
    this.#pairs.clear();
    this.#held.length = 0;
  }

  refuse(): void {
    this.#isRefusing = true;
    this.cut();
  }

  accept(): void {
    this.#isRefusing = false;
  }

  holdAnswers(): void {
    this.#isHolding = true;
  }

  releaseAnswers(): void {
    this.#isHolding = false;
    for (const pass of this.#held.splice(0)) pass();
  }

  async close(): Promise<void> {
    this.refuse();
    await this.listener.close();
  }

  private async connect(network: RealNetwork, target: { readonly host: string; readonly port: number }, near: Socket): Promise<void> {
    this.attempts += 1;
    const early: Buffer[] = [];
    let far: Socket | undefined;
    near.start({
      onData: (bytes) => (far === undefined ? void early.push(bytes) : void far.write(bytes)),
      onDrain: () => undefined,
      onClose: () => far?.destroy(),
    });
    if (this.#isRefusing) {
      near.destroy();
      return;
    }
    far = await network.connect(target);
    this.#pairs.add([near, far]);
    far.start({
      onData: (bytes) => this.#answer(() => void near.write(bytes)),
      onDrain: () => undefined,
      onClose: () => near.end(),
    });
    for (const bytes of early) far.write(bytes);
  }

  #answer(pass: () => void): void {
    if (this.#isHolding) this.#held.push(pass);
    else pass();
  }
}

const silent: Log = { info: ignore, warn: ignore, error: ignore };

function ignore(): void {}

function nothing(): Promise<void> {
  return Promise.resolve();
}

/** The broker in this process for the contract suite, with hooks to hold back and to refuse. For tests only. */
import { Broker, type BrokerSession } from '@dovecote/broker';
import { RealRandom, realGround } from '@dovecote/ground';
import type { Log } from '../log.js';
import type { Transport } from '../transport.js';
import type { TransportSubject } from '../transport-contract.js';
import { EmbeddedTransport } from './embedded-transport.js';
import { JumpingClock } from './kafka/jumping-clock.js';
import { EVENTS_EXCHANGE } from './topology.js';

const LANES = 3;

export class EmbeddedSubject implements TransportSubject {
  readonly #sessions = new Map<Transport, BrokerSession[]>();
  #confirms: Promise<void> | undefined;

  private constructor(
    readonly broker: Broker,
    private readonly clock: JumpingClock,
  ) {}

  static async open(): Promise<EmbeddedSubject> {
    const clock = new JumpingClock();
    return new EmbeddedSubject(await Broker.open({ durability: 'memory', ground: { ...realGround(), clock } }), clock);
  }

  transport(): Transport {
    const { broker } = this;
    const session = (): BrokerSession => this.#watched(transport, broker.session());
    const watched = { durability: broker.durability, ended: broker.ended, session, close: () => broker.close() };
    const transport: Transport = new EmbeddedTransport(
      { open: () => Promise.resolve(watched), isOurs: false, isDurable: false },
      { lanes: LANES, clock: this.clock, random: new RealRandom(), log: silent },
    );
    return transport;
  }

  unique(name: string): string {
    return name;
  }

  /** The queues cannot tell the end of a session from the end of its process. */
  async crash(transport: Transport): Promise<void> {
    for (const session of this.#sessions.get(transport) ?? []) await session.close();
    await transport.close();
  }

  holdConfirms(): { release(): void } {
    let release = (): void => undefined;
    this.#confirms = new Promise((resolve) => (release = resolve));
    return { release };
  }

  pass(ms: number): Promise<void> {
    return this.clock.pass(ms);
  }

  async refusePublishes(): Promise<void> {
    const session = this.broker.session();
    await session.deleteExchange(EVENTS_EXCHANGE);
    await session.close();
  }

  async close(): Promise<void> {
    await this.broker.close();
  }

  #watched(transport: Transport, session: BrokerSession): BrokerSession {
    this.#sessions.set(transport, [...(this.#sessions.get(transport) ?? []), session]);
    const publish = session.publish.bind(session);
    session.publish = async (message) => {
      const outcome = await publish(message);
      await this.#confirms;
      return outcome;
    };
    const publishTelling = session.publishTelling.bind(session);
    session.publishTelling = (message, answer) =>
      publishTelling(message, {
        confirmed: (outcome) => void Promise.resolve(this.#confirms).then(() => answer.confirmed(outcome)),
        refused: (error) => answer.refused(error),
      });
    return session;
  }
}

const silent: Log = { info: ignore, warn: ignore, error: ignore };

function ignore(): void {}

/**
 * Two brokers as one: events on the one; commands, queries and their answers on the other. The boxes of a kind (inbox, quarantine, dead letters), what is
 * delayed and what is parked are where the kind is. Each broker is reached, lost and found again by itself: while one is away, the other goes on.
 *
 * A group subscribes on both, whichever kinds it takes, so that its boxes are there on both.
 */
import type { Envelope, MessageKind } from '../envelope.js';
import type { Parked, ParkingStore, Released } from '../parking-store.js';
import type {
  Box,
  Capability,
  Incoming,
  KindOfBroker,
  Lack,
  Lane,
  OpenBox,
  PlannedThing,
  Route,
  SubscriptionRequest,
  Transport,
  TransportCapabilities,
  TransportConsumer,
  TransportSubscription,
} from '../transport.js';

export class TwoBrokers implements Transport {
  readonly capabilities: TransportCapabilities;
  readonly byKind: Readonly<Record<KindOfBroker, Transport>>;
  /** Lanes of two brokers may have the same name: those that were assigned here are known by themselves. */
  readonly #ofCommands = new WeakSet<Lane>();
  /** By the name of its lane: whether the dead letter that was looked at last is one of commands. Whoever releases it has just looked at it. */
  readonly #lettersOfCommands = new Map<string, boolean>();

  constructor(
    private readonly events: Transport,
    private readonly commands: Transport,
  ) {
    this.capabilities = together(events.capabilities, commands.capabilities);
    this.byKind = { event: events, command: commands };
  }

  async open(): Promise<void> {
    await Promise.all([this.events.open(), this.commands.open()]);
  }

  publish(envelope: Envelope, deadlineMs: number, route?: Route): Promise<void> {
    return this.#of(envelope.kind).publish(envelope, deadlineMs, route);
  }

  async plan(request: SubscriptionRequest): Promise<readonly PlannedThing[]> {
    const { events, commands } = this;
    const planned = await Promise.all([events.plan(ofEvents(request)), commands.plan(ofCommands(request))]);
    return planned.flatMap((things, index) => {
      const kinds = index === 0 ? 'events' : 'commands';
      return things.map((one) => ({ ...one, thing: `${one.thing} (${kinds})` }));
    });
  }

  async subscribe(request: SubscriptionRequest, consumer: TransportConsumer): Promise<TransportSubscription> {
    const { events, commands } = this;
    const subscriptions = await Promise.all([
      events.subscribe(ofEvents(request), consumer),
      commands.subscribe(ofCommands(request), this.#noting(consumer)),
    ]);
    return { stop: () => all(subscriptions.map((one) => () => one.stop())) };
  }

  openReplies(onReply: (reply: Envelope) => void): Promise<string> {
    return this.commands.openReplies(onReply);
  }

  async openBox(box: Box): Promise<OpenBox> {
    const first = await this.events.openBox(box);
    try {
      return new TwoBoxes(first, await this.commands.openBox(box), (lane, isOfCommands) => this.#lettersOfCommands.set(lane, isOfCommands));
    } catch (error) {
      await first.close();
      throw error;
    }
  }

  parkingStore(group: string): ParkingStore | undefined {
    const [events, commands] = [this.events.parkingStore(group), this.commands.parkingStore(group)];
    if (events === undefined || commands === undefined) return events ?? commands;
    return new TwoStores(
      (lane) => (this.#ofCommands.has(lane) ? commands : events),
      (name) => (this.#lettersOfCommands.get(name) === true ? commands : events),
    );
  }

  async close(): Promise<void> {
    await all([() => this.events.close(), () => this.commands.close()]);
  }

  #of(kind: MessageKind): Transport {
    return kind === 'event' ? this.events : this.commands;
  }

  #noting(consumer: TransportConsumer): TransportConsumer {
    return {
      onMessage: (incoming) => consumer.onMessage(incoming),
      assigned: (lane) => {
        this.#ofCommands.add(lane);
        return consumer.assigned(lane);
      },
      revoked: (lane, isLost) => consumer.revoked(lane, isLost),
    };
  }
}

/** First what is on the broker of events, then what is on the other. */
class TwoBoxes implements OpenBox {
  #isFirstEmpty = false;

  constructor(
    private readonly events: OpenBox,
    private readonly commands: OpenBox,
    private readonly onLetter: (lane: string, isOfCommands: boolean) => void,
  ) {}

  get left(): number | undefined {
    if (this.#isFirstEmpty) return this.commands.left;
    return this.events.left === undefined || this.commands.left === undefined ? undefined : this.events.left + this.commands.left;
  }

  async next(): Promise<Incoming | undefined> {
    const first = this.#isFirstEmpty ? undefined : await this.events.next();
    this.#isFirstEmpty = first === undefined;
    const incoming = first ?? (await this.commands.next());
    const trail = incoming === undefined || 'problem' in incoming.envelope ? undefined : incoming.envelope.trail;
    if (trail?.death?.parked !== undefined) this.onLetter(trail.death.parked.lane, first === undefined);
    return incoming;
  }

  async close(): Promise<void> {
    await all([() => this.events.close(), () => this.commands.close()]);
  }
}

class TwoStores implements ParkingStore {
  constructor(
    private readonly of: (lane: Lane) => ParkingStore,
    private readonly named: (lane: string) => ParkingStore,
  ) {}

  restore(lane: Lane, onRelease: (released: Released) => void): Promise<readonly Parked[]> {
    return this.of(lane).restore(lane, onRelease);
  }

  park(lane: Lane, parked: Parked): Promise<void> {
    return this.of(lane).park(lane, parked);
  }

  update(lane: Lane, parked: Parked): Promise<void> {
    return this.of(lane).update(lane, parked);
  }

  resolve(lane: Lane, sequence: number): Promise<void> {
    return this.of(lane).resolve(lane, sequence);
  }

  leave(lane: Lane): Promise<void> {
    return this.of(lane).leave(lane);
  }

  release(lane: string, released: Released): Promise<void> {
    return this.named(lane).release(lane, released);
  }
}

function ofEvents(request: SubscriptionRequest): SubscriptionRequest {
  return { ...request, sources: request.sources.filter(({ kind }) => kind === 'event') };
}

function ofCommands(request: SubscriptionRequest): SubscriptionRequest {
  return { ...request, sources: request.sources.filter(({ kind }) => kind !== 'event') };
}

/** What both can. */
function together(event: TransportCapabilities, command: TransportCapabilities): TransportCapabilities {
  const can: Partial<Record<Capability, true | Lack>> = {};
  for (const capability of Object.keys(event.can) as Capability[])
    can[capability] = event.can[capability] === true ? command.can[capability] : event.can[capability];
  return {
    broker: `${event.broker} for events and ${command.broker} for commands`,
    can: can as Readonly<Record<Capability, true | Lack>>,
  };
}

/** One that fails does not keep the others from their end; its error comes after that. */
async function all(ends: readonly (() => Promise<void>)[]): Promise<void> {
  const outcomes = await Promise.allSettled(ends.map((end) => end()));
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}

import { describe, expect, it } from '@jest/globals';
import { SeededRandom, SimulatedClock } from '@dovecote/ground/testing';
import { Backoff } from './backoff.js';
import { Consumption } from './consumption.js';
import { contractOf } from './delivery-contract.js';
import { plainEvent } from './envelope.js';
import { EventMessage } from './event-message.decorator.js';
import { eventDefinitionOf } from './event-definition.js';
import type { Log } from './log.js';
import type { Subscription } from './subscription.js';
import type { Incoming } from './transport.js';

@EventMessage('orders.order-placed')
class OrderPlaced {
  constructor(readonly orderId: string) {}
}

/** A delivery that writes down what becomes of it. */
class Delivery implements Incoming {
  isTakenBack = false;
  readonly isRedelivered = false;
  readonly deliveries = 1;
  readonly isQuarantined = false;
  readonly lane = undefined;
  readonly envelope: Incoming['envelope'];

  constructor(
    readonly id: string,
    private readonly facts: string[],
  ) {
    const fixed = {
      type: 'orders.order-placed',
      source: 'shop',
      time: undefined,
      key: undefined,
      version: 1,
      contentType: 'application/json',
    };
    this.envelope = { ...plainEvent, ...fixed, id, body: Buffer.from(JSON.stringify({ orderId: id })) };
  }

  acknowledge(): void {
    this.facts.push(`${this.id} acknowledged`);
  }

  release(): void {
    this.facts.push(`${this.id} released`);
  }
}

function bench(concurrency: number): {
  readonly clock: SimulatedClock;
  readonly facts: string[];
  readonly consumption: Consumption;
  readonly finish: Map<string, (error?: Error) => void>;
  readonly arrive: (...ids: string[]) => Delivery[];
} {
  const clock = new SimulatedClock();
  const facts: string[] = [];
  const finish = new Map<string, (error?: Error) => void>();
  const handle = (event: object): Promise<unknown> => {
    const { orderId } = event as OrderPlaced;
    facts.push(`${orderId} started`);
    return new Promise<void>((resolve, reject) => finish.set(orderId, (error) => (error === undefined ? resolve() : reject(error))));
  };
  const subscription: Subscription = {
    eventClass: OrderPlaced,
    definition: eventDefinitionOf(OrderPlaced)!,
    contract: contractOf({ concurrency }, 'Notifications.notify'),
    place: 'Notifications.notify',
    handle,
  };
  const silent: Log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const consumption = new Consumption('notifications', [subscription], clock, new Backoff(new SeededRandom(1), 100, 30_000), silent);
  const arrive = (...ids: string[]): Delivery[] => {
    const deliveries = ids.map((id) => new Delivery(id, facts));
    for (const delivery of deliveries) consumption.receive(delivery);
    return deliveries;
  };
  return { clock, facts, consumption, finish, arrive };
}

describe('what becomes of a delivery', () => {
  it('waits for a free place, and is not started when the broker took it back meanwhile', async () => {
    const { clock, facts, finish, arrive } = bench(1);
    const [, second] = arrive('a', 'b', 'c');
    second!.isTakenBack = true;
    finish.get('a')!();
    await clock.advance(0);
    expect(facts).toEqual(['a started', 'a acknowledged', 'c started']);
  });

  it('is held for its backoff and released then, not before, while its place is free for the next', async () => {
    const { clock, facts, finish, arrive } = bench(1);
    arrive('a', 'b');
    finish.get('a')!(new Error('no'));
    await clock.advance(99);
    expect(facts).toEqual(['a started', 'b started']);
    await clock.advance(101);
    expect(facts).toEqual(['a started', 'b started', 'a released']);
  });

  it('goes back at once when the service stops: waiting, held, or come too late; the running one is waited for', async () => {
    const { clock, facts, consumption, finish, arrive } = bench(2);
    arrive('failed', 'running', 'waiting');
    finish.get('failed')!(new Error('no'));
    await clock.advance(0);
    arrive('also waiting');
    facts.length = 0;
    let isDrained = false;
    const drained = consumption.drain(1_000, 1_000).then(() => (isDrained = true));
    arrive('late');
    expect(facts.toSorted()).toEqual(['also waiting released', 'failed released', 'late released']);
    finish.get('waiting')!(new Error('no'));
    await clock.advance(10);
    expect(isDrained).toBe(false);
    finish.get('running')!();
    await drained;
    expect(facts.slice(3)).toEqual(['waiting released', 'running acknowledged']);
    expect(clock.monotonicMs()).toBe(10);
  });
});

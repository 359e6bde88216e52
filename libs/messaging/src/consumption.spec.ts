/** What becomes of deliveries, step by step: no broker and no Nest, time only as the test moves it. */
import { describe, expect, it } from '@jest/globals';
import { SeededRandom, SimulatedClock } from '@dovecote/ground/testing';
import { Backoff } from './backoff.js';
import { Consumption } from './consumption.js';
import { type DeliveryOptions, contractOf } from './delivery-contract.js';
import { type Envelope, type Trail, plainEvent } from './envelope.js';
import { EventMessage } from './message.decorator.js';
import { Identifiers } from './identifiers.js';
import type { Log } from './log.js';
import type { Message } from './message.js';
import { Codecs } from './message-codec.js';
import { Payloads } from './payloads.js';
import { RecentMessages } from './policies/deduplication.js';
import type { StandardSchema } from './policies/validation.js';
import { Settlement } from './settlement.js';
import type { Subscription } from './subscription.js';
import type { Incoming, Route, TransportCapabilities, UnreadableEnvelope } from './transport.js';

const isShort: StandardSchema = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value) => {
      const { orderId } = value as OrderPlaced;
      return orderId.length < 20 ? { value } : { issues: [{ message: 'is too long', path: ['orderId'] }] };
    },
  },
};

@EventMessage('orders.order-placed', { schema: isShort })
class OrderPlaced {
  constructor(readonly orderId: string) {}
}

/** A delivery that writes down what becomes of it. */
class Delivery implements Incoming {
  isTakenBack = false;
  isRedelivered = false;
  deliveries = 1;
  isQuarantined = false;
  readonly lane = undefined;
  envelope: Envelope | UnreadableEnvelope;

  constructor(
    readonly id: string,
    private readonly facts: string[],
  ) {
    const fixed = {
      ...plainEvent,
      type: 'orders.order-placed',
      source: 'shop',
      time: undefined,
      key: undefined,
      version: 1,
      contentType: 'application/json',
    };
    this.envelope = { ...fixed, id, body: Buffer.from(JSON.stringify({ orderId: id })) };
  }

  acknowledge(): void {
    this.facts.push(`${this.id} acknowledged`);
  }

  release(): void {
    this.facts.push(`${this.id} released`);
  }
}

interface Published {
  readonly envelope: Envelope;
  readonly route: Route | undefined;
}

class Bench {
  readonly clock = new SimulatedClock();
  readonly facts: string[] = [];
  readonly lines: string[] = [];
  readonly published: Published[] = [];
  readonly finish = new Map<string, (error?: Error) => void>();
  readonly messages: Message[] = [];
  readonly consumption: Consumption;
  /** Answers the next publishes. */
  refusal: Error | undefined;

  constructor(options: DeliveryOptions = {}, countsDeliveries = true, delays = true) {
    const note = (line: string): void => void this.lines.push(line);
    const log: Log = { info: note, warn: note, error: note };
    const random = new SeededRandom(1);
    const subscription: Subscription = {
      kind: 'event',
      pattern: 'orders.order-placed',
      topic: undefined,
      messageClass: OrderPlaced,
      schema: isShort,
      contract: contractOf(options, 'Notifications.notify'),
      place: 'Notifications.notify',
      handle: (event, message) => this.#handle(event as OrderPlaced, message),
    };
    const can = { delay: delays || { waysOut: [] }, 'dead-letters': true } as TransportCapabilities['can'];
    const transport = {
      capabilities: { broker: 'test', can },
      publish: (envelope: Envelope, _ms: number, route?: Route) => this.#take(envelope, route),
    };
    const backoff = new Backoff(random, 100, 30_000);
    const settlement = new Settlement('notifications', transport, this.clock, backoff, new Identifiers(this.clock, random), log);
    const payloads = new Payloads(new Codecs([]));
    const parts = {
      settlement,
      payloads,
      deduplication: new RecentMessages(),
      countsDeliveries,
      tracksCauses: true,
      clock: this.clock,
      random,
      log,
    };
    this.consumption = new Consumption([subscription], parts);
  }

  arrive(...ids: string[]): Delivery[] {
    return ids.map((id) => this.arriveAs(id, {}));
  }

  arriveAs(id: string, change: Partial<Delivery>, envelope: Partial<Envelope> = {}): Delivery {
    const delivery = Object.assign(new Delivery(id, this.facts), change);
    delivery.envelope = { ...delivery.envelope, ...envelope } as Envelope;
    this.consumption.receive(delivery);
    return delivery;
  }

  /** What was published since the last look. */
  take(): { readonly to: string; readonly delayMs: number | undefined; readonly trail: Trail | undefined; readonly id: string }[] {
    return this.published.splice(0).map(({ envelope, route }) => {
      return { id: envelope.id, to: `${route?.to?.group} ${route?.to?.box}`, delayMs: route?.delayMs, trail: envelope.trail };
    });
  }

  async turn(): Promise<void> {
    await this.clock.advance(0);
  }

  #handle({ orderId }: OrderPlaced, message: Message): Promise<unknown> {
    this.facts.push(`${orderId} started`);
    this.messages.push(message);
    return new Promise<void>((resolve, reject) => this.finish.set(orderId, (error) => (error === undefined ? resolve() : reject(error))));
  }

  #take(envelope: Envelope, route: Route | undefined): Promise<void> {
    if (this.refusal !== undefined) return Promise.reject(this.refusal);
    this.published.push({ envelope, route });
    return Promise.resolve();
  }
}

describe('what becomes of a delivery', () => {
  it('waits for a free place, and is not started when the broker took it back meanwhile', async () => {
    const bench = new Bench({ concurrency: 1 });
    const [, second] = bench.arrive('a', 'b', 'c');
    second!.isTakenBack = true;
    bench.finish.get('a')!();
    await bench.turn();
    expect(bench.facts).toEqual(['a started', 'a acknowledged', 'b released', 'c started']);
  });

  it('comes again after growing pauses with its history, acknowledged only when that is published, and is a dead letter in the end', async () => {
    const bench = new Bench({ retry: { attempts: 4, firstMs: 1_000, maxMs: 3_000 } });
    let trail: Trail | undefined;
    const delays: number[] = [];
    for (let attempt = 1; attempt <= 3; attempt++) {
      bench.arriveAs('a', {}, { trail });
      bench.finish.get('a')!(new Error(`down ${attempt}`));
      await bench.turn();
      const [next, ...others] = bench.take();
      expect([next!.to, others]).toEqual(['notifications inbox', []]);
      delays.push(next!.delayMs!);
      trail = next!.trail;
    }
    delays.forEach((delayMs, index) => {
      expect(delayMs).toBeGreaterThan(0);
      expect(delayMs).toBeLessThanOrEqual([1_000, 2_000, 3_000][index]!);
    });
    bench.arriveAs('a', {}, { trail });
    bench.finish.get('a')!(new Error('down 4'));
    await bench.turn();
    const [dead] = bench.take();
    expect(dead).toMatchObject({ to: 'notifications dead-letters', delayMs: undefined });
    expect(dead!.trail).toMatchObject({
      failures: 4,
      history: [1, 2, 3, 4].map((attempt) => ({ reason: `down ${attempt}` })),
      death: { cause: 'attempts', reason: 'down 4', group: 'notifications', handler: 'Notifications.notify' },
    });
    expect(bench.facts.filter((fact) => fact === 'a acknowledged')).toHaveLength(4);
    expect(bench.lines.at(-1)).toBe(
      "Notifications.notify failed on orders.order-placed a: down 4. That was attempt 4, the last one. It is among the dead letters of 'notifications' now.",
    );
  });

  it('is decided by its error: fatal ones go to the dead letters at once, others wait as they say', async () => {
    class CardRefused extends Error {}
    const byError = (error: unknown): { afterMs: number } | 'dead' | undefined => {
      const { message } = error as Error;
      return message === 'busy' ? { afterMs: 7_000 } : message === 'gone' ? 'dead' : undefined;
    };
    const bench = new Bench({ retry: { fatal: [CardRefused], byError } });
    const outcomes: unknown[] = [];
    for (const error of [
      new CardRefused('no'),
      Object.assign(new Error('never'), { retryable: false }),
      new Error('gone'),
      new Error('busy'),
    ]) {
      bench.arrive('a');
      bench.finish.get('a')!(error);
      await bench.turn();
      for (const { to, delayMs, trail } of bench.take()) outcomes.push([to, delayMs, trail?.death?.cause]);
    }
    expect(outcomes).toEqual([
      ['notifications dead-letters', undefined, 'fatal'],
      ['notifications dead-letters', undefined, 'fatal'],
      ['notifications dead-letters', undefined, 'fatal'],
      ['notifications inbox', 7_000, undefined],
    ]);
  });

  it('is tried again at once where that is asked for, as often as its attempts say and no more', async () => {
    const bench = new Bench({ retry: { attempts: 3, backoff: 'immediate' } });
    bench.arrive('a');
    for (let attempt = 1; attempt <= 3; attempt++) {
      expect(bench.facts).toHaveLength(attempt);
      bench.finish.get('a')!(new Error('no'));
      await bench.turn();
    }
    expect(bench.facts).toEqual(['a started', 'a started', 'a started', 'a acknowledged']);
    expect(bench.take()).toMatchObject([{ to: 'notifications dead-letters', trail: { failures: 3 } }]);
  });

  it('without dead letters comes again without end, never more often than its longest pause', async () => {
    const bench = new Bench({ deadLetters: false, retry: { attempts: 2, maxMs: 9_000, fatal: [Error] } });
    bench.arriveAs('a', {}, { trail: { failures: 40, starts: 0, history: [], death: undefined } });
    bench.finish.get('a')!(new Error('no'));
    await bench.turn();
    expect(bench.take()).toMatchObject([{ to: 'notifications inbox', delayMs: 9_000, trail: { failures: 41 } }]);
  });

  it('is held and released after a backoff where the broker does not take it elsewhere', async () => {
    const bench = new Bench();
    bench.refusal = new Error('disk full');
    bench.arrive('a');
    bench.finish.get('a')!(new Error('no'));
    await bench.clock.advance(99);
    expect(bench.facts).toEqual(['a started']);
    await bench.clock.advance(101);
    expect(bench.facts).toEqual(['a started', 'a released']);
    expect(bench.lines.at(-1)).toContain('the broker did not take it elsewhere: disk full');
  });

  it('waits here, unacknowledged, where the broker cannot keep it, and is a dead letter after its attempts all the same', async () => {
    const bench = new Bench({ retry: { attempts: 2, backoff: 'delayed', firstMs: 400 } }, true, false);
    bench.arrive('a', 'b');
    for (const id of ['a', 'b']) bench.finish.get(id)!(new Error('no'));
    await bench.clock.advance(399);
    expect([bench.facts, bench.take()]).toEqual([['a started', 'b started'], []]);
    await bench.clock.advance(1);
    expect(bench.facts.slice(2)).toEqual(['a started', 'b started']);
    bench.finish.get('a')!(new Error('no'));
    bench.finish.get('b')!();
    await bench.turn();
    expect(bench.facts.slice(4).toSorted()).toEqual(['a acknowledged', 'b acknowledged']);
    expect(bench.take()).toMatchObject([{ id: 'a', to: 'notifications dead-letters', trail: { failures: 2 } }]);
  });

  it('is gone after one attempt where it is handed out at most once', async () => {
    const bench = new Bench({ delivery: 'at-most-once' });
    bench.arrive('a');
    expect(bench.facts).toEqual(['a acknowledged', 'a started']);
    bench.finish.get('a')!(new Error('no'));
    await bench.turn();
    expect([bench.take(), bench.facts.length]).toEqual([[], 2]);
    expect(bench.lines.at(-1)).toContain('so it is gone');
  });

  it('goes back at once when the service stops: waiting, or come too late; the running one is waited for, and its failure published', async () => {
    const bench = new Bench({ concurrency: 1 });
    bench.arrive('running', 'waiting');
    let isDrained = false;
    const drained = bench.consumption.drain(1_000, 1_000).then(() => (isDrained = true));
    bench.arrive('late');
    expect(bench.facts).toEqual(['running started', 'waiting released', 'late released']);
    await bench.clock.advance(10);
    expect(isDrained).toBe(false);
    bench.finish.get('running')!(new Error('no'));
    await drained;
    expect(bench.facts.slice(3)).toEqual(['running acknowledged']);
    expect(bench.take()).toMatchObject([{ to: 'notifications inbox', trail: { failures: 1 } }]);
    expect(bench.clock.monotonicMs()).toBe(10);
  });

  it('that was told to stop and does is given back, and has not failed', async () => {
    const bench = new Bench();
    bench.arrive('a');
    bench.messages[0]!.signal.addEventListener('abort', () => bench.finish.get('a')!(new Error('stopped')));
    await bench.clock.drive(bench.consumption.drain(1_000, 1_000));
    expect(bench.facts).toEqual(['a started', 'a released']);
    expect(bench.take()).toEqual([]);
  });
});

describe('what nobody can handle', () => {
  it('is a dead letter at once where it cannot be read, does not fit its schema, or expired', async () => {
    const bench = new Bench();
    bench.arriveAs('torn', {}, { body: Buffer.from('{"orderId":') });
    bench.arrive('an-order-id-that-is-far-too-long');
    bench.arriveAs('late', {}, { expiresAtMs: bench.clock.now() });
    bench.arriveAs('question', {}, { kind: 'query', expiresAtMs: bench.clock.now() });
    bench.arriveAs('odd', {}, { problem: 'it has no id', id: undefined } as never);
    await bench.turn();
    const dead = bench.take();
    expect(dead.map(({ to, trail }) => [to, trail?.death?.cause])).toEqual([
      ['notifications dead-letters', 'unreadable'],
      ['notifications dead-letters', 'expired'],
      ['notifications dead-letters', 'unreadable'],
      ['notifications dead-letters', 'unreadable'],
    ]);
    expect(dead.find(({ id }) => id.startsWith('an-'))!.trail!.death!.reason).toBe(
      'its payload does not fit its schema (orderId: is too long)',
    );
    expect(bench.facts.toSorted()).toEqual(
      ['torn', 'an-order-id-that-is-far-too-long', 'late', 'question', 'odd'].map((id) => `${id} acknowledged`).toSorted(),
    );
  });

  it('and has no handler here waits for a newer instance first', async () => {
    const bench = new Bench();
    bench.arriveAs('a', {}, { type: 'orders.order-lost' });
    await bench.turn();
    expect(bench.take()).toMatchObject([{ to: 'notifications inbox', trail: { failures: 1 } }]);
    bench.arriveAs('a', {}, { type: 'orders.order-lost', trail: { failures: 4, starts: 0, history: [], death: undefined } });
    await bench.turn();
    expect(bench.take()).toMatchObject([
      { to: 'notifications dead-letters', trail: { death: { cause: 'unhandled', handler: undefined } } },
    ]);
  });
});

describe('a message that ends the process', () => {
  const again = { isRedelivered: true };

  it('is put into quarantine when it came too often, before its handler begins', async () => {
    const bench = new Bench();
    bench.arriveAs('a', { ...again, deliveries: 3 });
    bench.arriveAs('b', { ...again, deliveries: 4 });
    await bench.turn();
    expect(bench.facts).toEqual(['a started', 'b acknowledged']);
    expect(bench.take()).toMatchObject([{ id: 'b', to: 'notifications quarantine', delayMs: undefined }]);
  });

  it('is suspected the first time it comes again where the broker does not count', async () => {
    const bench = new Bench({}, false);
    bench.arriveAs('a', { ...again, deliveries: 2 });
    await bench.turn();
    expect(bench.take()).toMatchObject([{ to: 'notifications quarantine' }]);
  });

  it('is handled in quarantine as anywhere, and buried when its process ended there three times', async () => {
    for (const deliveries of [1, 2, 3]) {
      const bench = new Bench();
      bench.arriveAs('a', { isQuarantined: true, isRedelivered: deliveries > 1, deliveries });
      bench.finish.get('a')!();
      await bench.turn();
      expect([bench.facts, bench.take()]).toEqual([['a started', 'a acknowledged'], []]);
    }
    const bench = new Bench();
    bench.arriveAs('a', { isQuarantined: true, ...again, deliveries: 4 });
    await bench.turn();
    expect(bench.facts).toEqual(['a acknowledged']);
    expect(bench.take()).toMatchObject([{ to: 'notifications dead-letters', trail: { death: { cause: 'poisoned' } } }]);
  });

  it('is counted in the message itself where the broker does not count, and innocents beside it are not', async () => {
    let trail: Trail | undefined;
    for (let end = 1; end <= 2; end++) {
      const bench = new Bench({}, false);
      bench.arriveAs('a', { isQuarantined: true, ...again, deliveries: 2 }, { trail });
      bench.arriveAs('beside', { isQuarantined: true });
      await bench.turn();
      expect(bench.facts).toEqual(['beside started', 'a acknowledged']);
      const [noted] = bench.take();
      expect(noted).toMatchObject({ to: 'notifications quarantine', trail: { starts: end } });
      trail = noted!.trail;
      bench.arriveAs('a', { isQuarantined: true }, { trail });
      expect(bench.facts.at(-1)).toBe('a started');
    }
    const bench = new Bench({}, false);
    bench.arriveAs('a', { isQuarantined: true, ...again, deliveries: 2 }, { trail });
    await bench.turn();
    expect(bench.take()).toMatchObject([{ to: 'notifications dead-letters', trail: { death: { cause: 'poisoned' } } }]);
  });
});

describe('policies around a handler', () => {
  it('end an attempt that takes too long, and abort its signal', async () => {
    const bench = new Bench({ timeoutMs: 500 });
    bench.arrive('slow', 'quick');
    bench.finish.get('quick')!();
    await bench.clock.advance(499);
    expect(bench.messages.map(({ signal }) => signal.aborted)).toEqual([false, false]);
    await bench.clock.advance(1);
    expect(bench.messages.map(({ signal }) => signal.aborted)).toEqual([true, false]);
    expect(bench.take()).toMatchObject([
      { id: 'slow', to: 'notifications inbox', trail: { history: [{ reason: 'it was not done within 500 ms' }] } },
    ]);
    bench.finish.get('slow')!();
    await bench.turn();
    expect(bench.facts.slice(2)).toEqual(['quick acknowledged', 'slow acknowledged']);
  });

  it('start no more than a rate allows, in any stretch of time', async () => {
    const bench = new Bench({ rate: { count: 2, perMs: 1_000 } });
    const starts = (): number => bench.facts.filter((fact) => fact.endsWith('started')).length;
    bench.arrive('a');
    await bench.clock.advance(600);
    bench.arrive('b', 'c', 'd');
    expect(starts()).toBe(2);
    await bench.clock.advance(399);
    expect(starts()).toBe(2);
    await bench.clock.advance(1);
    expect(starts()).toBe(3);
    await bench.clock.advance(599);
    expect(starts()).toBe(3);
    await bench.clock.advance(1);
    expect(starts()).toBe(4);
  });

  it('rest a handler that fails and fails, let one message try, and go on when that works', async () => {
    const bench = new Bench({ circuitBreaker: { failures: 2, restMs: 5_000 } });
    bench.arrive('a', 'b', 'c');
    for (const id of ['a', 'b', 'c']) bench.finish.get(id)!(new Error('down'));
    await bench.turn();
    bench.facts.length = 0;
    bench.arrive('d', 'e', 'f');
    await bench.clock.advance(4_999);
    expect(bench.facts).toEqual([]);
    await bench.clock.advance(1);
    expect(bench.facts).toEqual(['d started']);
    bench.finish.get('d')!(new Error('still down'));
    await bench.clock.advance(5_000);
    expect(bench.facts).toEqual(['d started', 'd acknowledged', 'e started']);
    bench.finish.get('e')!();
    await bench.turn();
    expect(bench.facts.slice(3)).toEqual(['e acknowledged', 'f started']);
    expect(bench.lines.filter((line) => line.includes('in a row: it rests for 5000 ms'))).toHaveLength(2);
  });

  it('pass over what is done already, and handle again what failed', async () => {
    const bench = new Bench({ deduplicate: true });
    for (const outcome of [new Error('no'), undefined]) {
      bench.arrive('a');
      await bench.turn();
      bench.finish.get('a')!(outcome);
      await bench.turn();
    }
    bench.arrive('a');
    await bench.turn();
    expect(bench.facts).toEqual(['a started', 'a acknowledged', 'a started', 'a acknowledged', 'a acknowledged']);
  });
});

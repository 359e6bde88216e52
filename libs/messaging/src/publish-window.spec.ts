import { describe, expect, it } from '@jest/globals';
import { SeededRandom, SimulatedClock } from '@dovecote/ground/testing';
import { Backoff } from './backoff.js';
import { type Envelope, plainEvent } from './envelope.js';
import { MessagingError } from './errors.js';
import { FailureCounts } from './failure-counts.js';
import { Fifo } from './fifo.js';
import { Identifiers } from './identifiers.js';
import { FAILURES_REMEMBERED_MAX } from './limits.js';
import { PublishWindow } from './publish-window.js';
import { fromProperties, toProperties } from './transports/cloud-events.js';

const TIMEOUT_MS = 30_000;
const limits = { inFlightMax: 3, inFlightBytesMax: 100, waitingMax: 4, waitingBytesMax: 1_000 };

function envelope(id: string, bytes = 1): Envelope {
  const fixed = {
    type: 'placed',
    source: 'shop',
    time: undefined,
    key: undefined,
    version: 1,
    contentType: 'application/json',
  };
  return { ...plainEvent, ...fixed, id, body: Buffer.alloc(bytes) };
}

/** A broker that answers when the test says so. */
class SlowBroker {
  readonly taken: string[] = [];
  readonly #answers = new Map<string, { confirm: () => void; refuse: (error: Error) => void }>();

  readonly send = ({ id }: Envelope): Promise<void> => {
    this.taken.push(id);
    return new Promise((confirm, refuse) => this.#answers.set(id, { confirm, refuse }));
  };

  confirm(id: string): void {
    this.#answers.get(id)!.confirm();
  }

  refuse(id: string): void {
    this.#answers.get(id)!.refuse(new MessagingError('publish-refused', 'no'));
  }
}

function bench(): {
  clock: SimulatedClock;
  broker: SlowBroker;
  window: PublishWindow;
  outcomes: string[];
  publish: (id: string, bytes?: number) => void;
} {
  const clock = new SimulatedClock();
  const window = new PublishWindow(clock, TIMEOUT_MS, limits);
  const outcomes: string[] = [];
  const publish = (id: string, bytes?: number): void => {
    window.publish(envelope(id, bytes)).then(
      () => outcomes.push(`${id} confirmed`),
      (error: unknown) => outcomes.push(`${id} ${(error as MessagingError).code}`),
    );
  };
  return { clock, broker: new SlowBroker(), window, outcomes, publish };
}

describe('the publish window', () => {
  it('lets so many through, keeps so many waiting in order, and refuses the rest', async () => {
    const { clock, broker, window, outcomes, publish } = bench();
    window.prepare();
    window.open(broker.send);
    for (const id of 'abcdefgh') publish(id);
    await clock.advance(0);
    expect(broker.taken).toEqual(['a', 'b', 'c']);
    expect(outcomes).toEqual(['h too-many-publishes']);
    broker.confirm('b');
    broker.refuse('a');
    await clock.advance(0);
    expect(broker.taken).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(outcomes.slice(1).toSorted()).toEqual(['a publish-refused', 'b confirmed']);
    for (const id of 'cde') broker.confirm(id);
    await clock.advance(0);
    for (const id of 'fg') broker.confirm(id);
    await clock.advance(0);
    expect(outcomes).toHaveLength(8);
  });

  it('counts bytes as well, and lets one message through however large', async () => {
    const { clock, broker, window, outcomes, publish } = bench();
    window.prepare();
    window.open(broker.send);
    publish('huge', 500);
    publish('small', 1);
    publish('big', 90);
    publish('too big to wait', 950);
    await clock.advance(0);
    expect(broker.taken).toEqual(['huge']);
    expect(outcomes).toEqual(['too big to wait too-many-publishes']);
    broker.confirm('huge');
    await clock.advance(0);
    expect(broker.taken).toEqual(['huge', 'small', 'big']);
  });

  it('gives up on each when its time is over, waiting or in flight, and then has room again', async () => {
    const { clock, broker, window, outcomes, publish } = bench();
    window.prepare();
    window.open(broker.send);
    for (const id of 'abcd') publish(id);
    await clock.advance(10_000);
    broker.confirm('b');
    publish('e');
    await clock.advance(TIMEOUT_MS - 10_001);
    expect(outcomes).toEqual(['b confirmed']);
    await clock.advance(1);
    expect(outcomes.slice(1)).toEqual(['a publish-timeout', 'c publish-timeout', 'd publish-timeout']);
    expect(broker.taken).toEqual(['a', 'b', 'c', 'd', 'e']);
    await clock.advance(10_000);
    expect(outcomes.slice(4)).toEqual(['e publish-timeout']);
    broker.confirm('a');
    broker.confirm('e');
    publish('f');
    await clock.advance(0);
    broker.confirm('f');
    await clock.advance(0);
    expect(outcomes.slice(5)).toEqual(['f confirmed']);
  });

  it('keeps what is published while the service starts, and refuses before', async () => {
    const { clock, broker, window, outcomes, publish } = bench();
    publish('early');
    window.prepare();
    publish('a');
    publish('b');
    await clock.advance(TIMEOUT_MS - 1);
    window.open(broker.send);
    expect(broker.taken).toEqual(['a', 'b']);
    broker.confirm('a');
    await clock.advance(1);
    expect(outcomes).toEqual(['early not-started', 'a confirmed', 'b publish-timeout']);
  });

  it('closes when all is confirmed, or with what is left rejected', async () => {
    const { clock, broker, window, outcomes, publish } = bench();
    window.prepare();
    window.open(broker.send);
    for (const id of 'abcd') publish(id);
    const closed = window.close(5_000).then(() => outcomes.push('window closed'));
    publish('late');
    await clock.advance(4_999);
    for (const id of 'abc') broker.confirm(id);
    await clock.advance(0);
    expect(broker.taken).toContain('d');
    expect(outcomes).not.toContain('window closed');
    await clock.advance(1);
    await closed;
    expect(outcomes).toEqual(['late closed', 'a confirmed', 'b confirmed', 'c confirmed', 'd closed', 'window closed']);
    const other = bench();
    other.window.prepare();
    other.window.open(other.broker.send);
    other.publish('a');
    const done = other.window.close(5_000).then(() => other.outcomes.push('window closed'));
    other.broker.confirm('a');
    await done;
    expect(other.outcomes).toEqual(['a confirmed', 'window closed']);
    expect(other.clock.monotonicMs()).toBe(0);
  });
});

describe('envelopes on AMQP', () => {
  const full: Envelope = {
    ...plainEvent,
    id: '019b76da-a800-7028-b456-b75cd7b55708',
    type: 'orders.order-placed',
    source: 'shop',
    time: '2026-01-01T12:00:00.999Z',
    key: 'o-1',
    version: 3,
    contentType: 'application/json',
    headers: { traceparent: '00-ab-cd-01' },
    body: Buffer.from('{}'),
  };

  it('are CloudEvents, and plain AMQP messages too', () => {
    expect(toProperties(full)).toEqual({
      contentType: 'application/json',
      deliveryMode: 2,
      messageId: full.id,
      type: 'orders.order-placed',
      appId: 'shop',
      timestamp: 1_767_268_800,
      headers: {
        cloudEvents_specversion: '1.0',
        cloudEvents_id: full.id,
        cloudEvents_source: 'shop',
        cloudEvents_type: 'orders.order-placed',
        cloudEvents_time: '2026-01-01T12:00:00.999Z',
        cloudEvents_subject: 'o-1',
        cloudEvents_partitionkey: 'o-1',
        cloudEvents_dataversion: '3',
        'dovecote-slot': '8',
        traceparent: '00-ab-cd-01',
      },
    });
    expect(fromProperties(toProperties(full), 'any', full.body)).toEqual(full);
  });

  it('are read with either prefix, and whatever else strangers put beside it is left or made text', () => {
    const headers = {
      'cloudEvents:id': 'e-1',
      'cloudEvents:type': 'paid',
      'cloudEvents:dataversion': '0',
      count: 3,
      'x-delivery-count': 2,
      isTest: true,
      table: {},
      none: null,
    };
    expect(fromProperties({ headers }, 'key', full.body)).toEqual({
      ...plainEvent,
      id: 'e-1',
      type: 'paid',
      source: 'unknown',
      time: undefined,
      key: undefined,
      version: undefined,
      contentType: 'application/json',
      headers: { count: '3', isTest: 'true' },
      body: full.body,
    });
    expect(fromProperties({ messageId: 'm', timestamp: 1e300, headers: 'nonsense' }, 'key', full.body)).toMatchObject({
      id: 'm',
      type: 'key',
      time: undefined,
    });
    expect(fromProperties({ headers: { cloudEvents_id: '' } }, 'key', full.body)).toMatchObject({
      problem: expect.stringContaining('no id') as unknown,
    });
    expect(fromProperties({ headers: { cloudEvents_id: 'x', cloudEvents_specversion: '2.0' } }, 'key', full.body)).toMatchObject({
      problem: expect.stringContaining('version 2.0') as unknown,
    });
  });
});

describe('small parts', () => {
  it('ids ascend, within a millisecond and over many, and when the clock goes back', () => {
    const clock = new SimulatedClock();
    const identifiers = new Identifiers(clock, new SeededRandom(7));
    const ids: string[] = [];
    for (let index = 0; index < 1_000; index++) {
      if (index === 600) clock.setWallClock(clock.now() - 5_000);
      else if (index % 10 === 0) clock.setWallClock(clock.now() + 1);
      ids.push(identifiers.next());
    }
    expect(ids.toSorted()).toEqual(ids);
    expect(new Set(ids).size).toBe(1_000);
    expect(ids.every((id) => /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(id))).toBe(true);
  });

  it('a backoff doubles from its first pause to its longest, spread over the upper half', () => {
    const backoff = new Backoff(new SeededRandom(7), 100, 30_000);
    for (const failures of [1, 2, 5, 9, 10, 1_000_000]) {
      const pauses = Array.from({ length: 200 }, () => backoff.delayMs(failures));
      const ceiling = Math.min(30_000, 100 * 2 ** Math.min(failures, 20));
      expect(Math.min(...pauses)).toBeGreaterThanOrEqual(Math.max(100, ceiling / 2));
      expect(Math.max(...pauses)).toBeLessThanOrEqual(ceiling);
      expect(new Set(pauses).size).toBeGreaterThan(20);
    }
  });

  it('failures are counted for so many messages, and the oldest is forgotten first', () => {
    const counts = new FailureCounts();
    expect([counts.add('first'), counts.add('first'), counts.add('second')]).toEqual([1, 2, 1]);
    for (let index = 0; index < FAILURES_REMEMBERED_MAX - 1; index++) counts.add(`other ${index}`);
    expect([counts.add('second'), counts.add('first')]).toEqual([2, 1]);
    counts.forget('second');
    expect(counts.add('second')).toBe(1);
  });

  it('a fifo behaves as an array does', () => {
    const random = new SeededRandom(7);
    const fifo = new Fifo<number>();
    let model: number[] = [];
    for (let step = 0; step < 20_000; step++) {
      const dice = random.below(1_000);
      const answers: unknown[][] = [[], []];
      if (dice === 0) answers.splice(0, 2, fifo.drain(), model.splice(0));
      else if (dice === 1) {
        fifo.keep((item) => item % 2 === 0);
        model = model.filter((item) => item % 2 === 0);
      } else if (dice < (step % 8_000 < 4_000 ? 700 : 300)) {
        fifo.push(step);
        model.push(step);
      } else answers.splice(0, 2, [fifo.shift()], [model.shift()]);
      expect(answers[0]).toEqual(answers[1]);
      expect([fifo.length, fifo.peek()]).toEqual([model.length, model[0]]);
    }
  });
});

/** Dead letters on a real broker, in the process and over AMQP: looked at, mended, sent again once each, thrown away. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { realGround } from '@dovecote/ground';
import { DeadLetters, payloadOf } from './dead-letters.js';
import { type Envelope, plainEvent } from './envelope.js';
import type { MessagingError } from './errors.js';
import type { StandardSchema } from './policies/validation.js';
import { died, failed } from './trail.js';
import type { Incoming, Transport } from './transport.js';
import type { TransportSubject } from './transport-contract.js';
import { AmqpSubject } from './transports/amqp-subject.js';
import type { AmqpTransport } from './transports/amqp-transport.js';
import { EmbeddedSubject } from './transports/embedded-subject.js';
import { JumpingClock } from './transports/kafka/jumping-clock.js';
import { turn } from './turn.js';

const FOREVER = Number.POSITIVE_INFINITY;
const HOUR_MS = 3_600_000;
const clock = new JumpingClock();
const subjects: TransportSubject[] = [];

const hasTotal: StandardSchema = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value) =>
      typeof (value as { total?: unknown }).total === 'number' ? { value } : { issues: [{ message: 'is missing', path: ['total'] }] },
  },
};

afterEach(async () => {
  for (const subject of subjects.splice(0)) await subject.close();
});

const openers: Readonly<Record<string, () => Promise<TransportSubject>>> = {
  embedded: () => EmbeddedSubject.open(),
  amqp: async () => {
    const broker = await Broker.open({ durability: 'memory', amqp: { port: 0 }, ground: { ...realGround(), clock } });
    return AmqpSubject.open(`amqp://guest:guest@127.0.0.1:${broker.amqpPort}`, () => broker.close());
  },
};

class Desk {
  readonly received: Incoming[] = [];

  constructor(
    readonly group: string,
    readonly transport: Transport,
    readonly letters: DeadLetters,
  ) {}

  static async open(kind: string): Promise<Desk> {
    const subject = await openers[kind]!();
    subjects.push(subject);
    const [group, transport] = [subject.unique('shop'), subject.transport()];
    await transport.open();
    const desk = new Desk(group, transport, new DeadLetters(group, transport, () => hasTotal, clock));
    const sources = [{ kind: 'event', pattern: 'orders.placed', topic: undefined, order: 'none' }] as const;
    const nothing = (): Promise<void> => Promise.resolve();
    await transport.subscribe(
      { group, sources, prefetch: 100 },
      { onMessage: (one) => void desk.received.push(one), assigned: nothing, revoked: nothing },
    );
    return desk;
  }

  async bury(...ids: string[]): Promise<void> {
    await this.buryAt(clock.now(), ...ids);
  }

  async buryAt(atMs: number, ...ids: string[]): Promise<void> {
    for (const id of ids) {
      const death = { cause: 'attempts', atMs, reason: 'down', group: this.group, handler: 'Shop.place' } as const;
      const trail = died(failed(failed(undefined, 1, 'slow'), 2, 'down'), death);
      const envelope: Envelope = {
        ...plainEvent,
        id,
        type: 'orders.placed',
        source: 'till',
        time: undefined,
        key: undefined,
        version: 1,
        contentType: 'application/json',
        trail,
        body: Buffer.from(JSON.stringify({ orderId: id })),
      };
      await this.transport.publish(envelope, FOREVER, { to: { group: this.group, box: 'dead-letters' } });
    }
  }

  async takes(count: number): Promise<Envelope[]> {
    for (let turns = 0; this.received.length < count; turns++) {
      if (turns > 5_000) throw new Error('what the test waits for did not happen');
      await turn();
    }
    for (const incoming of this.received) incoming.acknowledge();
    return this.received.splice(0).map(({ envelope }) => envelope as Envelope);
  }

  async ids(): Promise<string[]> {
    return (await this.letters.list()).map(({ id }) => id).toSorted();
  }
}

describe.each(Object.keys(openers))('dead letters over %s', (kind) => {
  it('are listed and shown with their reasons, and stay where they are', async () => {
    const desk = await Desk.open(kind);
    await desk.bury('a', 'b', 'c');
    expect(await desk.ids()).toEqual(['a', 'b', 'c']);
    expect((await desk.letters.list({ where: ({ id }) => id > 'a', limit: 1 })).length).toBe(1);
    const letter = await desk.letters.show('b');
    expect(letter).toMatchObject({
      type: 'orders.placed',
      source: 'till',
      death: { cause: 'attempts', reason: 'down', handler: 'Shop.place' },
      history: [{ reason: 'slow' }, { reason: 'down' }],
    });
    expect(payloadOf(letter!)).toEqual({ orderId: 'b' });
    expect(await desk.letters.show('z')).toBeUndefined();
    expect(await desk.ids()).toEqual(['a', 'b', 'c']);
    expect(desk.received).toEqual([]);
  });

  it('are sent again once each, also where two do it at once, and begin anew with their history', async () => {
    const desk = await Desk.open(kind);
    const ids = Array.from({ length: 40 }, (_, index) => `id-${10 + index}`);
    await desk.bury(...ids);
    const seen: number[] = [];
    const reports = await Promise.all([desk.letters.redrive({ onProgress: ({ done }) => seen.push(done) }), desk.letters.redrive()]);
    expect(reports[0]!.done + reports[1]!.done).toBe(40);
    expect(seen.at(-1)).toBe(reports[0]!.done);
    const got = await desk.takes(40);
    expect(got.map(({ id }) => id).toSorted()).toEqual(ids);
    expect(got[0]!.trail).toMatchObject({ failures: 0, starts: 0, death: undefined, history: [{ reason: 'slow' }, { reason: 'down' }] });
    expect(await desk.ids()).toEqual([]);
  });

  it('are chosen, tried without an effect, sent at a rate, and stopped in the middle', async () => {
    const desk = await Desk.open(kind);
    await desk.bury('a', 'b', 'c', 'd');
    expect(await desk.letters.redrive({ isDryRun: true, where: ({ id }) => id < 'c' })).toMatchObject({ done: 2 });
    expect(await desk.ids()).toEqual(['a', 'b', 'c', 'd']);
    expect(await desk.letters.redrive({ ids: ['b'] })).toMatchObject({ done: 1 });
    expect((await desk.takes(1)).map(({ id }) => id)).toEqual(['b']);
    const stop = new AbortController();
    const times: number[] = [];
    const running = desk.letters.redrive({
      perSecond: 0.5,
      signal: stop.signal,
      onProgress: () => {
        times.push(clock.monotonicMs());
        if (times.length === 2) stop.abort();
      },
    });
    while (times.length < 1) await turn();
    await clock.pass(1_500);
    expect(times).toHaveLength(1);
    await clock.pass(600);
    expect(await running).toMatchObject({ done: 2 });
    await desk.takes(2);
    expect(await desk.ids()).toHaveLength(1);
  });

  it('that fail again while they are sent are not sent twice, whatever the clock says of where they failed', async () => {
    const desk = await Desk.open(kind);
    await desk.bury('a', 'b');
    const burying: Promise<void>[] = [];
    const report = await desk.letters.redrive({
      where: ({ id }) => {
        // While the second is looked at, the first one has failed again.
        if (id === 'b') burying.push(desk.buryAt(clock.now() - HOUR_MS, 'a'));
        return true;
      },
    });
    await Promise.all(burying);
    expect(report.done).toBe(2);
    expect(await desk.ids()).toEqual(['a']);
  });

  it('are seen although the clock that they died by is ahead', async () => {
    const desk = await Desk.open(kind);
    await desk.buryAt(clock.now() + HOUR_MS, 'a');
    expect(await desk.ids()).toEqual(['a']);
    expect(await desk.letters.redrive()).toMatchObject({ done: 1 });
    await desk.takes(1);
  });

  it('are the oldest where only so many are wanted, also when somebody has looked at a few of them', async () => {
    const desk = await Desk.open(kind);
    for (const [index, id] of ['a', 'b', 'c', 'd', 'e'].entries()) await desk.buryAt(clock.now() + index, id);
    const first = async (limit: number, where?: (letter: { readonly id: string }) => boolean): Promise<string> =>
      (await desk.letters.list(where === undefined ? { limit } : { limit, where })).map(({ id }) => id).join('');
    expect(await first(2)).toBe('ab');
    expect(await first(2)).toBe('ab');
    expect(await first(1, ({ id }) => id > 'b')).toBe('c');
    await desk.letters.show('d');
    expect(await desk.letters.redrive({ limit: 2, isDryRun: true })).toMatchObject({ done: 2 });
    expect(await desk.letters.redrive({ limit: 2 })).toMatchObject({ done: 2 });
    expect((await desk.takes(2)).map(({ id }) => id)).toEqual(['a', 'b']);
    expect(await desk.letters.purge({ limit: 1, isDryRun: true })).toMatchObject({ done: 1 });
    expect(await desk.letters.purge({ limit: 1 })).toMatchObject({ done: 1 });
    expect(await first(9)).toBe('de');
  });

  it('are mended and sent, if what they say now fits their schema', async () => {
    const desk = await Desk.open(kind);
    await desk.bury('a', 'b');
    const refused = await desk.letters.resend('a', { orderId: 'a' }).then(
      () => undefined,
      (error: unknown) => error as MessagingError,
    );
    expect(refused?.message).toBe('orders.placed a was not sent: its payload does not fit its schema (total: is missing).');
    expect(await desk.ids()).toEqual(['a', 'b']);
    await desk.letters.resend('a', { orderId: 'a', total: 3 });
    const [got] = await desk.takes(1);
    expect([got!.id, Buffer.from(got!.body).toString()]).toEqual(['a', '{"orderId":"a","total":3}']);
    expect(await desk.ids()).toEqual(['b']);
    await expect(desk.letters.resend('z', { total: 1 })).rejects.toThrow(/^There is no dead letter z of/);
  });

  it('are thrown away where that is wanted, and nothing else is', async () => {
    const desk = await Desk.open(kind);
    await desk.bury('a', 'b', 'c');
    expect(await desk.letters.purge({ isDryRun: true })).toMatchObject({ done: 3 });
    expect(await desk.letters.purge({ ids: ['b'] })).toMatchObject({ done: 1 });
    expect(await desk.ids()).toEqual(['a', 'c']);
    await desk.letters.purge();
    expect(await desk.ids()).toEqual([]);
    await expect(desk.letters.list({}, 'nobody')).rejects.toMatchObject({ code: 'broker-refused' });
  });
});

describe('a look into dead letters over amqp whose connection is cut', () => {
  const cutting = async (letters: number, holdAt: number) => {
    const desk = await Desk.open('amqp');
    await desk.bury(...Array.from({ length: letters }, (_, index) => `id-${index}`));
    const relay = (subjects.at(-1) as AmqpSubject).relays.get(desk.transport as AmqpTransport)!;
    let seen = 0;
    if (holdAt === 0) relay.holdAnswers();
    const look = desk.letters.list({
      where: () => {
        seen += 1;
        if (seen === holdAt) relay.holdAnswers();
        return true;
      },
    });
    const outcome = look.then(
      (found) => found.length,
      (error: unknown) => error as MessagingError,
    );
    while (seen < holdAt) await turn();
    for (let count = 0; count < 20; count++) await turn();
    relay.cut();
    relay.releaseAnswers();
    return { desk, outcome: await outcome };
  };

  it.each([0, 1, 2])('says that it may be tried again, cut behind letter %s', async (holdAt) => {
    const { desk, outcome } = await cutting(3, holdAt);
    expect(outcome).toMatchObject({ code: 'broker-unreachable', retryable: true });
    expect((outcome as MessagingError).message).toMatch(
      /^The connection to the broker was lost before the dead-letters of '.*' was read to its end/,
    );
    // What was out comes back when the broker has noticed, and the connection by itself.
    for (let found: unknown = undefined; !Array.isArray(found) || found.length < 3;) {
      found = await desk.ids().catch((error: unknown) => error);
      await turn();
    }
  });

  it('has what it found when all was seen', async () => {
    expect((await cutting(2, 2)).outcome).toBe(2);
  });
});

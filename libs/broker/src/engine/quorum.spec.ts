/** Quorum queues below any protocol: what they keep, random commands against a plain model, dead letters that must arrive, and power cuts. */
import { describe, expect, it } from '@jest/globals';
import { SeededRandom } from '@dovecote/ground/testing';
import type { FieldTable } from '../queues/field-table.js';
import { type Given, inMemory, Machine, ScriptedSession } from './scripted-session.js';

const persistent = { deliveryMode: 2 } as const;
const quorum = (more: FieldTable = {}): FieldTable => ({ 'x-queue-type': 'quorum', ...more });
const deadTo = (queue: string): FieldTable => ({ 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': queue });
const surely: FieldTable = { 'x-dead-letter-strategy': 'at-least-once', 'x-overflow': 'reject-publish' };

const countOf = (given: Given | undefined): number => Number(given?.properties.headers?.['x-delivery-count'] ?? 0);

function takeAll(client: ScriptedSession, queue: string): Given[] {
  const all: Given[] = [];
  for (let got = client.get(queue); got !== undefined; got = client.get(queue)) all.push(got);
  return all;
}

// ---- the plain model ----

interface ModelMessage {
  readonly body: string;
  readonly isHigh: boolean;
  readonly order: number;
  count: number;
}

/** What RabbitMQ 4.0 does with the messages of one quorum queue, as one would write it down. */
class ModelQueue {
  returned: ModelMessage[] = [];
  high: ModelMessage[] = [];
  normal: ModelMessage[] = [];
  dead: string[] = [];
  private taken = 0;
  private order = 0;

  constructor(private readonly limit: number) {}

  publish(body: string, priority: number): void {
    const isHigh = priority > 4;
    (isHigh ? this.high : this.normal).push({ body, isHigh, order: this.order++, count: 0 });
  }

  take(): ModelMessage | undefined {
    if (this.returned.length > 0) return this.returned.shift();
    const [high, normal] = [this.high[0], this.normal[0]];
    if (high === undefined && normal === undefined) return undefined;
    const isNormalsTurn = this.taken++ % 3 === 2;
    if (high === undefined) return this.normal.shift();
    if (normal === undefined || !isNormalsTurn || high.order < normal.order) return this.high.shift();
    return this.normal.shift();
  }

  /** `isAbandoned` where its consumer is gone. */
  giveBack(message: ModelMessage, isAbandoned: boolean): void {
    if (++message.count > this.limit) this.dead.push(message.body);
    else if (this.limit === Infinity && !isAbandoned) this.normal.push({ ...message, order: this.order++ });
    else this.returned.push(message);
  }
}

describe('a quorum queue', () => {
  it.each([3, 0, -1])('with a delivery limit of %p does what the model does, whatever is asked of it', async (limit) => {
    for (let seed = 1; seed <= 15; seed++) {
      const random = new SeededRandom(seed);
      const { client, settle } = await inMemory();
      client.declare('dead', {}, true);
      client.declare('q', quorum({ 'x-delivery-limit': limit, ...deadTo('dead') }), true);
      const model = new ModelQueue(limit < 0 ? Infinity : limit);
      const out: { readonly given: Given; readonly message: ModelMessage }[] = [];
      for (let step = 0; step < 120; step++) {
        const choice = random.below(10);
        if (choice < 4) {
          const priority = random.chance(limit < 0 ? 0 : 0.3) ? 5 + random.below(5) : random.below(5);
          client.publish('q', String(step), { priority });
          model.publish(String(step), priority);
        } else if (choice < 7) {
          const given = client.get('q');
          const message = model.take();
          expect([seed, step, given?.body, countOf(given), given?.isRedelivered]).toEqual([
            ...[seed, step, message?.body],
            ...[message?.count ?? 0, message === undefined ? undefined : message.count > 0],
          ]);
          if (given !== undefined) out.push({ given, message: message! });
        } else if (out.length > 0) {
          const [{ given, message }] = out.splice(random.below(out.length), 1) as [(typeof out)[number]];
          if (choice === 7) client.session.acknowledge(given.tag, false);
          else {
            client.session.reject(given.tag, false, true);
            model.giveBack(message, false);
          }
        }
        await settle();
      }
      expect(takeAll(client, 'dead').map(({ body }) => body)).toEqual(model.dead);
      client.session.close();
    }
  });

  it('keeps transient messages for itself, and shares them with queues that do not', async () => {
    const machine = new Machine(1);
    await machine.open();
    machine.client.declareExchange('all', 'fanout', {}, true);
    for (const [name, given] of Object.entries({ kept: quorum(), also: quorum({ 'x-message-ttl': 600_000 }), classic: {} })) {
      machine.client.declare(name, given, true);
      machine.client.bind(name, 'all', '');
    }
    machine.client.publishTo('all', '', 'transient');
    machine.client.publishTo('all', '', 'persistent', persistent);
    machine.client.publish('kept', 'alone');
    await machine.settle();
    expect(machine.client.answers).toHaveLength(3);
    await machine.crash();
    const left = ['kept', 'also', 'classic'].map((queue) => takeAll(machine.client, queue).map(({ body }) => body));
    expect(left).toEqual([['transient', 'persistent', 'alone'], ['transient', 'persistent'], ['persistent']]);
  });

  it('counts on after a restart and after a loss of power, until the limit', async () => {
    const machine = new Machine(2);
    await machine.open();
    machine.client.declare('q', quorum({ 'x-delivery-limit': 3, ...deadTo('dead') }), true);
    machine.client.declare('dead', {}, true);
    for (const body of ['one', 'two']) machine.client.publish('q', body, persistent);
    await machine.settle();
    machine.client.session.reject(machine.client.get('q')!.tag, false, true);
    await machine.settle();
    await machine.crash();
    const first = machine.client.get('q')!;
    expect([first.body, countOf(first)]).toEqual(['one', 1]);
    machine.client.session.close(); // what was out comes back and counts
    await machine.settle();
    machine.storage.hosts.appendClose();
    await machine.ground.clock.drive(machine.storage.journal!.close());
    await machine.ground.clock.drive(machine.storage.lock!.release());
    await machine.open();
    const again = machine.client.get('q')!;
    expect([again.body, countOf(again), again.isRedelivered]).toEqual(['one', 2, true]);
    const other = machine.client.get('q')!;
    expect([other.body, countOf(other)]).toEqual(['two', 0]);
    machine.client.session.reject(again.tag, false, true);
    await machine.settle();
    machine.client.session.reject(machine.client.get('q')!.tag, false, true);
    await machine.settle();
    await machine.crash();
    expect(machine.client.get('dead')).toMatchObject({ body: 'one', properties: { headers: { 'x-last-death-reason': 'delivery_limit' } } });
    expect(takeAll(machine.client, 'q').map(({ body }) => body)).toEqual(['two']);
  });
});

describe('what may have ended the broker', () => {
  const received = ({ client }: Machine): unknown[] => client.delivered.map((given) => [given.body, countOf(given), given.isRedelivered]);

  /** Not a moment longer than until then. */
  async function untilDelivered(machine: Machine, count: number): Promise<void> {
    while (machine.client.delivered.length < count) await machine.ground.clock.advance(0.01);
  }

  it('is counted before it is given to a consumer again, and only that', async () => {
    const machine = new Machine(3);
    await machine.open();
    machine.client.declare('q', quorum({ 'x-delivery-limit': -1 }), true);
    for (const body of ['one', 'two', 'three']) machine.client.publish('q', body, persistent);
    machine.client.consume('q', 'c', { prefetch: 1 });
    await machine.settle();
    expect(received(machine)).toEqual([['one', 0, false]]);
    // Nobody knows of the first time whether it was out. From then on each time counts, however soon after it the broker ends.
    for (const count of [0, 1, 2]) {
      await machine.crash();
      machine.client.consume('q', 'c', { prefetch: 1 });
      await untilDelivered(machine, 1);
      expect(received(machine)).toEqual([['one', count, true]]);
    }
    // It is done with, and the next one ends the broker at once: that one is counted, and the first is not there again.
    machine.client.session.acknowledge(machine.client.delivered[0]!.tag, false);
    await untilDelivered(machine, 2);
    await machine.crash();
    machine.client.consume('q', 'c', { prefetch: 2 });
    await machine.settle();
    expect(received(machine)).toEqual([
      ['two', 1, true],
      ['three', 0, true],
    ]);
  });

  it('counts once where it comes back after all, and is done with where it does not', async () => {
    const machine = new Machine(4);
    await machine.open();
    machine.client.declare('q', quorum(), true);
    for (const body of ['one', 'two']) machine.client.publish('q', body, persistent);
    await machine.settle();
    await machine.crash();
    machine.client.consume('q', 'c', { prefetch: 2 });
    await machine.settle();
    machine.client.session.close();
    await machine.settle();
    machine.client = new ScriptedSession(machine.storage);
    expect(takeAll(machine.client, 'q').map((given) => [given.body, countOf(given)])).toEqual([
      ['one', 1],
      ['two', 1],
    ]);
    for (const tag of [1, 2]) machine.client.session.acknowledge(tag, false);
    machine.client.publish('q', 'three', persistent);
    await machine.settle();
    await machine.crash();
    expect(takeAll(machine.client, 'q').map((given) => [given.body, countOf(given)])).toEqual([['three', 0]]);
  });
});

describe('dead letters that must arrive', () => {
  it('wait until there is a queue for them, and take room meanwhile', async () => {
    const { client, clock } = await inMemory();
    client.declare('q', quorum({ ...surely, ...deadTo('dead'), 'x-max-length': 2 }), true);
    client.publish('q', 'one', { headers: { mine: 1 } });
    await clock.advance(1);
    client.session.reject(client.get('q')!.tag, false, false);
    await clock.advance(5000);
    expect(client.count('q')).toBe(0);
    for (const body of ['2', '3', '4']) {
      client.publish('q', body);
      await clock.advance(1);
    }
    expect(client.answers).toEqual(['ack', 'ack', 'ack', 'nack']); // two wait and one is dead: more than there should be
    client.declare('dead', {}, true);
    await clock.advance(1000);
    const headers = { mine: 1, 'x-first-death-queue': 'q', 'x-first-death-reason': 'rejected' };
    expect(client.get('dead')).toMatchObject({ body: 'one', properties: { headers } });
    expect(client.get('dead')).toBeUndefined();
  });

  it('wait until every queue behind their exchange has room, and go to all at once', async () => {
    const { client, clock } = await inMemory();
    client.declareExchange('dead', 'fanout');
    client.declare('roomy');
    client.declare('narrow', { 'x-max-length': 1, 'x-overflow': 'reject-publish' });
    for (const queue of ['roomy', 'narrow']) client.bind(queue, 'dead', '');
    client.declare('q', quorum({ ...surely, 'x-dead-letter-exchange': 'dead', 'x-message-ttl': 10 }), true);
    client.publish('narrow', 'in the way');
    client.publish('q', 'late');
    await clock.advance(3000);
    expect([client.count('q'), client.count('roomy')]).toEqual([0, 0]);
    client.get('narrow');
    await clock.advance(1000);
    expect([client.get('roomy')?.body, client.get('narrow')?.body]).toEqual(['late', 'late']);
  });

  it('are dropped with their queue', async () => {
    const { client, clock, storage } = await inMemory();
    client.declare('q', quorum({ ...surely, ...deadTo('nowhere') }), true);
    client.publish('q', 'x');
    client.session.reject(client.get('q')!.tag, false, false);
    storage.host.deleteQueue(client.session, 'q', { ifUnused: false, ifEmpty: false });
    client.declare('nowhere');
    await clock.advance(5000);
    expect(client.count('nowhere')).toBe(0);
    expect(storage.arena.chunks.filter((chunk) => chunk !== undefined && chunk.live > 0)).toEqual([]);
  });

  it('are dead after a loss of power too, and arrive then', async () => {
    const machine = new Machine(3);
    await machine.open();
    machine.client.declare('q', quorum({ ...surely, ...deadTo('dead') }), true);
    for (const body of ['one', 'two', 'three']) machine.client.publish('q', body, persistent);
    await machine.settle();
    const [first, , third] = takeAll(machine.client, 'q');
    machine.client.session.reject(third!.tag, false, false);
    machine.client.session.reject(first!.tag, false, false);
    await machine.settle();
    await machine.crash();
    expect(takeAll(machine.client, 'q').map(({ body }) => body)).toEqual(['two']);
    machine.client.declare('dead', {}, true);
    await machine.ground.clock.advance(2000);
    await machine.crash();
    const arrived = takeAll(machine.client, 'dead');
    expect(new Map(arrived.map(({ body, properties }) => [body, properties.headers?.['x-first-death-reason']]))).toEqual(
      new Map([
        ['one', 'rejected'],
        ['three', 'rejected'],
      ]),
    );
    expect(arrived).toHaveLength(2);
  });
});

describe('after losses of power in any step', () => {
  it('no confirmed message of a quorum queue is lost, and none comes back more often than it may', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = new SeededRandom(seed);
      const machine = new Machine(seed);
      await machine.open();
      machine.client.declare('q', quorum({ 'x-delivery-limit': 2, ...surely, ...deadTo('dead') }), true);
      await machine.settle();
      const confirmed = new Set<string>();
      let published: string[] = [];
      const noteConfirms = (): void => machine.client.answers.forEach((answer, i) => answer === 'ack' && confirmed.add(published[i]!));
      const acknowledged = new Set<string>();
      for (let step = 0; step < 60; step++) {
        const choice = random.below(12);
        if (choice < 4) {
          const body = `${seed}/${step}`;
          machine.client.publish('q', body, { priority: random.below(10), ...(random.chance(0.5) ? persistent : {}) });
          published.push(body);
        } else if (choice < 9) {
          const got = machine.client.get('q');
          if (got !== undefined) {
            expect(countOf(got)).toBeLessThanOrEqual(2);
            if (random.chance(0.2)) {
              machine.client.session.acknowledge(got.tag, false);
              acknowledged.add(got.body);
            } else machine.client.session.reject(got.tag, false, random.chance(0.8));
          }
        } else if (choice < 11) await machine.ground.clock.advance(random.below(100) / 10);
        else {
          noteConfirms();
          published = [];
          await machine.crash();
        }
        if (step === 30) machine.client.declare('dead', quorum(), true); // which keeps the transient ones too
      }
      machine.client.declare('dead', quorum(), true); // the first one may have been lost in a crash
      await machine.settle();
      noteConfirms();
      await machine.crash();
      await machine.ground.clock.advance(3000);
      const there = new Set([...takeAll(machine.client, 'q'), ...takeAll(machine.client, 'dead')].map(({ body }) => body));
      const lost = [...confirmed].filter((body) => !there.has(body) && !acknowledged.has(body));
      expect([seed, lost]).toEqual([seed, []]);
    }
  });
});

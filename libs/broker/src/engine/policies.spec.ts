/** Queues with policies below any protocol: who is given what in which order, random commands against a plain model, and power cuts. */
import { describe, expect, it } from '@jest/globals';
import { SeededRandom, simulatedGround } from '@dovecote/ground/testing';
import { Deadlines, type Due } from '../queues/deadlines.js';
import type { FieldTable } from '../queues/field-table.js';
import type { MessageProperties } from '../queues/properties.js';
import { inMemory, Machine } from './scripted-session.js';

describe('a queue with priorities', () => {
  it('gives the highest first, each in the order in which it came, and puts what comes back in its place', async () => {
    const { client, settle } = await inMemory();
    client.declare('q', { 'x-max-priority': 3 });
    for (const [i, priority] of [1, 5, 0, 2, undefined, 3, 2].entries()) {
      client.publish('q', `${priority}:${i}`, priority === undefined ? {} : { priority });
    }
    const one = client.get('q');
    const two = client.get('q');
    client.session.reject(two!.tag, false, true);
    client.session.reject(one!.tag, false, true);
    client.consume('q', 'c', { noAck: true });
    await settle();
    expect(client.delivered.map(({ body, isRedelivered }) => body + (isRedelivered ? 'R' : ''))).toEqual([
      '5:1R',
      '3:5R',
      '2:3',
      '2:6',
      '1:0',
      '0:2',
      'undefined:4',
    ]);
  });

  it('drops the highest first when it is too long, and what is over once it is the first of all, as RabbitMQ does', async () => {
    const { client, clock, settle } = await inMemory();
    client.declare('q', { 'x-max-priority': 3, 'x-max-length': 4 });
    for (const [i, priority] of [1, 5, 0, 2, 0, 3, 2].entries()) client.publish('q', `${priority}:${i}`, { priority });
    await settle();
    const left: (string | undefined)[] = [];
    while (client.count('q') > 0) left.push(client.get('q')?.body);
    expect(left).toEqual(['2:6', '1:0', '0:2', '0:4']);
    client.publish('q', 'low', { priority: 0, expiration: '10' });
    client.publish('q', 'high', { priority: 1 });
    await clock.advance(9);
    expect(client.count('q')).toBe(2);
    await clock.advance(1);
    expect(client.count('q')).toBe(2); // behind the other
    expect(client.get('q')?.body).toBe('high');
    await settle();
    expect(client.count('q')).toBe(0);
    client.publish('q', 'low', { priority: 0 });
    client.publish('q', 'high', { priority: 1, expiration: '10' });
    client.publish('q', 'higher', { priority: 2, expiration: '5' });
    await clock.advance(10);
    expect(client.count('q')).toBe(1);
    expect(client.get('q')?.body).toBe('low');
  });
});

describe('what messages take of memory beside themselves', () => {
  const count = 10_000;

  it('is counted in a queue with priorities, is as much as in a plain one, and is given back', async () => {
    const { client, settle, storage } = await inMemory();
    const { arena } = storage;
    client.declare('q', { 'x-max-priority': 2 });
    for (let i = 0; i < count; i++) client.publish('q', String(i), { priority: i % 3 });
    await settle();
    // Twenty bytes each, in three rings that double when they are full.
    expect(arena.entryBytes).toBeGreaterThanOrEqual(20 * count);
    expect(arena.entryBytes).toBeLessThanOrEqual(3 * 20 * count);
    storage.host.deleteQueue(client.session, 'q', { ifUnused: false, ifEmpty: false });
    expect(arena.entryBytes).toBe(0);
  });

  it('is counted in a quorum queue with high ones', async () => {
    const { client, settle, storage } = await inMemory();
    const { arena } = storage;
    client.declare('q', { 'x-queue-type': 'quorum' }, true);
    client.publish('q', 'high', { priority: 9 });
    await settle();
    const before = arena.entryBytes;
    for (let i = 0; i < count; i++) client.publish('q', String(i), { priority: i % 9 });
    await settle();
    expect(arena.entryBytes - before).toBeGreaterThanOrEqual(80 * count);
    client.queue('q').purge();
    await settle();
    expect(arena.entryBytes).toBeLessThan(before + 20 * count); // a ring that it needed for a moment
  });
});

describe('a queue that is too long', () => {
  it('and goes with its last consumer makes no dead letters of what that one had', async () => {
    const { client, settle, storage } = await inMemory();
    client.declare('grave');
    const given = { 'x-max-length': 0, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'grave' };
    const declaration = { passive: false, durable: false, exclusive: false, autoDelete: true, arguments: given };
    storage.host.declareQueue(client.session, 'q', declaration);
    client.consume('q', 'c', {});
    client.publish('q', 'x');
    await settle();
    expect(client.delivered).toHaveLength(1);
    client.session.close();
    await settle();
    expect(client.count('grave')).toBe(0);
  });

  it('drops what comes back for want of room, though its time is over too: as RabbitMQ', async () => {
    const { client, settle } = await inMemory();
    client.declare('dead');
    client.declare('q', { 'x-max-length': 0, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' });
    client.consume('q', 'c');
    client.publish('q', 'x', { expiration: '0' });
    await settle();
    client.session.reject(client.delivered[0]!.tag, false, true);
    await settle();
    expect(client.get('dead')?.properties.headers).toMatchObject({ 'x-first-death-reason': 'maxlen' });
  });
});

describe('consumers', () => {
  it('of a single-active queue take turns only when one leaves, the highest priority first', async () => {
    const { client, settle } = await inMemory();
    client.declare('q', { 'x-single-active-consumer': true });
    client.consume('q', '1', { noAck: true });
    client.consume('q', '2', { noAck: true });
    client.consume('q', '3', { noAck: true, priority: 5 });
    const said = async (): Promise<string> => {
      client.publish('q', 'x');
      client.publish('q', 'x');
      await settle();
      return client.delivered
        .splice(0)
        .map(({ consumer }) => consumer)
        .join();
    };
    expect(await said()).toBe('1,1');
    client.session.cancel('1');
    expect(await said()).toBe('3,3');
    client.session.cancel('2');
    expect(await said()).toBe('3,3');
    client.session.cancel('3');
    expect(await said()).toBe('');
    client.consume('q', '4', { noAck: true });
    await settle();
    expect(client.delivered).toHaveLength(2);
  });

  it('of a single-active queue cannot be exclusive', async () => {
    const { client } = await inMemory();
    client.declare('q', { 'x-single-active-consumer': true });
    const consume = (): unknown =>
      client.session.consume(client.queue('q'), { tag: 'c', noAck: true, prefetch: 0, exclusive: true, arguments: {} });
    expect(consume).toThrow("queue 'q' in vhost '/' in exclusive use");
  });

  it('of a higher priority come first, while they can take more, and equals take turns', async () => {
    const { client, settle } = await inMemory();
    client.declare('q');
    client.consume('q', 'low', { prefetch: 3, priority: -1 });
    client.consume('q', 'high-1', { prefetch: 2, priority: 2 });
    client.consume('q', 'plain', { prefetch: 1 });
    client.consume('q', 'high-2', { prefetch: 2, priority: 2 });
    for (let i = 0; i < 9; i++) client.publish('q', String(i));
    await settle();
    const takers = (): string => client.delivered.map(({ consumer }) => consumer).join();
    expect(takers()).toBe('high-1,high-2,high-1,high-2,plain,low,low,low');
    client.session.acknowledge(client.delivered[1]!.tag, false);
    await settle();
    expect(client.delivered.at(-1)!.consumer).toBe('high-2');
  });

  it.each(['a', 5.5, true, null])('cannot have the priority %p', async (priority) => {
    const { client } = await inMemory();
    client.declare('q');
    const settings = { tag: 'c', noAck: true, prefetch: 0, exclusive: false, arguments: { 'x-priority': priority } };
    expect(() => client.session.consume(client.queue('q'), settings)).toThrow(
      /invalid arg 'x-priority' for queue 'q' in vhost '\/': "expected integer, got/,
    );
  });
});

describe('deadlines', () => {
  it('are kept with one timer and one place for each thing, in the order of their time', async () => {
    const { clock } = simulatedGround(1);
    let timers = 0;
    let timersMax = 0;
    const counting = {
      now: () => clock.now(),
      monotonicMs: () => clock.monotonicMs(),
      defer: (run: () => void) => clock.defer(run),
      after: (delayMs: number, run: () => void) => {
        timers++;
        const timer = clock.after(delayMs, () => {
          timers--;
          run();
        });
        return { cancel: () => (timers--, timer.cancel()) };
      },
    };
    const deadlines = new Deadlines(counting);
    const random = new SeededRandom(4);
    const rung: number[] = [];
    const things = Array.from({ length: 50 }, (): Due => ({ dueAt: Infinity, duePlace: -1, due: () => rung.push(clock.now()) }));
    const wanted = new Map<Due, number>();
    for (let step = 0; step < 2000; step++) {
      const thing = things[random.below(things.length)]!;
      if (random.chance(0.2)) {
        deadlines.cancel(thing);
        wanted.delete(thing);
      } else {
        const at = clock.now() + 1 + random.below(1000);
        deadlines.schedule(thing, at);
        wanted.set(thing, Math.min(at, wanted.get(thing) ?? Infinity));
      }
      timersMax = Math.max(timersMax, timers);
    }
    await clock.advance(2000);
    expect(rung).toEqual([...wanted.values()].sort((one, other) => one - other));
    expect([timers, timersMax]).toEqual([0, 1]);
  });
});

// ---- the plain model ----

interface ModelMessage {
  readonly body: string;
  readonly order: number;
  readonly priority: number;
  readonly expiration: number;
  readonly deaths: readonly { readonly queue: string; readonly reason: string; readonly count: number }[];
  readonly endsAt: number;
  wasOut: boolean;
}

interface ModelPolicy {
  readonly dead?: string;
  readonly ttl?: number;
  readonly length?: number;
  readonly bytes?: number;
  readonly overflow?: 'reject-publish' | 'reject-publish-dlx';
  readonly priorities?: number;
}

/** Two chains and a ring; no queue has two sources, so that it does not matter which of two deaths at one moment comes first. */
const modelPolicies: Readonly<Record<string, ModelPolicy>> = {
  short: { dead: 'small', ttl: 40 },
  small: { dead: 'last', length: 3, ttl: 90 },
  last: { bytes: 60 },
  ranked: { dead: 'refusing', priorities: 2, length: 4, ttl: 70 },
  refusing: { dead: 'refused', length: 3, overflow: 'reject-publish-dlx' },
  refused: { length: 5, bytes: 40, overflow: 'reject-publish' },
  round: { dead: 'about', ttl: 30 },
  about: { dead: 'round', ttl: 55, length: 2 },
  plain: {},
};

class Model {
  readonly ready = new Map<string, ModelMessage[]>(Object.keys(modelPolicies).map((name) => [name, []]));
  now = 0;
  private order = 0;

  /** False when it was refused. */
  publish(queue: string, body: string, priority: number, expiration: number): boolean {
    return this.enter(queue, { body, priority, expiration, deaths: [] });
  }

  get(queue: string): ModelMessage | undefined {
    const message = this.ready.get(queue)!.shift();
    this.settle(); // another one is first
    return message;
  }

  reject(queue: string, message: ModelMessage): void {
    this.die(queue, message, 'rejected');
    this.settle();
  }

  putBack(queue: string, message: ModelMessage): void {
    message.wasOut = true;
    this.insert(queue, message);
    this.dropExcess(queue); // before anybody looks at the time
    this.settle();
  }

  advance(ms: number): void {
    for (let i = 0; i < ms; i++) {
      this.now++;
      this.settle();
    }
  }

  private enter(queue: string, message: Pick<ModelMessage, 'body' | 'priority' | 'expiration' | 'deaths'>): boolean {
    const { ttl = Infinity, overflow, length = Infinity, bytes = Infinity, dead } = modelPolicies[queue]!;
    const ready = this.ready.get(queue)!;
    const endsAt = this.now + Math.min(ttl, message.expiration);
    const whole = { ...message, order: ++this.order, endsAt, wasOut: false };
    if (overflow !== undefined && (ready.length + 1 > length || bytesOf(ready) + message.body.length > bytes)) {
      if (overflow === 'reject-publish-dlx' && dead !== undefined) this.die(queue, whole, 'maxlen');
      return false;
    }
    this.insert(queue, whole);
    this.settle();
    return true;
  }

  private insert(queue: string, message: ModelMessage): void {
    const max = modelPolicies[queue]!.priorities ?? 0;
    const rank = ({ priority }: ModelMessage): number => Math.min(priority, max);
    const ready = this.ready.get(queue)!;
    ready.push(message);
    ready.sort((one, other) => rank(other) - rank(one) || one.order - other.order);
  }

  private die(queue: string, message: ModelMessage, reason: string): void {
    const { dead } = modelPolicies[queue]!;
    if (dead === undefined) return;
    const same = message.deaths.find((death) => death.queue === queue && death.reason === reason);
    const newest = { queue, reason, count: (same?.count ?? 0) + 1 };
    const deaths = [newest, ...message.deaths.filter((death) => death !== same)];
    const before = deaths.findIndex((death) => death.queue === dead);
    const isRound = before >= 0 && deaths.slice(0, before + 1).every((death) => death.reason !== 'rejected');
    if (reason === 'rejected' || !isRound) this.enter(dead, { ...message, expiration: Infinity, deaths });
  }

  /** Until nothing changes: what is over at the head dies, then what is too much. */
  private settle(): void {
    for (const queue of Object.keys(modelPolicies)) {
      const ready = this.ready.get(queue)!;
      if (ready[0] !== undefined && ready[0].endsAt <= this.now) {
        this.die(queue, ready.shift()!, 'expired');
        return this.settle();
      }
      if (this.dropExcess(queue)) return this.settle();
    }
  }

  private dropExcess(queue: string): boolean {
    const { overflow, length = Infinity, bytes = Infinity } = modelPolicies[queue]!;
    const ready = this.ready.get(queue)!;
    if (overflow !== undefined || (ready.length <= length && bytesOf(ready) <= bytes)) return false;
    this.die(queue, ready.shift()!, 'maxlen');
    return true;
  }
}

const bytesOf = (messages: readonly ModelMessage[]): number => messages.reduce((total, { body }) => total + body.length, 0);

function argumentsOf({ dead, ttl, length, bytes, overflow, priorities }: ModelPolicy): FieldTable {
  return {
    ...(dead === undefined ? {} : { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead }),
    ...(ttl === undefined ? {} : { 'x-message-ttl': ttl }),
    ...(length === undefined ? {} : { 'x-max-length': length }),
    ...(bytes === undefined ? {} : { 'x-max-length-bytes': bytes }),
    ...(overflow === undefined ? {} : { 'x-overflow': overflow }),
    ...(priorities === undefined ? {} : { 'x-max-priority': priorities }),
  };
}

function deathsOf({ headers }: MessageProperties): unknown[] {
  const deaths = (headers?.['x-death'] ?? []) as readonly FieldTable[];
  return deaths.map(({ queue, reason, count }) => ({ queue, reason, count: Number(count) }));
}

async function runModel(seed: number): Promise<void> {
  const random = new SeededRandom(seed);
  const { client, clock, settle, storage } = await inMemory();
  const model = new Model();
  const names = Object.keys(modelPolicies);
  for (const name of names) client.declare(name, argumentsOf(modelPolicies[name]!));
  const out: { readonly queue: string; readonly tag: number; readonly message: ModelMessage }[] = [];
  const answers: string[] = [];
  for (let step = 0; step < 250; step++) {
    const queue = names[random.below(names.length)]!;
    const choice = random.below(10);
    if (choice < 4) {
      const body = `${step}-`.padEnd(4 + random.below(20), 'x');
      const priority = random.below(4);
      // Where a death may be refused for want of room it would matter whether it comes before or after one that leaves at that moment.
      const isExpiring = modelPolicies[queue]!.overflow === undefined && random.chance(0.3);
      const expiration = isExpiring ? 1 + random.below(100) : Infinity;
      const own = expiration === Infinity ? {} : { expiration: String(expiration) };
      client.publish(queue, body, { priority, ...own });
      answers.push(model.publish(queue, body, priority, expiration) ? 'ack' : 'nack');
    } else if (choice < 7) {
      const got = client.get(queue);
      const message = model.get(queue);
      expect([step, queue, got?.body, got?.isRedelivered, got && deathsOf(got.properties)]).toEqual([
        step,
        queue,
        message?.body,
        message?.wasOut,
        message?.deaths,
      ]);
      if (got !== undefined) out.push({ queue, tag: got.tag, message: message! });
    } else if (choice < 9) {
      const [one] = out.splice(random.below(out.length + 1), 1);
      if (one === undefined) continue;
      const how = random.below(3);
      if (how === 0) client.session.acknowledge(one.tag, false);
      else client.session.reject(one.tag, false, how === 2);
      if (how === 1) model.reject(one.queue, one.message);
      if (how === 2) model.putBack(one.queue, one.message);
    } else {
      const ms = 1 + random.below(40);
      await clock.advance(ms);
      model.advance(ms);
    }
    await settle();
    const counts = names.map((name) => [name, client.count(name)]);
    expect([step, ...counts]).toEqual([step, ...names.map((name) => [name, model.ready.get(name)!.length])]);
  }
  expect(client.answers).toEqual(answers);
  for (const name of names) client.queue(name).purge();
  for (const { tag } of out) client.session.acknowledge(tag, false);
  expect(storage.arena.chunks.filter((chunk) => chunk !== undefined && chunk.live > 0)).toEqual([]);
}

describe('random commands', () => {
  it('leave in the queues what a plain model has in them', async () => {
    for (let seed = 1; seed <= 25; seed++) await expect(runModel(seed)).resolves.toBeUndefined();
  });
});

// ---- what survives ----

const persistent = { deliveryMode: 2 } as const;

describe('after a loss of power', () => {
  it('messages expire when they would have, and a queue knows its arguments', async () => {
    const machine = new Machine(1);
    const { clock } = machine.ground;
    await machine.open();
    const given = { 'x-message-ttl': 5000, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };
    machine.client.declare('q', given, true);
    machine.client.declare('dead', {}, true);
    machine.client.declare('plain', {}, true);
    machine.client.declare('leased', { 'x-expires': 4000, 'x-max-priority': 2 }, true);
    machine.client.publish('q', 'one', persistent);
    machine.client.publish('plain', 'own', { ...persistent, expiration: '7000' });
    machine.client.publish('plain', 'for ever', persistent);
    for (const priority of [1, 2]) machine.client.publish('leased', String(priority), { ...persistent, priority });
    await clock.advance(1000);
    const began = clock.now();
    await machine.crash();
    machine.client.declare('q', given, true); // the same arguments, or this would throw
    expect(() => machine.client.declare('q', {}, true)).toThrow("inequivalent arg 'x-message-ttl'");
    expect(machine.client.get('leased')).toMatchObject({ body: '2', isRedelivered: true });
    expect(machine.client.get('leased')).toMatchObject({ body: '1', isRedelivered: true });
    await clock.advance(began + 3900 - clock.now());
    expect([machine.client.count('q'), machine.client.count('dead')]).toEqual([1, 0]);
    expect(machine.client.queue('leased').name).toBe('leased'); // its lease began anew, and was renewed by get
    await clock.advance(200);
    expect([machine.client.count('q'), machine.client.count('dead')]).toEqual([0, 1]);
    await clock.advance(4000);
    expect(() => machine.client.queue('leased')).toThrow("no queue 'leased'");
    await machine.crash();
    expect(machine.client.count('plain')).toBe(1);
    expect(machine.client.get('dead')).toMatchObject({ body: 'one', properties: { headers: { 'x-first-death-reason': 'expired' } } });
    expect(() => machine.client.queue('leased')).toThrow("no queue 'leased'");
  });

  it('an acknowledgement is safe after a few milliseconds, though nothing else happens', async () => {
    const machine = new Machine(3);
    await machine.open();
    machine.client.declare('q', {}, true);
    machine.client.publish('q', 'one', persistent);
    await machine.settle();
    const got = machine.client.get('q');
    await machine.settle();
    machine.client.session.acknowledge(got!.tag, false);
    await machine.settle();
    await machine.crash();
    expect(machine.client.count('q')).toBe(0);
  });

  it('what expired meanwhile is dead, and goes where its queue says', async () => {
    const machine = new Machine(2);
    await machine.open();
    machine.client.declare('q', { 'x-message-ttl': 500, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' }, true);
    machine.client.declare('dead', { 'x-max-length': 2 }, true);
    for (const body of ['1', '2', '3']) machine.client.publish('q', body, persistent);
    await machine.settle();
    machine.ground.crash({ power: true });
    await machine.ground.clock.advance(10_000);
    await machine.open();
    expect(machine.client.get('q')).toBeUndefined();
    await machine.settle();
    expect([machine.client.count('q'), machine.client.count('dead')]).toEqual([0, 2]);
    await machine.crash();
    expect(machine.client.get('dead')).toMatchObject({ body: '2' });
  });

  it('in any step of dead lettering no confirmed message is lost', async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = new SeededRandom(seed);
      const machine = new Machine(seed);
      await machine.open();
      const work = { 'x-message-ttl': 300, 'x-max-length': 4, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };
      machine.client.declare('work', work, true);
      machine.client.declare('dead', {}, true);
      await machine.settle();
      const confirmed = new Set<string>();
      const published: string[] = [];
      const noteConfirms = (): void => machine.client.answers.forEach((answer, i) => answer === 'ack' && confirmed.add(published[i]!));
      for (let step = 0; step < 60; step++) {
        const choice = random.below(10);
        if (choice < 5) {
          // Large ones make a commit of several batches, of which a crash may leave the first ones.
          const body = `${seed}/${step}/`.padEnd(random.chance(0.5) ? 300_000 : 20, 'x');
          machine.client.publish('work', body, persistent);
          published.push(body);
        } else if (choice < 7) {
          const got = machine.client.get('work');
          if (got !== undefined) machine.client.session.reject(got.tag, false, false);
        } else if (choice < 9) await machine.ground.clock.advance(random.below(60) / 10);
        else if (random.chance(0.5)) {
          noteConfirms();
          published.length = 0;
          await machine.crash();
        } else await machine.ground.clock.advance(random.below(200));
      }
      await machine.settle();
      noteConfirms();
      await machine.crash();
      const there = new Set<string>();
      for (const queue of ['work', 'dead', 'work', 'dead']) {
        await machine.settle(); // what has just expired is on its way
        for (let got = machine.client.get(queue); got !== undefined; got = machine.client.get(queue)) there.add(got.body);
      }
      const lost = [...confirmed].filter((body) => !there.has(body)).map((body) => body.slice(0, 20));
      expect([seed, ...lost]).toEqual([seed]);
    }
  });
});

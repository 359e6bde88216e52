/**
 * Brokers that have next to no memory for messages, beside one that has plenty: nobody may see a difference. And what happens when the
 * disk does not give back what was left to it.
 */
import { describe, expect, it } from '@jest/globals';
import assert from 'node:assert/strict';
import { SeededRandom, type SimulatedGround, simulatedGround } from '@dovecote/ground/testing';
import type { CodedError } from '../errors.js';
import { defaultLimits } from '../limits.js';
import { bodyLength, bodyStart, writeContent } from '../queues/content.js';
import type { FieldTable } from '../queues/field-table.js';
import type { MessageLog } from '../queues/message-log.js';
import type { MessageProperties } from '../queues/properties.js';
import type { Session, SessionSink } from '../queues/session.js';
import { checkFolder } from './check-folder.js';
import { openStorage, type OpenStorage } from './open-storage.js';

/** One broker's storage on its own machine, a publisher, and a reader for each queue that writes down what it is given. */
class Side implements SessionSink {
  readonly machine: SimulatedGround;
  storage!: OpenStorage;
  publisher!: Session;
  failure: CodedError | undefined;
  readonly readers = new Map<string, Reader>();
  confirmedCount = 0;
  rejectedCount = 0;

  constructor(
    seed: number,
    private readonly residentBytesMax: number,
  ) {
    this.machine = simulatedGround(seed);
  }

  async open(): Promise<void> {
    const { ground } = this.machine.startProcess();
    const limits = {
      ...defaultLimits,
      residentBytesMax: this.residentBytesMax,
      journalFileBytesMax: 24 * 1024,
      journalSlackBytes: 48 * 1024,
    };
    this.storage = await this.machine.clock.drive(openStorage({ durability: 'fsync', data: '/data' }, ground, limits));
    this.storage.onFailure((error) => (this.failure = error));
    const { host } = this.storage;
    this.publisher = host.createSession(host.createOwner(), this);
    this.publisher.isConfirming = true;
    this.confirmedCount = 0;
    this.readers.clear();
  }

  async end(how: 'close' | 'kill'): Promise<void> {
    if (how === 'close') {
      for (const { session } of this.readers.values()) session.close();
      await this.machine.clock.advance(200); // what came back may be too much for its queue
      this.storage.hosts.appendClose();
      await this.machine.clock.drive(this.storage.journal!.close());
    }
    this.machine.crash({ power: false });
  }

  declare(name: string, given: FieldTable): void {
    const declaration = { passive: false, durable: true, exclusive: false, autoDelete: false, arguments: given };
    this.storage.host.declareQueue(this.publisher, name, declaration);
  }

  publish(queue: string, body: string, properties: MessageProperties = { deliveryMode: 2 }): void {
    const image = writeContent('', queue, properties, Buffer.from(body));
    const { host } = this.storage;
    const isExpiring = properties.expiration !== undefined;
    this.publisher.publish(host.route('', queue), properties.deliveryMode === 2, image, 0, image.length, isExpiring);
  }

  reader(queue: string): Reader {
    let reader = this.readers.get(queue);
    if (reader === undefined) this.readers.set(queue, (reader = new Reader(queue, this.storage)));
    return reader;
  }

  queue(name: string) {
    return this.storage.host.findQueue(this.publisher, name);
  }

  /** Everything that somebody outside can see, and forgets what was seen. */
  look(names: readonly string[]): unknown {
    return [
      ...names.map((name) => [name, this.queue(name).messageCount, ...this.reader(name).given.splice(0)]),
      this.confirmedCount,
      this.rejectedCount,
    ];
  }

  get evictedCount(): number {
    return this.storage.arena.evictedCount;
  }

  confirmed(upTo: number): void {
    this.confirmedCount = upTo;
  }

  rejected(): void {
    this.rejectedCount++;
  }

  deliver(): void {
    throw new Error('the publisher consumes nothing');
  }

  got(): void {
    throw new Error('the publisher fetches nothing');
  }

  cancelled(): void {
    // it consumes nothing
  }
}

class Reader implements SessionSink {
  readonly session: Session;
  readonly given: string[] = [];
  lastTag = 0;

  constructor(
    private readonly queue: string,
    private readonly storage: OpenStorage,
  ) {
    this.session = storage.host.createSession(storage.host.createOwner(), this);
  }

  consume(prefetch: number): void {
    const settings = { tag: 'c', noAck: false, prefetch, exclusive: false, arguments: {} };
    if (this.session.consumers.size === 0) this.session.consume(this.found, settings);
  }

  get(noAck: boolean): boolean {
    return this.session.get(this.found, noAck);
  }

  deliver(_consumer: unknown, tag: number, isRedelivered: boolean, bytes: Buffer, start: number): void {
    this.write('', tag, isRedelivered, bytes, start);
  }

  got(tag: number, isRedelivered: boolean, count: number, bytes: Buffer, start: number): void {
    this.write(`one of ${count + 1}: `, tag, isRedelivered, bytes, start);
  }

  confirmed(): void {
    // it publishes nothing
  }

  rejected(): void {
    // it publishes nothing
  }

  cancelled(): void {
    this.given.push('cancelled');
  }

  private get found() {
    return this.storage.host.findQueue(this.session, this.queue);
  }

  private write(what: string, tag: number, isRedelivered: boolean, bytes: Buffer, start: number): void {
    this.lastTag = tag;
    const length = bodyLength(bytes, start);
    const body = bytes.subarray(bodyStart(bytes, start), bodyStart(bytes, start) + length);
    assert(body.subarray(12).equals(Buffer.alloc(Math.max(length - 12, 0), 'x')));
    this.given.push(`${what}${body.toString('latin1', 0, 12)} of ${length}, tag ${tag}${isRedelivered ? ', again' : ''}`);
  }
}

const deadLettersTo = (queue: string): FieldTable => ({ 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': queue });
const queues: Readonly<Record<string, FieldTable>> = {
  plain: {},
  timed: { 'x-message-ttl': 15_500, ...deadLettersTo('over') },
  over: {},
  short: { 'x-max-length': 20, ...deadLettersTo('too-many') },
  'too-many': {},
  light: { 'x-max-length-bytes': 60_000, 'x-overflow': 'reject-publish' },
  ranked: { 'x-max-priority': 3 },
  alone: { 'x-single-active-consumer': true },
};
const names = Object.keys(queues);

type Step = (side: Side) => Promise<void> | void;

/** What both sides are asked in one step. */
function drawStep(random: SeededRandom, step: number): Step {
  const queue = names[random.below(names.length)]!;
  const choice = random.below(100);
  if (choice < 55) {
    const count = 1 + random.below(20);
    const bodies = Array.from({ length: count }, (_, i) => `${step}.${i} `.padEnd(12 + random.below(random.chance(0.1) ? 9000 : 200), 'x'));
    const priority = random.below(4);
    const own = random.chance(0.2) ? { expiration: '9500' } : {};
    if (random.chance(0.15)) {
      // Large, so that they fill a chunk: nothing else lets it go.
      const large = bodies.map((body) => body.padEnd(60_000, 'x'));
      return (side) => large.forEach((body) => side.publish(queue, body, { deliveryMode: 1, priority, ...own }));
    }
    return (side) => bodies.forEach((body) => side.publish(queue, body, { deliveryMode: 2, priority, ...own }));
  }
  if (choice < 65) return (side) => side.reader(queue).consume(1 + (step % 30));
  if (choice < 70) return (side) => void side.reader(queue).session.cancel('c');
  if (choice < 76) return (side) => void side.reader(queue).get(step % 2 === 0);
  if (choice < 92) {
    const back = random.below(random.chance(0.5) ? 4 : 40);
    const how = random.below(4);
    const isMultiple = random.chance(0.5);
    return (side) => {
      const { session, lastTag } = side.reader(queue);
      const tag = lastTag - back;
      if (how < 2) session.acknowledge(tag, isMultiple);
      else session.reject(tag, isMultiple, how === 2);
    };
  }
  if (choice < 94) return (side) => void side.queue(queue).purge();
  if (choice < 95) return (side) => void side.storage.host.deleteQueue(side.publisher, queue, { ifUnused: false, ifEmpty: false });
  if (choice < 98) return () => undefined;
  const how = random.chance(0.5) ? 'close' : 'kill';
  return async (side) => {
    await side.end(how);
    await side.open();
  };
}

async function compare(seed: number): Promise<{ readonly evictedMost: number }> {
  const random = new SeededRandom(seed);
  const sides = [new Side(seed, 1), new Side(seed, 1 << 30)] as const;
  let evictedMost = 0;
  for (const side of sides) await side.open();
  const begin = sides[0].machine.clock.monotonicMs() + 1000;
  for (let step = 0; step < 220; step++) {
    const act = drawStep(random, step);
    const seen: unknown[] = [];
    for (const side of sides) {
      const { clock } = side.machine;
      // Each step begins and ends at the same moment, so that the same is over on both sides however long their disks took.
      const until = (ms: number): Promise<void> => clock.advance(begin + 1000 * step + ms - clock.monotonicMs());
      await until(0);
      for (const name of names) side.declare(name, queues[name]!);
      await act(side);
      for (const name of names) side.declare(name, queues[name]!);
      await until(950);
      assert.equal(side.failure, undefined);
      seen.push([step, side.look(names)]);
    }
    assert.deepEqual(seen[0], seen[1]);
    assert.equal(sides[1].evictedCount, 0);
    evictedMost = Math.max(evictedMost, sides[0].evictedCount);
  }
  return { evictedMost };
}

describe('a broker with next to no memory for messages', () => {
  it.each(Array.from({ length: Number(process.env['PAGING_RUNS'] ?? 8) }, (_, i) => i + 1))(
    'gives the same to everybody as one with plenty, seed %i',
    async (seed) => {
      const { evictedMost } = await compare(seed);
      expect(evictedMost).toBeGreaterThan(2);
    },
  );

  it('reads a backlog back in order, one piece after the other, without making anybody wait', async () => {
    const side = new Side(1, 1);
    await side.open();
    side.declare('q', {});
    for (let i = 0; i < 2000; i++) {
      side.publish('q', `${i} `.padEnd(200, 'x'));
      if (i % 50 === 0) await side.machine.clock.advance(100);
    }
    await side.machine.clock.advance(1000);
    expect(side.confirmedCount).toBe(2000);
    expect(side.evictedCount).toBeGreaterThan(15);
    let readsNow = 0;
    const reader = side.storage.arena.reader!;
    const readNow = reader.readNow.bind(reader);
    reader.readNow = (...place) => (readsNow++, readNow(...place));
    const { session, given } = side.reader('q');
    side.reader('q').consume(10);
    for (let tag = 1; tag <= 2000; tag += 10) {
      await side.machine.clock.advance(100);
      session.acknowledge(tag + 9, true);
    }
    expect(given.map((line) => Number.parseInt(line))).toEqual(Array.from({ length: 2000 }, (_, i) => i));
    expect(side.evictedCount).toBe(0);
    expect(readsNow).toBe(0);
  });
});

describe('transient messages that memory has no room for', () => {
  const large = (number: number): string => `${number} `.padEnd(100_000, 'x');

  async function spilled(side: Side): Promise<readonly string[]> {
    return side.machine.clock.drive(side.machine.disk.list('/data/spill'));
  }

  async function publishAll(side: Side, count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      side.publish('q', large(i), { deliveryMode: 1 });
      if (i % 10 === 9) await side.machine.clock.advance(100);
    }
    await side.machine.clock.advance(1000);
  }

  it('wait on the disk, come back in order, and leave nothing there', async () => {
    const side = new Side(1, 1);
    await side.open();
    side.declare('q', {});
    await publishAll(side, 200);
    expect(side.evictedCount).toBeGreaterThan(15);
    expect(await spilled(side)).toHaveLength(side.evictedCount);
    const { session, given } = side.reader('q');
    side.reader('q').consume(20);
    for (let tag = 10; tag <= 200; tag += 10) {
      await side.machine.clock.advance(200);
      session.acknowledge(tag, true);
    }
    await side.machine.clock.advance(1000);
    expect(given.map((line) => Number.parseInt(line))).toEqual(Array.from({ length: 200 }, (_, i) => i));
    expect(await spilled(side)).toEqual([]);
  });

  it('are gone after a crash, with their files', async () => {
    const side = new Side(1, 1);
    await side.open();
    side.declare('q', {});
    await publishAll(side, 50);
    expect(await spilled(side)).not.toEqual([]);
    await side.end('kill');
    await side.open();
    expect(side.look(['q'])).toEqual([['q', 0], 0, 0]);
    expect(await spilled(side)).toEqual([]);
  });

  it('stay in memory while the disk is full', async () => {
    const side = new Side(1, 1);
    await side.open();
    side.declare('q', {});
    await side.machine.clock.advance(100);
    side.machine.faults.fillUpAfter(1_500_000);
    await publishAll(side, 100);
    expect(side.evictedCount).toBe(1);
    side.machine.faults.freeUp();
    await side.machine.clock.advance(6000);
    await publishAll(side, 100);
    expect(side.evictedCount).toBeGreaterThan(10);
    expect(side.failure).toBeUndefined();
    side.reader('q').consume(0);
    await side.machine.clock.advance(2000);
    const order = Array.from({ length: 100 }, (_, i) => i);
    expect(side.reader('q').given.map((line) => Number.parseInt(line))).toEqual([...order, ...order]);
  });
});

describe('what cannot be read back', () => {
  async function withBacklog(): Promise<Side> {
    const side = new Side(1, 1);
    await side.open();
    side.declare('q', {});
    for (let i = 0; i < 1000; i++) {
      side.publish('q', `${i} `.padEnd(200, 'x'));
      if (i % 50 === 0) await side.machine.clock.advance(100);
    }
    await side.machine.clock.advance(1000);
    assert(side.evictedCount > 5);
    return side;
  }

  it('ends the broker: a read that fails while a consumer waits', async () => {
    const side = await withBacklog();
    side.reader('q').consume(0);
    side.machine.faults.fail('read', { nth: 2 });
    await side.machine.clock.advance(1000);
    expect(side.failure?.code).toBe('storage-failed');
    expect(side.failure?.message).toMatch(/^Reading messages back from \/data\/journal\/\d+\.log failed: .*Check the disk/);
    expect(side.reader('q').given.length).toBeLessThan(1000);
  });

  it('ends the broker: a read that fails while everybody waits', async () => {
    const side = await withBacklog();
    side.machine.faults.fail('read', { nth: 3 });
    expect(() => {
      while (side.reader('q').get(false));
    }).toThrow('Reading messages back');
    expect(side.failure?.code).toBe('storage-failed');
  });

  it('ends the broker: bytes that are not what was written', async () => {
    const side = await withBacklog();
    const file = await side.machine.clock.drive(side.machine.disk.open('/data/journal/0000000000000003.log', 'edit'));
    await side.machine.clock.drive(new Promise<void>((resolve) => file.write([Buffer.from('y')], 9000, () => resolve())));
    side.reader('q').consume(0);
    await side.machine.clock.advance(1000);
    expect(side.failure?.code).toBe('data-damaged');
    expect(side.failure?.message).toContain('/data/journal/0000000000000003.log is damaged between bytes 28 and ');
    expect(side.reader('q').given.every((line) => !line.includes('y'))).toBe(true);
  });
});

describe('a journal with messages that nobody takes', () => {
  async function journalBytes(side: Side): Promise<number> {
    const { clock, disk } = side.machine;
    let bytes = 0;
    for (const name of await clock.drive(disk.list('/data/journal'))) {
      const file = await clock.drive(disk.open(`/data/journal/${name}`, 'read'));
      bytes += await clock.drive(file.size());
      await clock.drive(file.close());
    }
    return bytes;
  }

  /** Sends much through one queue, and now and then something to the others. */
  async function flow(side: Side, messages: number, keep: (number: number) => void): Promise<void> {
    side.reader('flow').consume(0);
    for (let i = 0; i < messages; i++) {
      side.publish('flow', `${i} `.padEnd(200, 'x'));
      if (i % 25 === 0) keep(i);
      if (i % 50 !== 49) continue;
      await side.machine.clock.advance(30);
      side.reader('flow').session.acknowledge(0, true);
    }
    await side.machine.clock.advance(2000);
  }

  function everythingIn(side: Side, queue: string): number[] {
    const reader = side.reader(queue);
    reader.given.length = 0;
    while (reader.get(false));
    return reader.given.map((line) => Number.parseInt(line.replace(/^one of \d+: /, '')));
  }

  it.each([1, 32 << 20])('stays short, and keeps them in order through restarts, with %i bytes of memory', async (residentBytesMax) => {
    const side = new Side(1, residentBytesMax);
    await side.open();
    for (const name of ['flow', 'kept', 'ranked']) side.declare(name, queues[name] ?? {});
    const kept: number[] = [];
    const keep = (number: number): void => {
      side.publish(number % 50 === 0 ? 'kept' : 'ranked', `${number} `.padEnd(150, 'x'));
      kept.push(number);
    };
    const both = (): number[] => [...everythingIn(side, 'kept'), ...everythingIn(side, 'ranked')].sort((one, other) => one - other);
    for (let round = 0; round < 4; round++) {
      await flow(side, 3000, (i) => keep(i + 3000 * round));
      const live = kept.length * 250;
      expect(await journalBytes(side)).toBeLessThan(2 * live + 6 * 24 * 1024 + 10_000);
      await side.end(round % 2 === 0 ? 'kill' : 'close');
      await side.open();
      const inOrder = [...kept];
      expect(everythingIn(side, 'kept')).toEqual(inOrder.filter((number) => number % 50 === 0));
      side.reader('kept').session.recover();
      expect(both()).toEqual(inOrder);
      for (const name of ['kept', 'ranked']) side.reader(name).session.recover();
    }
    expect(side.failure).toBeUndefined();
    await side.end('close');
    const checked = await side.machine.clock.drive(checkFolder('/data', { ground: side.machine.startProcess().ground }));
    expect([checked.problems, checked.queues.map(({ messages }) => messages)]).toEqual([[], [0, kept.length / 2, kept.length / 2]]);
  });

  it.each(['kill', 'room'])('loses nothing where the disk is full in the middle of a move, and then comes a %s', async (next) => {
    const side = new Side(3, 1);
    await side.open();
    for (const name of ['flow', 'kept']) side.declare(name, {});
    const { log } = (side.storage.hosts as unknown as { readonly parts: { readonly log: MessageLog } }).parts;
    const append = log.appendMoved.bind(log);
    let moves = 0;
    log.appendMoved = (...message) => {
      if (moves++ === 30) side.machine.faults.fillUpAfter(200);
      append(...message);
    };
    let published = 0;
    const publish = side.publish.bind(side);
    side.publish = (...message) => {
      published++;
      publish(...message);
    };
    const kept: { readonly number: number; readonly at: number }[] = [];
    await flow(side, 2500, (number) => {
      side.publish('kept', `${number} `.padEnd(150, 'x'));
      kept.push({ number, at: published });
    });
    expect(moves).toBeGreaterThan(30);
    expect(side.confirmedCount).toBeLessThan(published); // the disk is full, and nothing is committed
    const confirmed = side.confirmedCount;
    if (next === 'kill') {
      await side.end('kill');
      side.machine.faults.freeUp();
      await side.open();
    } else {
      side.machine.faults.freeUp();
      await side.machine.clock.advance(10_000);
      expect(side.confirmedCount).toBe(published);
    }
    expect(side.failure).toBeUndefined();
    const sure = kept.filter(({ at }) => next === 'room' || at <= confirmed).map(({ number }) => number);
    expect(sure.length).toBeGreaterThan(30);
    expect(everythingIn(side, 'kept').slice(0, sure.length)).toEqual(sure);
  });

  it('stays short while consumers hold messages, come and go, and other queues have the same', async () => {
    const side = new Side(2, 1);
    await side.open();
    const { host } = side.storage;
    for (const name of ['flow', 'held', 'returned']) side.declare(name, {});
    host.declareQueue(side.publisher, 'passing', { passive: false, durable: false, exclusive: false, autoDelete: false, arguments: {} });
    host.declareExchange(side.publisher, 'all', 'fanout', {
      passive: false,
      durable: true,
      autoDelete: false,
      internal: false,
      arguments: {},
    });
    for (const name of ['held', 'returned', 'passing']) host.bindQueue(side.publisher, name, 'all', '', {});
    const kept: number[] = [];
    const toAll = (number: number): void => {
      kept.push(number);
      const image = writeContent('all', '', { deliveryMode: 2 }, Buffer.from(`${number} `.padEnd(150, 'x')));
      side.publisher.publish(host.route('all', ''), true, image, 0, image.length);
    };
    side.reader('held').consume(0);
    for (let round = 0; round < 4; round++) {
      await flow(side, 1500, (i) => toAll(i + 1500 * round));
      everythingIn(side, 'returned');
      side.reader('returned').session.recover();
    }
    expect(await journalBytes(side)).toBeLessThan(2 * kept.length * 280 + 6 * 24 * 1024 + 10_000);
    expect(everythingIn(side, 'passing')).toEqual(kept);
    expect(everythingIn(side, 'returned')).toEqual(kept);
    expect(side.reader('held').given.map((line) => Number.parseInt(line))).toEqual(kept);
    await side.end('kill');
    await side.open();
    expect(everythingIn(side, 'held')).toEqual(kept);
    expect(everythingIn(side, 'returned')).toEqual(kept);
  });
});

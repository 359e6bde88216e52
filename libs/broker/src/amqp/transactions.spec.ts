/** Transactions: what is said about them, what they promise after a crash in every place, and how much of them there may be. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { type SimulatedGround, simulatedGround } from '@dovecote/ground/testing';
import { Broker } from '../broker.js';
import type { BrokerSession, Delivery, OutgoingMessage } from '../engine/in-process.js';
import { openStorage, type OpenStorage } from '../engine/open-storage.js';
import { defaultLimits } from '../limits.js';
import { writeContent } from '../queues/content.js';
import type { Session, SessionSink } from '../queues/session.js';
import { AmqpWorld } from './amqp-world.js';
import { handshake, method, openChannel, publish } from './scripted-client.js';
import { transactionConversations } from './transaction-conversations.js';

let opened: AmqpWorld[] = [];
afterEach(async () => {
  for (const world of opened) await world.close();
  opened = [];
});

async function openWorld(options: Parameters<typeof AmqpWorld.open>[0] = {}): Promise<AmqpWorld> {
  const world = await AmqpWorld.open(options);
  opened.push(world);
  return world;
}

/** What several channels are told may be mixed; on each of them the order counts. Headers of a death are looked at elsewhere. */
function byChannel(lines: readonly string[]): readonly string[] {
  const channelOf = (line: string): number => Number(/^[\w.-]+ (\d+)/.exec(line)?.[1] ?? 99);
  const short = lines.map((line) => (line.startsWith('header ') && line.length > 120 ? `${line.slice(0, 8)} and more` : line));
  return short.sort((one, other) => channelOf(one) - channelOf(other));
}

describe('transactions are talked about as with a RabbitMQ 4.0.5', () => {
  it.each(transactionConversations)('%s', async (_name, turns) => {
    const world = await openWorld();
    const client = await world.connected(Buffer.concat([handshake, openChannel]));
    for (const [said, ...answered] of turns) {
      client.send(...said);
      await world.settle();
      expect(byChannel(client.take())).toEqual(byChannel(answered));
    }
  });
});

describe('a commit over a socket', () => {
  const begin = Buffer.concat([handshake, openChannel, method('tx.select'), method('queue.declare', { queue: 'q', durable: true })]);
  const commit = method('tx.commit');

  it('is answered when it is on the disk, and so are several on one connection, in their order', async () => {
    const world = await openWorld({ durability: 'fsync' });
    const client = await world.connected(begin);
    client.send(method('channel.open', {}, 2), method('tx.select', {}, 2));
    await world.clock.advance(50);
    client.take();
    client.send(publish({ routingKey: 'q' }, 'one', { deliveryMode: 2 }), commit);
    client.send(publish({ routingKey: 'q' }, 'two', { deliveryMode: 2 }, { channel: 2 }), method('tx.commit', {}, 2), method('basic.qos'));
    await world.settle();
    expect(client.take()).toEqual([]);
    await world.clock.advance(50);
    expect(client.take()).toEqual(['tx.commit-ok 1 {}', 'tx.commit-ok 2 {}', 'basic.qos-ok 1 {}']);
  });

  it('of nothing that is kept is answered at once', async () => {
    const world = await openWorld({ durability: 'fsync' });
    const client = await world.connected(begin);
    await world.clock.advance(50);
    client.take();
    client.send(publish({ routingKey: 'q' }, 'one', { deliveryMode: 1 }), commit, commit);
    await world.settle();
    expect(client.take()).toEqual(['tx.commit-ok 1 {}', 'tx.commit-ok 1 {}']);
  });

  it('is refused when it became too large, on all channels of the connection together, and gives its memory back', async () => {
    const world = await openWorld({ limits: { transactionBytesMax: 10_000 } });
    const client = await world.connected(begin);
    const large = (channel: number) => publish({ routingKey: 'q' }, Buffer.alloc(6000), {}, { channel });
    client.send(method('channel.open', {}, 2), method('tx.select', {}, 2), large(1), large(2));
    await world.settle();
    const text = 'PRECONDITION_FAILED - more than 10000 bytes in transactions of this connection that are not committed: commit more often';
    const refused = JSON.stringify({ replyCode: 406, replyText: text, failedClass: 60, failedMethod: 40 });
    expect(client.take().slice(2)).toEqual([`channel.close 2 ${refused}`]);
    for (let round = 0; round < 3; round++) client.send(commit, large(1), method('tx.rollback'), large(1));
    await world.settle();
    expect(client.take()).toHaveLength(6);
    client.send(method('channel.close'));
    client.cut();
    await world.settle();
    expect(world.storage.host.queues[Symbol.iterator]().next().value!.messageCount).toBe(3);
  });

  it('holds no memory after it was given up', async () => {
    const world = await openWorld();
    const client = await world.connected(begin);
    const before = world.storage.arena.bytesInUse;
    for (let i = 0; i < 20; i++) client.send(publish({ routingKey: 'q' }, Buffer.alloc(500_000)));
    await world.settle();
    expect(world.storage.arena.bytesInUse).toBeGreaterThan(before + 9_000_000);
    client.cut();
    await world.settle();
    expect(world.storage.arena.bytesInUse).toBeLessThanOrEqual(before + (1 << 20));
  });
});

/** A session that writes nothing down. */
class Silent implements SessionSink {
  readonly session: Session;

  constructor(readonly storage: OpenStorage) {
    this.session = storage.host.createSession(storage.host.createOwner(), this);
  }

  publish(exchange: string, key: string, bytes: number): void {
    const image = writeContent(exchange, key, { deliveryMode: 2 }, Buffer.alloc(bytes, key));
    this.session.publish(this.storage.host.route(exchange, key), true, image, 0, image.length);
  }

  get(queue: string, count: number): void {
    for (let i = 0; i < count; i++) this.session.get(this.storage.host.findQueue(this.session, queue), false);
  }

  deliver(): void {}
  got(): void {}
  confirmed(): void {}
  rejected(): void {}
  cancelled(): void {}
}

const folder = '/data/journal';
type Folder = ReadonlyMap<string, Buffer>;

async function openOn(machine: SimulatedGround): Promise<OpenStorage> {
  const { ground } = machine.startProcess();
  return machine.clock.drive(openStorage({ data: '/data', durability: 'fsync' }, ground, defaultLimits));
}

async function filesOf(machine: SimulatedGround): Promise<Folder> {
  const { disk } = machine;
  const read = async (): Promise<Folder> => {
    const files = new Map<string, Buffer>();
    for (const name of await disk.list(folder)) {
      const file = await disk.open(`${folder}/${name}`, 'read');
      const bytes = Buffer.alloc(await file.size());
      await file.read(bytes, 0);
      files.set(name, bytes);
    }
    return files;
  };
  return machine.clock.drive(read());
}

async function machineWith(files: Folder, seed: number): Promise<SimulatedGround> {
  const machine = simulatedGround(seed);
  const { disk, clock } = machine;
  const write = async (): Promise<void> => {
    await disk.makeDirectory('/data');
    await disk.makeDirectory(folder);
    for (const [name, bytes] of files) {
      const file = await disk.open(`${folder}/${name}`, 'create');
      await new Promise((resolve) => file.write([bytes], 0, resolve));
      await new Promise((resolve) => file.sync(resolve));
    }
    for (const path of ['/data', folder]) await disk.syncDirectory(path);
  };
  await clock.drive(write());
  return machine;
}

function counts(storage: OpenStorage): string {
  return [...storage.host.queues].map(({ name, messageCount }) => `${name} ${messageCount}`).join(', ');
}

/** A folder before and behind one commit that publishes several batches, acknowledges, and makes a dead letter. */
async function aroundOneCommit(): Promise<{ before: Folder; behind: Folder; countsBefore: string; countsBehind: string }> {
  const machine = simulatedGround(3);
  const storage = await openOn(machine);
  const { host } = storage;
  const setup = new Silent(storage);
  const declaration = { passive: false, durable: true, exclusive: false, autoDelete: false, arguments: {} };
  for (const queue of ['a', 'b', 'd']) host.declareQueue(setup.session, queue, declaration);
  const deadTo = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'd' };
  host.declareQueue(setup.session, 'c', { ...declaration, arguments: deadTo });
  for (const queue of ['a', 'b']) host.bindQueue(setup.session, queue, 'amq.fanout', '', {});
  for (const queue of ['a', 'a', 'a', 'a', 'a', 'c', 'c', 'c']) setup.publish('', queue, 10);
  await machine.clock.advance(100);
  const inTransaction = new Silent(storage);
  const { session } = inTransaction;
  session.beginTransactions();
  inTransaction.get('a', 4);
  inTransaction.get('c', 2);
  for (let i = 0; i < 3; i++) inTransaction.publish('amq.fanout', 'k', 700_000);
  for (let i = 0; i < 10; i++) inTransaction.publish('', 'b', 5);
  session.acknowledge(1, false);
  session.acknowledge(3, false);
  session.reject(5, false, false);
  session.reject(4, false, true);
  await machine.clock.advance(100);
  const before = await filesOf(machine);
  session.commitTransaction(() => undefined);
  await machine.clock.advance(100);
  const behind = await filesOf(machine);
  return { before, behind, countsBefore: 'a 5, b 0, d 0, c 3', countsBehind: 'a 6, b 13, d 1, c 2' };
}

describe('after a loss of power in the middle of a commit', () => {
  it('a transaction of several batches is there as a whole or not at all, also at the openings after that', async () => {
    const { before, behind, countsBefore, countsBehind } = await aroundOneCommit();
    const [name] = [...behind.keys()];
    const whole = behind.get(name!)!;
    const start = before.get(name!)!.length;
    const mark = Buffer.from('d04eba7c', 'hex');
    const cuts = new Set<number>([start, whole.length]);
    for (let at = whole.indexOf(mark, start); at >= 0; at = whole.indexOf(mark, at + 1))
      for (const by of [-1, 0, 1]) cuts.add(Math.max(at + by, start));
    expect(cuts.size).toBeGreaterThan(8); // three batches at least
    for (let i = 0; i < 12; i++) cuts.add(start + Math.floor(((whole.length - start) * i) / 12));
    for (const back of [1, 2, 15, 40]) cuts.add(whole.length - back);
    for (const cut of cuts) {
      const machine = await machineWith(new Map([[name!, whole.subarray(0, cut)]]), cut);
      const expected = cut === whole.length ? countsBehind : countsBefore;
      const storage = await openOn(machine);
      expect(`${cut}: ${counts(storage)}`).toBe(`${cut}: ${expected}`);
      new Silent(storage).publish('', 'd', 3);
      await machine.clock.advance(100);
      machine.crash({ power: true });
      const again = await openOn(machine);
      expect(`${cut}: ${counts(again)}`).toBe(`${cut}: ${expected.replace(/d (\d)/, (_, n: string) => `d ${Number(n) + 1}`)}`);
    }
  });
});

/** A broker on its machine, at the moment at which something is going to be done with it. */
interface Prepared {
  readonly machine: SimulatedGround;
  readonly storage: OpenStorage;
  /** Begins it; what follows from it follows by itself. */
  readonly begin: () => void;
}

/** Cuts the power after each event of what `prepare` begins, until nothing more happens; calls `check` with what the next opening finds. */
async function cutAtEveryStep(prepare: () => Promise<Prepared>, check: (step: number, after: OpenStorage) => void): Promise<number> {
  for (let step = 0; ; step++) {
    const { machine, begin } = await prepare();
    begin();
    const { clock } = machine;
    const end = clock.monotonicMs() + 200;
    let done = 0;
    while (done < step && (clock.nextDueMs ?? Infinity) <= end) {
      clock.step();
      for (let turn = 0; turn < 50; turn++) await Promise.resolve(); // promises have their turn
      done++;
    }
    if (done < step) return step;
    machine.crash({ power: true });
    const after = await openOn(machine);
    await clock.advance(200);
    check(step, after);
  }
}

describe('a loss of power in each step', () => {
  const declaration = { passive: false, durable: true, exclusive: false, autoDelete: false, arguments: {} };
  const deadTo = (queue: string) => ({ 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': queue });

  async function prepare(
    arguments_: Readonly<Record<string, object>>,
    held: readonly string[],
  ): Promise<Silent & { machine: SimulatedGround }> {
    const machine = simulatedGround(5);
    const storage = await openOn(machine);
    const silent = new Silent(storage);
    for (const [queue, given] of Object.entries(arguments_)) {
      storage.host.declareQueue(silent.session, queue, { ...declaration, arguments: given as never });
    }
    for (const queue of held) silent.publish('', queue, 10);
    await machine.clock.advance(100);
    for (const queue of held) silent.get(queue, 1);
    return Object.assign(silent, { machine });
  }

  it('of dead letters that go from queue to queue loses none, and leaves each of them in one place or, in between, in both', async () => {
    const queues = {
      a: deadTo('b'),
      b: { 'x-max-length': 0, ...deadTo('c') },
      c: { 'x-max-priority': 3 },
      d: { 'x-message-ttl': 20, ...deadTo('c') },
    };
    const steps = await cutAtEveryStep(
      async () => {
        const silent = await prepare(queues, ['a', 'a', 'a']);
        const begin = (): void => {
          silent.session.reject(0, true, false);
          silent.publish('', 'd', 10);
        };
        return { machine: silent.machine, storage: silent.storage, begin };
      },
      (step, after) => {
        const found = Object.fromEntries([...after.host.queues].map(({ name, messageCount }) => [name, messageCount])) as Record<
          string,
          number
        >;
        const rejected = found['a']! + found['b']! + found['c']!;
        expect(rejected).toBeGreaterThanOrEqual(3);
        expect(`${step}: ${rejected <= 3 + 1 + found['a']!}`).toBe(`${step}: true`);
      },
    );
    expect(steps).toBeGreaterThan(10);
  });

  it('of a transaction leaves all of it or nothing', async () => {
    const before = 'a 3, b 0, c 0';
    const behind = 'a 1, b 2, c 2';
    const seen = new Set<string>();
    const steps = await cutAtEveryStep(
      async () => {
        const silent = await prepare({ a: deadTo('c'), b: {}, c: {} }, ['a', 'a', 'a']);
        const { session, storage, machine } = silent;
        session.beginTransactions();
        for (const queue of ['b', 'b', 'c']) silent.publish('', queue, 50);
        session.acknowledge(1, false);
        session.reject(2, false, false);
        const begin = (): void => void session.commitTransaction(() => undefined);
        return { machine, storage, begin };
      },
      (step, after) => {
        seen.add(counts(after));
        expect(`${step}: ${[before, behind].includes(counts(after)) ? 'whole' : counts(after)}`).toBe(`${step}: whole`);
      },
    );
    expect(steps).toBeGreaterThan(3);
    expect([...seen].sort()).toEqual([behind, before].sort());
  });
});

describe('in the process', () => {
  const message = (routingKey: string, body: string, exchange = ''): OutgoingMessage => ({
    exchange,
    routingKey,
    body: Buffer.from(body),
    properties: { deliveryMode: 2 },
  });

  async function begin(): Promise<{ machine: SimulatedGround; broker: Broker; session: BrokerSession; held: Delivery[] }> {
    const machine = simulatedGround(1);
    const drive = <T>(work: Promise<T>): Promise<T> => machine.clock.drive(work);
    const broker = await drive(Broker.open({ data: '/data', ground: machine.startProcess().ground, limits: { transactionBytesMax: 100 } }));
    const session = broker.session();
    for (const queue of ['in', 'out', 'also']) await drive(session.declareQueue(queue, { durable: true }));
    await drive(session.publish(message('in', 'one')));
    await drive(session.publish(message('in', 'two')));
    const held: Delivery[] = [];
    await drive(session.consume('in', {}, (delivery) => void held.push(delivery)));
    await machine.clock.advance(50);
    return { machine, broker, session, held };
  }

  const open = (machine: SimulatedGround): Promise<Broker> =>
    machine.clock.drive(Broker.open({ data: '/data', ground: machine.startProcess().ground }));
  const left = (broker: Broker): string =>
    broker
      .inspect()
      .queues.map(({ name, messageCount, unacknowledgedCount }) => `${name} ${messageCount}+${unacknowledgedCount}`)
      .join(', ');

  it('what is taken and what is made of it happen together, and a crash before the promise keeps neither', async () => {
    const { machine, broker, session, held } = await begin();
    const done = session.transact({ publish: [message('out', 'a'), message('also', 'b'), message('none', 'c')], acknowledge: [held[0]!] });
    await expect(machine.clock.drive(done)).resolves.toEqual(['confirmed', 'confirmed', 'unroutable']);
    expect(left(broker)).toBe('in 0+1, out 1+0, also 1+0');
    void session.transact({ publish: [message('out', 'd')], acknowledge: [held[1]!] }).catch(() => undefined);
    machine.crash({ power: true });
    expect(left(await open(machine))).toBe('in 1+0, out 1+0, also 1+0');
  });

  it('an unknown exchange or too much of it refuses the whole before anything is done', async () => {
    const { machine, broker, session, held } = await begin();
    const unknown = session.transact({ publish: [message('out', 'a'), message('k', 'b', 'nowhere')], acknowledge: [held[0]!] });
    await expect(machine.clock.drive(unknown)).rejects.toMatchObject({ code: 'no-exchange' });
    const large = session.transact({ publish: [message('out', 'x'.repeat(101))] });
    await expect(machine.clock.drive(large)).rejects.toMatchObject({ code: 'transaction-too-large' });
    expect(left(broker)).toBe('in 0+2, out 0+0, also 0+0');
    await machine.clock.drive(session.transact({ acknowledge: held }));
    machine.crash({ power: true });
    expect(left(await open(machine))).toBe('in 0+0, out 0+0, also 0+0');
  });

  it('a full queue says so after the rest is done', async () => {
    const { machine, broker, session, held } = await begin();
    const bounds = { 'x-max-length': 1, 'x-overflow': 'reject-publish' };
    await machine.clock.drive(session.declareQueue('small', { durable: true, arguments: bounds }));
    const done = session.transact({
      publish: [message('small', 'a'), message('small', 'b'), message('out', 'c')],
      acknowledge: [held[0]!],
    });
    await expect(machine.clock.drive(done)).rejects.toMatchObject({ code: 'queue-full', retryable: true });
    expect(left(broker)).toBe('in 0+1, out 1+0, also 0+0, small 1+0');
  });
});

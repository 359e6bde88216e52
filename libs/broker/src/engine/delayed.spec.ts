/** x-delayed-message: what is held and for how long, where it goes then, random commands against a plain model, and power cuts. */
import { describe, expect, it } from '@jest/globals';
import { SeededRandom } from '@dovecote/ground/testing';
import { CodedError } from '../errors.js';
import type { Limits } from '../limits.js';
import type { FieldTable, FieldValue } from '../queues/field-table.js';
import type { MessageProperties } from '../queues/properties.js';
import { inMemory, Machine, type ScriptedSession } from './scripted-session.js';

const persistent = { deliveryMode: 2 } as const;
const later = (delay: FieldValue, more: MessageProperties = {}): MessageProperties => ({ ...more, headers: { 'x-delay': delay } });

function bodies(client: ScriptedSession, queue: string): string[] {
  const all: string[] = [];
  for (let got = client.get(queue); got !== undefined; got = client.get(queue)) all.push(got.body);
  return all;
}

describe('an x-delayed-message exchange', () => {
  it('holds what has the header, and gives it out by time and then by arrival', async () => {
    const { client, clock, storage } = await inMemory();
    client.declareExchange('later', 'x-delayed-message', { 'x-delayed-type': 'direct' });
    client.declare('q');
    client.bind('q', 'later', 'k');
    client.publishTo('later', 'k', 'c', later(30, { headers: {} }));
    client.publishTo('later', 'k', 'a', later(10));
    client.publishTo('later', 'k', 'b', later(10));
    client.publishTo('later', 'k', 'now');
    client.publishTo('later', 'other', 'lost', later(10));
    await clock.advance(0);
    expect([bodies(client, 'q'), storage.host.heldCount('later'), client.answers.length]).toEqual([['now'], 4, 5]);
    await clock.advance(9);
    expect(bodies(client, 'q')).toEqual([]);
    await clock.advance(1);
    expect(bodies(client, 'q')).toEqual(['a', 'b']);
    await clock.advance(20);
    expect(client.get('q')).toMatchObject({ body: 'c', isRedelivered: false, properties: { headers: { 'x-delay': -30 } } });
    expect(storage.host.heldCount('later')).toBe(0);
    client.session.close();
    expect(storage.arena.chunks.filter((chunk) => chunk !== undefined && chunk.live > 0)).toHaveLength(1);
  });

  it.each<[FieldValue, number]>([
    [1, 1],
    ['25', 25],
    [12.9, 12],
    [{ float: 40 }, 40],
    [0xffff_ffff, 0xffff_ffff],
    [0x1_0000_0000, 0],
    [9_007_199_254_740_993n, 0],
    [0, 0],
    [-5, 0],
    ['-5', 0],
    [true, 0],
    [null, 0],
    [{ timestamp: 5 }, 0],
    [[5], 0],
  ])('takes %p for %p milliseconds', async (value, delayMs) => {
    const { client, clock } = await inMemory();
    client.declareExchange('later', 'x-delayed-message', { 'x-delayed-type': 'fanout' });
    client.declare('q');
    client.bind('q', 'later', '');
    client.publishTo('later', '', 'x', later(value));
    await clock.advance(Math.max(delayMs - 1, 0));
    expect(client.count('q')).toBe(delayMs === 0 ? 1 : 0);
    await clock.advance(1);
    expect(client.count('q')).toBe(1);
  });

  it('refuses a string that is no number, and types that are none', async () => {
    const { client } = await inMemory();
    client.declareExchange('later', 'x-delayed-message', { 'x-delayed-type': 'fanout' });
    expect(() => client.publishTo('later', '', 'x', later('soon'))).toThrow("invalid header 'x-delay': 'soon' is no whole number of");
    const declare = (given: FieldTable): unknown => {
      try {
        client.declareExchange('another', 'x-delayed-message', given);
        return undefined;
      } catch (error) {
        return error instanceof CodedError ? [error.code, error.message] : error;
      }
    };
    const mustExist = "Invalid argument, 'x-delayed-type' must be an existing exchange type";
    expect(declare({})).toEqual(['invalid-argument', mustExist]);
    expect(declare({ 'x-delayed-type': 5 })).toEqual(['invalid-argument', mustExist]);
    expect(declare({ 'x-delayed-type': 'none' })).toEqual(['unknown-exchange-type', "unknown exchange type 'none'"]);
    expect(declare({ 'x-delayed-type': 'x-delayed-message' })).toEqual([
      'invalid-argument',
      "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'",
    ]);
    expect(declare({ 'x-delayed-type': 'x-consistent-hash', 'hash-header': 5 })).toEqual([
      'invalid-argument',
      "invalid type 'signedint' for arg 'hash-header'; expected longstr",
    ]);
    expect(declare({ 'x-delayed-type': 'x-consistent-hash' })).toBeUndefined();
    client.declare('q');
    expect(() => client.bind('q', 'another', 'k')).toThrow('The binding key must be an integer'); // as the type it routes by
  });

  it('routes by what is bound when the message is due, and to the alternate exchange where that is nothing', async () => {
    const { client, clock, storage } = await inMemory();
    client.declareExchange('later', 'x-delayed-message', { 'x-delayed-type': 'topic', 'alternate-exchange': 'rest' });
    client.declareExchange('rest', 'fanout');
    for (const queue of ['early', 'late', 'rest']) client.declare(queue);
    client.bind('rest', 'rest', '');
    client.bind('early', 'later', 'a.*');
    client.publishTo('later', 'a.b', 'moved', later(10));
    client.publishTo('later', 'x', 'unbound', later(10));
    client.unbind('early', 'later', 'a.*');
    client.bind('late', 'later', '#.b');
    await clock.advance(10);
    expect(['early', 'late', 'rest'].map((queue) => bodies(client, queue))).toEqual([[], ['moved'], ['unbound']]);
    client.publishTo('later', 'a.b', 'dropped', later(10));
    storage.host.deleteExchange(client.session, 'later', { ifUnused: false });
    client.declareExchange('later', 'x-delayed-message', { 'x-delayed-type': 'topic' });
    client.bind('late', 'later', '#');
    await clock.advance(20);
    expect([bodies(client, 'late'), storage.host.heldCount('later')]).toEqual([[], 0]); // it went with its exchange
  });

  it('holds on the way from another exchange, under the name that was published to, and once only', async () => {
    const { client, clock, storage } = await inMemory();
    const { host } = storage;
    client.declareExchange('first', 'fanout');
    for (const exchange of ['later', 'again']) client.declareExchange(exchange, 'x-delayed-message', { 'x-delayed-type': 'fanout' });
    for (const queue of ['now', 'then']) client.declare(queue);
    client.bind('now', 'first', '');
    host.bindExchange(client.session, 'later', 'first', '', {});
    host.bindExchange(client.session, 'again', 'later', '', {});
    client.bind('then', 'again', '');
    client.publishTo('first', 'key', 'x', later(50));
    await clock.advance(0);
    expect(client.get('now')).toMatchObject({ body: 'x', properties: { headers: { 'x-delay': 50 } } });
    await clock.advance(50);
    expect(client.get('then')).toMatchObject({ body: 'x', properties: { headers: { 'x-delay': -50 } } });
  });

  it('remembers BCC until the message is due, and does not show it', async () => {
    const { client, clock } = await inMemory();
    client.declareExchange('later', 'x-delayed-message', { 'x-delayed-type': 'direct' });
    for (const queue of ['to', 'cc', 'bcc']) {
      client.declare(queue);
      client.bind(queue, 'later', queue);
    }
    client.publishTo('later', 'to', 'x', { headers: { CC: ['cc'], BCC: ['bcc'], 'x-delay': '10', last: 1 } });
    await clock.advance(10);
    for (const queue of ['to', 'cc', 'bcc']) {
      expect(client.get(queue)!.properties.headers).toEqual({ CC: ['cc'], 'x-delay': -10, last: 1 });
    }
  });

  it('publishes as if it were now: times to live begin, and full queues refuse', async () => {
    const { client, clock } = await inMemory();
    client.declareExchange('later', 'x-delayed-message', { 'x-delayed-type': 'direct' });
    const dead = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };
    client.declare('ttl', { 'x-message-ttl': 5, ...dead });
    client.declare('full', { 'x-max-length': 1, 'x-overflow': 'reject-publish-dlx', ...dead });
    client.declare('own');
    client.declare('dead');
    for (const queue of ['ttl', 'full', 'own']) client.bind(queue, 'later', queue);
    client.publishTo('later', 'ttl', 'ttl', later(20));
    client.publishTo('later', 'own', 'own', later(20, { expiration: '3' }));
    for (const body of ['one', 'two']) client.publishTo('later', 'full', body, later(20));
    await clock.advance(20);
    expect(['ttl', 'full', 'own'].map((queue) => client.count(queue))).toEqual([1, 1, 1]);
    expect(client.get('dead')).toMatchObject({ body: 'two', properties: { headers: { 'x-first-death-reason': 'maxlen' } } });
    await clock.advance(3);
    expect(client.count('own')).toBe(0);
    await clock.advance(2);
    expect(client.get('dead')).toMatchObject({ body: 'ttl', properties: { headers: { 'x-first-death-reason': 'expired' } } });
  });

  it('takes dead letters too, and holds those that ask for it', async () => {
    const { client, clock } = await inMemory();
    client.declareExchange('later', 'x-delayed-message', { 'x-delayed-type': 'fanout' });
    client.declare('q', { 'x-dead-letter-exchange': 'later' });
    client.declare('dead');
    client.bind('dead', 'later', '');
    client.publish('q', 'x', later(40));
    client.session.reject(client.get('q')!.tag, false, false);
    await clock.advance(39);
    expect(client.count('dead')).toBe(0);
    await clock.advance(1);
    expect(client.get('dead')).toMatchObject({ body: 'x', properties: { headers: { 'x-delay': -40, 'x-first-death-queue': 'q' } } });
  });

  it('holds many without a timer for any, in 36 bytes beside the message', async () => {
    const { client, clock, storage } = await inMemory();
    client.declareExchange('later', 'x-delayed-message', { 'x-delayed-type': 'fanout' });
    client.declare('q');
    client.bind('q', 'later', '');
    const random = new SeededRandom(3);
    const wanted: { readonly at: number; readonly body: string }[] = [];
    for (let i = 0; i < 5_000; i++) {
      const at = 1 + random.below(500);
      client.publishTo('later', '', String(i), later(at));
      wanted.push({ at, body: String(i) });
    }
    expect(storage.host.heldCount('later')).toBe(5_000);
    await clock.advance(600);
    const inOrder = wanted.sort((one, other) => one.at - other.at || Number(one.body) - Number(other.body)).map(({ body }) => body);
    expect(bodies(client, 'q')).toEqual(inOrder);
  });
});

describe('more delayed messages than memory has room for', () => {
  const bytesOf = (body: string): string => body.padEnd(500, '.');

  /** So many messages in a random order of time, and the numbers of their chunks and of the reads from then on. */
  async function scattered(seed: number, count: number, limits: Partial<Limits>) {
    const machine = new Machine(seed, limits);
    await machine.open();
    const { client, storage, ground } = machine;
    client.declareExchange('later', 'x-delayed-message', { 'x-delayed-type': 'fanout' }, true);
    client.declare('q', {}, true);
    client.bind('q', 'later', '');
    await machine.settle();
    const random = new SeededRandom(seed);
    const wanted: { readonly at: number; readonly body: string }[] = [];
    for (let i = 0; i < count; i++) {
      const delay = 20_000 + random.below(20_000);
      client.publishTo('later', '', bytesOf(String(i)), later(delay, persistent));
      wanted.push({ at: ground.clock.now() + delay, body: bytesOf(String(i)) });
      if (i % 100 === 99) await ground.clock.advance(20);
    }
    await machine.settle();
    const inOrder = wanted.sort((one, other) => one.at - other.at || Number.parseInt(one.body) - Number.parseInt(other.body));
    const chunks = storage.arena.chunks.filter((chunk) => chunk !== undefined).length;
    const reads = { count: 0 };
    const { reader } = storage.arena;
    for (const how of ['readNow', 'fetch'] as const) {
      const read = reader![how].bind(reader) as (...given: unknown[]) => void;
      reader![how] = (...given: [never, never]) => {
        if (how === 'readNow' || given[0]['waiters'] === undefined) reads.count++;
        read(...given);
      };
    }
    return { machine, reads, chunks, inOrder };
  }

  it('are read back together, a chunk once for many, and given out by time', async () => {
    const { machine, reads, chunks, inOrder } = await scattered(7, 3000, { residentBytesMax: 2 << 20, journalFileBytesMax: 64 * 1024 });
    const { client, storage, ground } = machine;
    expect(chunks).toBeGreaterThan(10);
    expect(storage.arena.evictedCount).toBeGreaterThan(chunks / 2);
    const given: string[] = [];
    for (let step = 0; step < 450; step++) {
      await ground.clock.advance(100);
      given.push(...bodies(client, 'q'));
      expect(storage.arena.bytesInUse).toBeLessThan(8 << 20);
    }
    expect(given).toEqual(inOrder.map(({ body }) => body));
    expect(storage.host.heldCount('later')).toBe(0);
    // Not once for each message: a buffer holds about 400 of them, so each chunk is read some eight times.
    expect(reads.count).toBeLessThan(10 * chunks);
  });

  it('are given out although the next one is longer than what is read ahead', async () => {
    const machine = new Machine(9, { residentBytesMax: 1, journalFileBytesMax: 16 * 1024 });
    await machine.open();
    const { client, storage, ground } = machine;
    client.declareExchange('later', 'x-delayed-message', { 'x-delayed-type': 'fanout' }, true);
    client.declare('q', {}, true);
    client.declare('others', {}, true);
    client.bind('q', 'later', '');
    const sent = ['a'.padEnd(20_000, '.'), 'b'];
    client.publishTo('later', '', sent[0]!, later(1_000, persistent));
    client.publishTo('later', '', sent[1]!, later(1_001, persistent));
    for (let i = 0; i < 100; i++) {
      client.publishTo('', 'others', bytesOf(String(i)), persistent);
      if (i % 10 === 9) await ground.clock.advance(20);
    }
    await machine.settle();
    expect(storage.arena.evictedCount).toBeGreaterThan(0);
    await ground.clock.advance(2_000);
    expect(bodies(client, 'q')).toEqual(sent);
  });

  it.each([1, 2, 3])('wait for nobody who comes later and is due earlier, whatever has to be read (seed %i)', async (seed) => {
    const { machine, inOrder } = await scattered(seed, 600, { residentBytesMax: 1, journalFileBytesMax: 16 * 1024 });
    const { client, ground } = machine;
    const random = new SeededRandom(seed);
    const wanted = [...inOrder];
    const given: string[] = [];
    for (let step = 0; step < 450; step++) {
      for (let i = random.below(4); i > 0; i--) {
        const delay = 1 + random.below(3000);
        const body = bytesOf(String(10_000 + 4 * step + i));
        // One that fits into no buffer now and then.
        const long = random.chance(0.01) ? body.padEnd(20_000, '-') : body;
        client.publishTo('later', '', long, later(delay, random.chance(0.5) ? persistent : {}));
        wanted.push({ at: ground.clock.now() + delay, body: long });
      }
      await ground.clock.advance(100);
      given.push(...bodies(client, 'q'));
    }
    await ground.clock.advance(5000);
    given.push(...bodies(client, 'q'));
    const dueAt = new Map(wanted.map(({ at, body }) => [body, at]));
    expect(given).toHaveLength(wanted.length);
    expect(given.map((body) => dueAt.get(body))).toEqual(wanted.map(({ at }) => at).sort((one, other) => one - other));
  });
});

// ---- what survives ----

const delayedType: FieldTable = { 'x-delayed-type': 'direct' };

async function began(seed: number): Promise<Machine> {
  const machine = new Machine(seed);
  await machine.open();
  machine.client.declareExchange('later', 'x-delayed-message', delayedType, true);
  for (const queue of ['one', 'two']) {
    machine.client.declare(queue, {}, true);
    machine.client.bind(queue, 'later', queue);
  }
  await machine.settle();
  return machine;
}

describe('after a loss of power', () => {
  it('the delay counts from the publish, and what came due meanwhile goes on at once', async () => {
    const machine = await began(1);
    const { clock } = machine.ground;
    machine.client.publishTo('later', 'one', 'kept', later(5000, persistent));
    machine.client.publishTo('later', 'one', 'gone', later(4000));
    machine.client.publishTo('later', 'two', 'first', later(50_000, persistent));
    machine.client.publishTo('later', 'two', 'second', later(50_001, persistent));
    const published = clock.now();
    await machine.settle();
    await machine.crash();
    expect(machine.storage.host.heldCount('later')).toBe(3);
    await clock.advance(published + 4900 - clock.now());
    expect(bodies(machine.client, 'one')).toEqual([]);
    await clock.advance(200);
    expect(bodies(machine.client, 'one')).toEqual(['kept']);
    machine.ground.crash({ power: true });
    await clock.advance(60_000);
    await machine.open();
    await machine.settle();
    expect(bodies(machine.client, 'two')).toEqual(['first', 'second']);
    machine.client.session.acknowledge(0, true);
    await machine.settle();
    await machine.crash();
    expect([machine.client.count('two'), machine.storage.host.heldCount('later')]).toEqual([0, 0]);
  });

  it('what nobody waits for a confirm of is there too', async () => {
    const machine = await began(1);
    machine.client.session.isConfirming = false;
    machine.client.publishTo('later', 'one', 'x', later(5000, persistent));
    await machine.settle();
    await machine.crash();
    expect(machine.storage.host.heldCount('later')).toBe(1);
  });

  it('a transaction holds what it published when it is committed, unless the exchange is gone by then', async () => {
    const machine = await began(3);
    const { client } = machine;
    client.declareExchange('mortal', 'x-delayed-message', delayedType, true);
    client.session.isConfirming = false;
    client.session.beginTransactions();
    client.publishTo('later', 'one', 'x', later(200, persistent));
    client.publishTo('mortal', 'one', 'x', later(200, persistent));
    machine.storage.host.deleteExchange(client.session, 'mortal', { ifUnused: false });
    expect(machine.storage.host.heldCount('later')).toBe(0);
    expect(client.session.commitTransaction(() => undefined)).toBe(false);
    await machine.settle();
    await machine.crash();
    expect([machine.storage.host.heldCount('later'), bodies(machine.client, 'one')]).toEqual([1, []]);
    await machine.ground.clock.advance(300);
    expect(bodies(machine.client, 'one')).toEqual(['x']);
  });

  it('what an exchange holds is gone when it was deleted, and its number is not given away', async () => {
    const machine = await began(2);
    const { client } = machine;
    client.publishTo('later', 'one', 'gone', later(500, persistent));
    await machine.settle();
    machine.storage.host.deleteExchange(client.session, 'later', { ifUnused: false });
    client.declare('another', {}, true);
    client.declareExchange('later', 'x-delayed-message', delayedType, true);
    client.bind('another', 'later', 'another');
    client.publishTo('later', 'another', 'there', later(500, persistent));
    await machine.settle();
    await machine.crash();
    machine.client.declare('third', {}, true);
    await machine.ground.clock.advance(1000);
    expect(['one', 'another', 'third'].map((queue) => bodies(machine.client, queue))).toEqual([[], ['there'], []]);
  });

  it('the step from held to routed is one record, which no crash can cut', async () => {
    const machine = await began(5);
    const journal = machine.storage.journal!;
    machine.client.publishTo('later', 'one', 'x', later(20, persistent));
    machine.client.publishTo('later', 'nowhere', 'x', later(40, persistent));
    await machine.ground.clock.advance(19);
    const reserve = journal.reserve.bind(journal);
    let recordCount = 0;
    journal.reserve = (length) => (recordCount++, reserve(length));
    await machine.ground.clock.advance(10);
    expect([recordCount, machine.client.count('one')]).toEqual([1, 1]);
    await machine.ground.clock.advance(20);
    expect([recordCount, machine.storage.host.heldCount('later')]).toEqual([2, 0]);
    await machine.crash();
    await machine.settle();
    expect([machine.client.count('one'), machine.storage.host.heldCount('later')]).toEqual([1, 0]);
  });

  it('in any step a confirmed message is held or routed, and never both', async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const random = new SeededRandom(seed);
      const machine = await began(seed);
      const { clock } = machine.ground;
      const confirmed = new Set<string>();
      const all = new Set<string>();
      let published: string[] = [];
      const noteConfirms = (): void => machine.client.answers.forEach((answer, i) => answer === 'ack' && confirmed.add(published[i]!));
      for (let step = 0; step < 50; step++) {
        const choice = random.below(10);
        if (choice < 5) {
          // Large ones make a commit of several batches, of which a crash may leave the first ones.
          const body = `${seed}/${step}/`.padEnd(random.chance(0.3) ? 300_000 : 20, 'x');
          const queue = random.chance(0.5) ? 'one' : 'two';
          machine.client.publishTo('later', queue, body, later(1 + random.below(40), persistent));
          published.push(body);
          all.add(body);
        } else if (choice < 9) await clock.advance(random.below(120) / 10);
        else {
          noteConfirms();
          published = [];
          machine.ground.crash({ power: true });
          if (random.chance(0.3)) await clock.advance(random.below(50));
          await machine.open();
        }
      }
      await machine.settle();
      noteConfirms();
      await machine.crash();
      await machine.settle();
      const there = [...bodies(machine.client, 'one'), ...bodies(machine.client, 'two')];
      const lost = [...confirmed].filter((body) => !there.includes(body)).map((body) => body.slice(0, 20));
      const doubled = there.filter((body, i) => there.indexOf(body) !== i).map((body) => body.slice(0, 20));
      expect([seed, lost, doubled, there.filter((body) => !all.has(body)).length]).toEqual([seed, [], [], 0]);
    }
  });
});

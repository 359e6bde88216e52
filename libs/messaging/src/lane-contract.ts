/** What every `Transport` that hands out messages in lanes must do. */
import assert from 'node:assert/strict';
import type { Incoming, Transport } from './transport.js';
import { type Bench, type Body, type LaneInbox, envelopeOf, textOf, turns, until } from './transport-bench.js';

const keys = Array.from({ length: 24 }, (_, index) => `key-${index}`);

export const laneCases: Readonly<Record<string, Body>> = {
  'assigns a lane before its first message, and names it with each': async (bench) => {
    const inbox = await bench.laneMember('readers', ['placed'], 100);
    const sender = await bench.open();
    let isEarly = false;
    const seen: string[] = [];
    inbox.each((incoming) => {
      if (incoming.lane === undefined || inbox.lanes.get(incoming.lane.id) !== incoming.lane) isEarly = true;
      seen.push(textOf(incoming));
      incoming.acknowledge();
    });
    await Promise.all(keys.map((key) => bench.publishKeyed(sender, 'placed', key, key)));
    await until(() => seen.length === keys.length);
    assert.equal(isEarly, false, 'a message came in a lane that the member did not have');
  },
  'keeps a key in one lane, and shares the keys out over several': async (bench) => {
    const inbox = await bench.laneMember('readers', ['placed', 'paid'], 100);
    const sender = await bench.open();
    const lanesOf = new Map<string, Set<string>>();
    let received = 0;
    inbox.each((incoming) => {
      const { key = '' } = envelopeOf(incoming);
      lanesOf.set(key, (lanesOf.get(key) ?? new Set()).add(incoming.lane?.id ?? ''));
      received += 1;
      incoming.acknowledge();
    });
    for (let round = 0; round < 2; round++) await Promise.all(keys.map((key) => bench.publishKeyed(sender, 'placed', key, key)));
    await until(() => received === 2 * keys.length);
    assert.ok(
      [...lanesOf.values()].every(({ size }) => size === 1),
      'a key was in two lanes',
    );
    assert.ok(new Set([...lanesOf.values()].flatMap((ids) => [...ids])).size > 1, 'all keys were in one lane');
  },
  'hands out what has no key, too': async (bench) => {
    const inbox = await bench.laneMember('readers', ['placed']);
    const sender = await bench.open();
    for (const text of ['a', 'b']) await bench.publish(sender, 'placed', text);
    assert.deepEqual((await inbox.texts(2)).toSorted(), ['a', 'b']);
  },
  'goes on in the order of each key where a member dies, with all that it had not acknowledged': async (bench) => {
    const sender = await bench.open();
    const expected = Array.from({ length: 24 }, (_, index) => `${index}`);
    let done = 0;
    for (let round = 0; round < 4; round++) {
      const member = await bench.laneMember('readers', ['placed'], 6);
      if (round === 0) await Promise.all(expected.map((text) => bench.publishKeyed(sender, 'placed', text)));
      // Where two members died without having got further, a transport may hand out one at a time: it looks for what ended them.
      const inHand = round < 2 ? 4 : 1;
      const had: Incoming[] = [];
      while (had.length < inHand) had.push(await member.next());
      had[0]?.acknowledge();
      if (had.length < 2) had.push(await member.next());
      had[1]?.acknowledge();
      const begun = Number(textOf(had[0]!));
      assert.deepEqual(had.map(textOf), expected.slice(begun, begun + had.length), 'they came out of order');
      assert.ok(begun <= done, `${done} was passed over`);
      // What it acknowledges last may not arrive any more, and comes again.
      done = Math.max(done, begun + 2);
      await bench.subject.crash(member.transport);
    }
  },
  'keeps the order where more is given back than a member takes': async (bench) => {
    const sender = await bench.open();
    const prefetches = [8, 2, 8];
    const expected = Array.from({ length: 10 }, (_, index) => `${index}`);
    for (const [round, prefetch] of prefetches.entries()) {
      const member = await bench.laneMember('readers', ['placed'], prefetch);
      // Where two members died without having got further, a transport may hand out one at a time.
      const isOneByOne = round === 2;
      if (round === 0) await Promise.all(expected.map((text) => bench.publishKeyed(sender, 'placed', text)));
      const count = Math.min(prefetch, expected.length);
      assert.deepEqual(await member.texts(count, isOneByOne), expected.slice(0, count));
      await bench.subject.crash(member.transport);
    }
  },
  'gives a member that comes its share of the lanes, each once the one that had it lets go': async (bench) => {
    const first = await bench.laneMember('readers', ['placed'], 100);
    const sender = await bench.open();
    const seen = new Shown();
    seen.watch(first);
    await seen.publish(bench, sender, 'before');
    const held = first.lanes.size;
    let letGo = (): void => undefined;
    const isLetGo = new Promise<void>((resolve) => (letGo = resolve));
    first.onRevoked = () => isLetGo;
    const others: LaneInbox[] = [];
    // Chance says which lanes are whose: members come until one of them is to have some.
    while (!first.events.some((event) => event.startsWith('revoked'))) {
      others.push(await bench.laneMember('readers', ['placed'], 100));
      await turns();
    }
    for (const { lanes } of others) for (const id of lanes.keys()) assert.ok(!first.lanes.has(id), `${id} was with two members`);
    letGo();
    await until(() => others.some(({ lanes }) => lanes.size > 0));
    await until(() => [first, ...others].reduce((sum, { lanes }) => sum + lanes.size, 0) === held);
    for (const other of others) seen.watch(other);
    await seen.publish(bench, sender, 'after');
    await turns();
    assert.equal(seen.repeated, 0, 'a message went to two members');
  },
  'gives the lanes of a member that dies to those who are left': async (bench) => {
    const [one, other] = [await bench.laneMember('readers', ['placed'], 100), await bench.laneMember('readers', ['placed'], 100)];
    const sender = await bench.open();
    await Promise.all(keys.map((key) => bench.publishKeyed(sender, 'placed', key, key)));
    const seen = new Set<string>();
    const finish = (incoming: Incoming): void => {
      seen.add(textOf(incoming));
      incoming.acknowledge();
    };
    let survivor: LaneInbox | undefined;
    const had: Incoming[] = [];
    for (const member of [one, other]) {
      member.each((incoming) => {
        if (member === survivor) finish(incoming);
        else if (member === other) had.push(incoming);
      });
    }
    await until(() => one.received + other.received >= keys.length);
    // Chance says which lanes are whose: whoever dies must have had something.
    survivor = one.received > 0 ? other : one;
    await bench.subject.crash(survivor === other ? one.transport : other.transport);
    if (survivor === other) for (const incoming of had.splice(0)) finish(incoming);
    await until(() => seen.size === keys.length);
  },
  'hands out nothing of a lane that is paused, and goes on in order': async (bench) => {
    const inbox = await bench.laneMember('readers', ['placed'], 10);
    const sender = await bench.open();
    await bench.publishKeyed(sender, 'placed', 'first');
    const first = await inbox.next();
    first.lane?.pause();
    const expected = Array.from({ length: 5 }, (_, index) => `${index}`);
    await Promise.all(expected.map((text) => bench.publishKeyed(sender, 'placed', text)));
    first.acknowledge();
    await turns();
    assert.equal(inbox.waiting, 0, 'a message came out of a lane that is paused');
    first.lane?.resume();
    assert.deepEqual(await inbox.texts(5), expected);
  },
  'hands out again what was released in a lane': async (bench) => {
    const inbox = await bench.laneMember('readers', ['placed']);
    await bench.publishKeyed(await bench.open(), 'placed', 'later');
    const first = await inbox.next();
    first.release();
    const again = await inbox.next();
    assert.equal(textOf(again), 'later');
    assert.equal(again.isRedelivered, true, 'the second delivery is not marked as redelivered');
    assert.equal(again.lane?.id, first.lane?.id);
    again.acknowledge();
  },
};

/** What members saw, and acknowledged. */
class Shown {
  repeated = 0;
  readonly #texts = new Set<string>();

  watch(inbox: LaneInbox): void {
    inbox.each((incoming) => {
      const text = textOf(incoming);
      if (this.#texts.has(text)) this.repeated += 1;
      this.#texts.add(text);
      incoming.acknowledge();
    });
  }

  /** One message of each key; resolves when all were seen. */
  async publish(bench: Bench, sender: Transport, round: string): Promise<void> {
    const texts = keys.map((key) => `${round} ${key}`);
    await Promise.all(texts.map((text, index) => bench.publishKeyed(sender, 'placed', text, keys[index])));
    await until(() => texts.every((text) => this.#texts.has(text)));
  }
}

/** What every `Transport` must do. Each case has a subject of its own; nothing waits for time to pass. */
import assert from 'node:assert/strict';
import { type ContractCase, contractCase } from './contract-case.js';
import { type Envelope, noTrail } from './envelope.js';
import type { Incoming, Transport } from './transport.js';
import { laneCases } from './lane-contract.js';
import { type Body, assertSame, envelopeOf, rejectsWith, textOf, turns, until } from './transport-bench.js';

/** A broker to be tried, with what it takes to try it. */
export interface TransportSubject {
  /** One more transport to the same broker, not open yet: as another process would have it. */
  transport(): Transport;
  /** A name for a group or an event type that nobody used before, so that runs do not meet on a broker that keeps things. */
  unique(name: string): string;
  /** As if the process with this transport ended now: no farewell, nothing more is sent. */
  crash(transport: Transport): Promise<void>;
  /** What the broker answers to publishes reaches nobody until `release`. */
  holdConfirms(): { release(): void };
  /** Resolves when this much time has passed for the broker. */
  pass(ms: number): Promise<void>;
  /** From now on the broker refuses everything that is published. */
  refusePublishes(): Promise<void>;
  /** Leaves nothing behind. */
  close(): Promise<void>;
}

export function transportContract(open: () => Promise<TransportSubject>): readonly ContractCase[] {
  return Object.entries({
    ...publishing,
    ...consuming,
    ...groups,
    ...laneCases,
    ...boxes,
    ...looks,
    ...requests,
    ...delays,
    ...endings,
  }).map(([name, body]) => contractCase(name, open, body));
}

const publishing: Readonly<Record<string, Body>> = {
  'carries every attribute, the headers and the bytes of the body': async (bench) => {
    const inbox = await bench.member('readers', ['placed']);
    const sent: Envelope = {
      ...bench.envelope('placed', '{"name":"Zoë","price":12.5}'),
      key: 'order-7 ü',
      version: 3,
      headers: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 'x-note': 'ünïcode' },
    };
    await (await bench.open()).publish(sent, Number.POSITIVE_INFINITY);
    assertSame(envelopeOf(await inbox.next()), sent);
  },
  'carries what a message came of, when it expires, and what became of it so far': async (bench) => {
    const inbox = await bench.member('readers', ['placed']);
    const sent: Envelope = {
      ...bench.envelope('placed', ''),
      dataSchema: 'https://example.com/schemas/placed/1',
      dataRef: 'https://example.com/claims/1',
      correlationId: 'first-1',
      causationId: 'cause-1',
      replyTo: 'somewhere',
      expiresAtMs: 4_102_444_800_123,
      trail: {
        failures: 2,
        starts: 1,
        history: [
          { atMs: 1, reason: 'ünïcode' },
          { atMs: 2, reason: 'again' },
        ],
        death: { cause: 'attempts', atMs: 3, reason: 'again', group: 'readers', handler: 'Readers.read' },
      },
    };
    await (await bench.open()).publish(sent, Number.POSITIVE_INFINITY);
    assertSame(envelopeOf(await inbox.next()), sent);
  },
  'delivers to whoever subscribed to the type, and nothing else': async (bench) => {
    const inbox = await bench.member('readers', ['placed', 'paid']);
    const sender = await bench.open();
    for (const type of ['placed', 'shipped', 'paid']) await bench.publish(sender, type, type);
    assert.deepEqual((await inbox.texts(2)).toSorted(), ['paid', 'placed']);
    await turns();
    assert.equal(inbox.waiting, 0, 'a message came that nobody asked for');
  },
  'matches patterns of types: a star is one word, a hash any number': async (bench) => {
    const [stars, hashes] = [await bench.member('stars', ['orders.*.placed']), await bench.member('hashes', ['orders.#'])];
    const sender = await bench.open();
    const types = ['orders', 'orders.eu.placed', 'orders.placed', 'orders.eu.west.placed', 'orders.us.placed', 'payments.eu.placed'];
    for (const type of types) await bench.publish(sender, type, type);
    assert.deepEqual((await stars.texts(2)).toSorted(), ['orders.eu.placed', 'orders.us.placed']);
    assert.deepEqual((await hashes.texts(5)).toSorted(), types.slice(0, 5).toSorted());
  },
  'keeps commands and queries apart from events of the same type': async (bench) => {
    const [events, commands] = [await bench.member('readers', ['place']), await bench.member('doers', [], 10, ['place'])];
    const sender = await bench.open();
    for (const kind of ['event', 'command', 'query'] as const) await bench.send(sender, { ...bench.envelope('place', kind), kind });
    assert.equal(textOf(await events.next()), 'event');
    const got = [await commands.next(), await commands.next()].map((incoming) => `${envelopeOf(incoming).kind} ${textOf(incoming)}`);
    assert.deepEqual(got.toSorted(), ['command command', 'query query']);
    await turns();
    assert.deepEqual([events.waiting, commands.waiting], [0, 0]);
  },
  'takes an event that nobody subscribed to': async (bench) => {
    await bench.publish(await bench.open(), 'unheard', 'x');
  },
  'resolves publish only when the broker has confirmed': async (bench) => {
    const sender = await bench.open();
    const held = bench.subject.holdConfirms();
    let isResolved = false;
    const published = bench.publish(sender, 'placed', 'x').then(() => (isResolved = true));
    await turns();
    assert.equal(isResolved, false, 'publish resolved although the broker had not confirmed');
    held.release();
    await published;
  },
  'rejects publish when the broker refuses the message': async (bench) => {
    const sender = await bench.open();
    await bench.subject.refusePublishes();
    await rejectsWith('publish-refused', bench.publish(sender, 'placed', 'x'));
  },
  'keeps the order of one publisher within a key': async (bench) => {
    const inbox = await bench.member('readers', ['placed'], 200);
    const sender = await bench.open();
    const expected = Array.from({ length: 100 }, (_, index) => `${index}`);
    await Promise.all(expected.map((text) => bench.publishKeyed(sender, 'placed', text)));
    assert.deepEqual(await inbox.texts(100), expected);
  },
};

const consuming: Readonly<Record<string, Body>> = {
  'hands out again what was delivered and not acknowledged when a member dies, marked as redelivered': async (bench) => {
    const first = await bench.member('readers', ['placed']);
    await bench.publish(await bench.open(), 'placed', 'once');
    const delivery = await first.next();
    assert.equal(delivery.isRedelivered, false, 'the first delivery is marked as redelivered');
    const second = await bench.member('readers', ['placed']);
    await bench.subject.crash(first.transport);
    const again = await second.next();
    assert.equal(textOf(again), 'once');
    assert.equal(again.isRedelivered, true, 'the second delivery is not marked as redelivered');
    assert.equal(envelopeOf(again).id, envelopeOf(delivery).id);
  },
  'does not hand out again what was acknowledged': async (bench) => {
    const first = await bench.member('readers', ['placed']);
    const sender = await bench.open();
    await bench.publish(sender, 'placed', 'done');
    (await first.next()).acknowledge();
    await first.transport.close();
    const second = await bench.member('readers', ['placed']);
    await bench.publish(sender, 'placed', 'marker');
    assert.equal(textOf(await second.next()), 'marker');
  },
  'gives a released message back, marked as redelivered': async (bench) => {
    const inbox = await bench.member('readers', ['placed']);
    await bench.publish(await bench.open(), 'placed', 'later');
    (await inbox.next()).release();
    const again = await inbox.next();
    assert.equal(textOf(again), 'later');
    assert.equal(again.isRedelivered, true, 'the second delivery is not marked as redelivered');
    again.acknowledge();
  },
  'counts how often it handed a message out, where it says that it counts': async (bench) => {
    const first = await bench.member('readers', ['placed']);
    await bench.publish(await bench.open(), 'placed', 'deadly');
    assert.equal((await first.next()).deliveries, 1);
    const second = await bench.member('readers', ['placed']);
    await bench.subject.crash(first.transport);
    const again = await second.next();
    assert.equal(again.deliveries, 2);
    bench.requires(second.transport, 'delivery-counts');
    const third = await bench.member('readers', ['placed']);
    await bench.subject.crash(second.transport);
    assert.equal((await third.next()).deliveries, 3);
  },
  'settles a delivery once': async (bench) => {
    const inbox = await bench.member('readers', ['placed']);
    const sender = await bench.open();
    await bench.publish(sender, 'placed', 'once');
    const delivery = await inbox.next();
    delivery.acknowledge();
    delivery.acknowledge();
    delivery.release();
    await bench.publish(sender, 'placed', 'marker');
    assert.equal(textOf(await inbox.next()), 'marker');
  },
  'never has more unacknowledged than the prefetch': async (bench) => {
    const inbox = await bench.member('readers', ['placed'], 2);
    const witness = await bench.member('witnesses', ['placed'], 10);
    const sender = await bench.open();
    for (let index = 0; index < 6; index++) await bench.publishKeyed(sender, 'placed', `${index}`);
    const first = await inbox.next();
    await inbox.next();
    await witness.texts(6);
    await turns();
    assert.equal(inbox.waiting, 0, 'more was delivered than the prefetch allows');
    first.acknowledge();
    assert.equal(textOf(await inbox.next()), '2');
    await turns();
    assert.equal(inbox.waiting, 0, 'more was delivered than the prefetch allows');
  },
  'never has more unacknowledged of a source than its own prefetch, and hands out the others': async (bench) => {
    const sources = [{ ...bench.source('event', 'placed'), prefetch: 2 }, bench.source('event', 'paid')];
    const inbox = await bench.memberOf('readers', sources);
    const witness = await bench.member('witnesses', ['placed'], 10);
    const sender = await bench.open();
    for (let index = 0; index < 6; index++) await bench.publishKeyed(sender, 'placed', `${index}`);
    const first = await inbox.next();
    await inbox.next();
    await witness.texts(6);
    await turns();
    assert.equal(inbox.waiting, 0, 'more was delivered than the prefetch of the source allows');
    for (let index = 0; index < 3; index++) await bench.publish(sender, 'paid', 'paid');
    assert.deepEqual(await inbox.texts(3, false), ['paid', 'paid', 'paid']);
    first.acknowledge();
    assert.equal(textOf(await inbox.next()), '2');
    await turns();
    assert.equal(inbox.waiting, 0, 'more was delivered than the prefetch of the source allows');
  },
  'gives each message once where a source begins to have a prefetch of its own, and where it ceases to': async (bench) => {
    const sender = await bench.open();
    const waited: string[] = [];
    for (const [round, prefetch] of [undefined, 2, undefined].entries()) {
      const inbox = await bench.memberOf('readers', [{ ...bench.source('event', 'placed'), prefetch }]);
      const texts = ['a', 'b', 'c'].map((text) => `${round}${text}`);
      for (const text of texts) await bench.publishKeyed(sender, 'placed', text);
      const expected = [...waited.splice(0), ...texts].toSorted();
      assert.deepEqual((await inbox.texts(expected.length)).toSorted(), expected);
      await turns();
      assert.equal(inbox.waiting, 0, 'a message came twice');
      await inbox.transport.close();
      waited.push(`${round}-waited`);
      await bench.publishKeyed(sender, 'placed', waited[0]!);
    }
  },
};

const groups: Readonly<Record<string, Body>> = {
  'gives each message to one member of a group': async (bench) => {
    const [one, two] = [await bench.member('readers', ['placed'], 5), await bench.member('readers', ['placed'], 5)];
    const sender = await bench.open();
    const seen: string[] = [];
    const finish = (delivery: Incoming): void => {
      seen.push(textOf(delivery));
      delivery.acknowledge();
    };
    one.each(finish);
    two.each(finish);
    const sent = Array.from({ length: 40 }, (_, index) => `${index}`);
    await Promise.all(sent.map((text) => bench.publish(sender, 'placed', text)));
    await until(() => seen.length >= sent.length);
    await turns();
    assert.deepEqual(seen.toSorted(), sent.toSorted(), 'a message went to more than one member');
    assert.ok(one.received > 0 && two.received > 0, 'one member got everything');
  },
  'gives each group a copy of its own': async (bench) => {
    const [one, two] = [await bench.member('readers', ['placed']), await bench.member('auditors', ['placed'])];
    await bench.publish(await bench.open(), 'placed', 'both');
    assert.equal(textOf(await one.next()), 'both');
    assert.equal(textOf(await two.next()), 'both');
  },
  'keeps for a group what is published while nobody is there': async (bench) => {
    await (await bench.member('readers', ['placed'])).transport.close();
    const sender = await bench.open();
    for (const text of ['a', 'b', 'c']) await bench.publish(sender, 'placed', text);
    const inbox = await bench.member('readers', ['placed'], 10);
    assert.deepEqual((await inbox.texts(3)).toSorted(), ['a', 'b', 'c']);
  },
  'has the queue and its bindings in place when subscribe resolves': async (bench) => {
    const sender = await bench.open();
    for (let round = 0; round < 5; round++) {
      const inbox = await bench.member(`readers-${round}`, ['placed']);
      await bench.publish(sender, 'placed', `${round}`);
      assert.equal(textOf(await inbox.next()), `${round}`);
    }
  },
};

const delays: Readonly<Record<string, Body>> = {
  'keeps an event for its delay, and then gives it to whoever subscribes by then': async (bench) => {
    const sender = await bench.open();
    bench.requires(sender, 'delay');
    const early = await bench.member('readers', ['placed']);
    await bench.publish(sender, 'placed', 'later', { delayMs: 4_100 });
    await bench.publish(sender, 'placed', 'sooner', { delayMs: 2_000 });
    await bench.publish(sender, 'placed', 'now');
    assert.deepEqual(await early.texts(1), ['now']);
    await turns();
    assert.equal(early.waiting, 0, 'it came before its time');
    const late = await bench.member('auditors', ['placed']);
    await bench.subject.pass(2_100);
    assert.deepEqual(await early.texts(1), ['sooner']);
    await bench.subject.pass(2_500);
    assert.deepEqual(await early.texts(1), ['later']);
    // What was due while it was joining it may have missed.
    const [first] = await late.texts(1);
    if (first !== 'later') assert.deepEqual([first, ...(await late.texts(1))], ['sooner', 'later']);
  },
  'keeps what is for the inbox of a group, although whoever published it dies': async (bench) => {
    const sender = await bench.open();
    bench.requires(sender, 'delay');
    const [one, two] = [await bench.member('readers', ['placed'], 10, ['place']), await bench.member('auditors', ['placed'])];
    const route = { to: bench.box('readers', 'inbox'), delayMs: 200 };
    const retried = { ...bench.envelope('placed', 'event'), headers: { note: 'kept' }, trail: { ...noTrail, failures: 2 } };
    await bench.send(sender, retried, route);
    await bench.send(sender, { ...bench.envelope('place', 'command'), kind: 'command' }, route);
    await bench.subject.crash(sender);
    await bench.subject.pass(300);
    const got = [await one.next(), await one.next()];
    assert.deepEqual(got.map(textOf).toSorted(), ['command', 'event']);
    assertSame(envelopeOf(got.find((incoming) => textOf(incoming) === 'event') as Incoming), retried);
    await turns();
    assert.equal(two.waiting, 0, 'another group got it too');
  },
};

const looks: Readonly<Record<string, Body>> = {
  'shows what was in a box when the look began, and nothing that came behind it': async (bench) => {
    const { transport } = await bench.member('readers', ['placed']);
    const where = bench.box('readers', 'dead-letters');
    await bench.requiresBoxes(transport, where);
    for (const text of ['a', 'b']) await bench.publish(transport, 'placed', text, { to: where });
    const box = await transport.openBox(where);
    const seen = [textOf((await box.next())!)];
    await bench.publish(transport, 'placed', 'late', { to: where });
    for (let next = await box.next(); next !== undefined; next = await box.next()) seen.push(textOf(next));
    await box.close();
    assert.deepEqual(seen.toSorted(), ['a', 'b']);
  },
  'lets one look into a box and take out of it, and what is not taken is there afterwards': async (bench) => {
    const { transport } = await bench.member('readers', ['placed']);
    const where = bench.box('readers', 'dead-letters');
    await bench.requiresBoxes(transport, where);
    for (const text of ['a', 'b', 'c']) await bench.publish(transport, 'placed', text, { to: where });
    const seen = await bench.look(transport, where, ({ length }) => length === 1);
    assert.deepEqual(seen.toSorted(), ['a', 'b', 'c']);
    const left = await bench.look(transport, where, () => false);
    assert.deepEqual(left.toSorted(), seen.slice(1).toSorted());
  },
  'gives each message of a box to one of two who look at once': async (bench) => {
    const { transport } = await bench.member('readers', ['placed']);
    const where = bench.box('readers', 'dead-letters');
    bench.requires(transport, 'exclusive-boxes');
    for (const text of ['a', 'b', 'c']) await bench.publish(transport, 'placed', text, { to: where });
    const [first, second] = [await transport.openBox(where), await transport.openBox(where)];
    const seen: string[] = [];
    for (let found = -1; found !== seen.length;) {
      found = seen.length;
      for (const incoming of [await first.next(), await second.next()]) if (incoming !== undefined) seen.push(textOf(incoming));
    }
    assert.deepEqual(seen.toSorted(), ['a', 'b', 'c']);
    await first.close();
    await second.close();
  },
};

const requests: Readonly<Record<string, Body>> = {
  'brings an answer to whoever asked': async (bench) => {
    const asker = await bench.open();
    bench.requires(asker, 'requests');
    const doer = await bench.member('doers', [], 10, ['tell']);
    const answers: Envelope[] = [];
    const replyTo = await asker.openReplies((reply) => answers.push(reply));
    await bench.send(asker, { ...bench.envelope('tell', 'which?'), kind: 'query', replyTo });
    const question = envelopeOf(await doer.next());
    assert.equal(question.replyTo, replyTo);
    const answer: Envelope = {
      ...bench.envelope('tell', 'this'),
      kind: 'reply',
      replyTo,
      correlationId: 'first',
      causationId: question.id,
    };
    await bench.send(doer.transport, answer);
    await until(() => answers.length > 0);
    assertSame(answers[0] as Envelope, answer);
  },
  'refuses a command that nobody ever handled, and a box that is not there': async (bench) => {
    const sender = await bench.open();
    bench.requires(sender, 'refused-strays');
    await rejectsWith('nobody-there', bench.send(sender, { ...bench.envelope('nobody-does-this', 'x'), kind: 'command' }));
    for (const box of ['inbox', 'quarantine', 'dead-letters'] as const) {
      await rejectsWith('publish-refused', bench.publish(sender, 'placed', 'x', { to: bench.box('nobody', box) }));
    }
    await bench.publish(sender, 'placed', 'an event');
  },
};

const boxes: Readonly<Record<string, Body>> = {
  'puts what is for the inbox of a group there, and nowhere else': async (bench) => {
    const [one, two] = [await bench.member('readers', ['placed']), await bench.member('auditors', ['placed'])];
    const sender = await bench.open();
    await bench.publish(sender, 'placed', 'again', { to: bench.box('readers', 'inbox') });
    await bench.publish(sender, 'placed', 'marker');
    assert.deepEqual((await one.texts(2)).toSorted(), ['again', 'marker']);
    assert.deepEqual(await two.texts(1), ['marker']);
  },
  'hands out what is in quarantine one message at a time': async (bench) => {
    const inbox = await bench.member('readers', ['placed'], 10);
    const sender = await bench.open();
    for (const text of ['a', 'b', 'c']) await bench.publish(sender, 'placed', text, { to: bench.box('readers', 'quarantine') });
    await bench.publish(sender, 'placed', 'marker');
    const got = [await inbox.next(), await inbox.next()];
    assert.deepEqual(got.map((incoming) => `${textOf(incoming)} ${incoming.isQuarantined}`).toSorted(), ['a true', 'marker false']);
    await turns();
    assert.equal(inbox.waiting, 0, 'two messages were out of the quarantine at once');
    for (const incoming of got) incoming.acknowledge();
    assert.deepEqual(await inbox.texts(2), ['b', 'c']);
  },
  'hands out no dead letter': async (bench) => {
    const inbox = await bench.member('readers', ['placed'], 10);
    const sender = await bench.open();
    await bench.publish(sender, 'placed', 'dead', { to: bench.box('readers', 'dead-letters') });
    await bench.publish(sender, 'placed', 'marker');
    assert.deepEqual(await inbox.texts(1), ['marker']);
    await turns();
    assert.equal(inbox.waiting, 0, 'a dead letter was handed out');
  },
};

const endings: Readonly<Record<string, Body>> = {
  'delivers nothing after stop, and still takes acknowledgements': async (bench) => {
    const first = await bench.member('readers', ['placed'], 10);
    const sender = await bench.open();
    await bench.publish(sender, 'placed', 'before');
    const delivery = await first.next();
    await first.subscription.stop();
    await bench.publish(sender, 'placed', 'after');
    delivery.acknowledge();
    const second = await bench.member('readers', ['placed'], 10);
    assert.equal(textOf(await second.next()), 'after');
    assert.equal(first.waiting, 0, 'a message came after stop');
    await first.transport.close();
    await turns();
    assert.equal(second.waiting, 0, 'an acknowledgement after stop was lost');
  },
  'gives back what is unacknowledged when it closes, and loses nothing': async (bench) => {
    const first = await bench.member('readers', ['placed'], 10);
    const sender = await bench.open();
    for (const text of ['a', 'b', 'c']) await bench.publish(sender, 'placed', text);
    await first.texts(3, false);
    await first.transport.close();
    const second = await bench.member('readers', ['placed'], 10);
    assert.deepEqual((await second.texts(3)).toSorted(), ['a', 'b', 'c']);
  },
  'keeps what it confirmed although it dies right after': async (bench) => {
    const inbox = await bench.member('readers', ['placed'], 100);
    const sender = await bench.open();
    const sent = Array.from({ length: 50 }, (_, index) => `${index}`);
    await Promise.all(sent.map((text) => bench.publish(sender, 'placed', text)));
    await bench.subject.crash(sender);
    await bench.publish(await bench.open(), 'placed', 'marker');
    assert.deepEqual((await inbox.texts(51)).toSorted(), [...sent, 'marker'].toSorted());
  },
  'rejects publish after close, and closes twice': async (bench) => {
    const sender = await bench.open();
    await sender.close();
    await rejectsWith('closed', bench.publish(sender, 'placed', 'x'));
    await sender.close();
  },
};

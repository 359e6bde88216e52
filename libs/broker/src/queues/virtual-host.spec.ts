/**
 * What queues, exchanges and sessions do together, with a sink that writes everything down; no journal unless a test says so.
 * Long, because the plain model at its end is of all of them.
 */
import { beforeEach, describe, expect, it } from '@jest/globals';
import assert from 'node:assert/strict';
import { SeededRandom, simulatedGround, SimulatedClock } from '@dovecote/ground/testing';
import { openStorage } from '../engine/open-storage.js';
import { CodedError } from '../errors.js';
import { defaultLimits } from '../limits.js';
import { Arena } from '../storage/arena.js';
import type { Consumer } from './consumer.js';
import { bodyLength, bodyStart, writeContent } from './content.js';
import { Gate } from './gate.js';
import type { Owner } from './owner.js';
import type { Session, SessionSink } from './session.js';
import { Turn } from './turn.js';
import { VirtualHost } from './virtual-host.js';

interface Given {
  readonly tag: number;
  readonly consumer: string;
  readonly body: string;
  readonly isRedelivered: boolean;
}

function bodyOf(bytes: Buffer, start: number): string {
  const length = bodyLength(bytes, start);
  return length === 0 ? '' : bytes.toString('utf8', bodyStart(bytes, start), bodyStart(bytes, start) + length);
}

class Recorder implements SessionSink {
  readonly given: Given[] = [];
  readonly confirms: number[] = [];
  readonly cancels: string[] = [];
  onGiven: ((given: Given, consumer: Consumer | undefined) => void) | undefined;

  deliver(consumer: Consumer, tag: number, isRedelivered: boolean, bytes: Buffer, start: number): void {
    const given = { tag, consumer: consumer.tag, body: bodyOf(bytes, start), isRedelivered };
    this.given.push(given);
    this.onGiven?.(given, consumer);
  }

  got(tag: number, isRedelivered: boolean, _messageCount: number, bytes: Buffer, start: number): void {
    const given = { tag, consumer: 'get', body: bodyOf(bytes, start), isRedelivered };
    this.given.push(given);
    this.onGiven?.(given, undefined);
  }

  confirmed(upTo: number): void {
    this.confirms.push(upTo);
  }

  rejected(publish: number): void {
    this.confirms.push(-publish);
  }

  cancelled(consumer: Consumer): void {
    this.cancels.push(consumer.tag);
  }

  /** What came since the last call: `consumer:body`, with `!` for redelivered. */
  take(): string[] {
    return this.given.splice(0).map(({ consumer, body, isRedelivered }) => `${consumer}:${body}${isRedelivered ? '!' : ''}`);
  }
}

const lasting = { passive: false, durable: true, exclusive: false, autoDelete: false, arguments: {} };

/** A session and everything that is said to it. */
class Talk {
  readonly sink = new Recorder();
  readonly session: Session;

  constructor(
    readonly host: VirtualHost,
    readonly owner: Owner = host.createOwner(),
  ) {
    this.session = host.createSession(owner, this.sink);
  }

  declare(name: string, declaration: Partial<typeof lasting> = {}): void {
    this.host.declareQueue(this.session, name, { ...lasting, ...declaration });
  }

  publish(exchange: string, key: string, ...bodies: readonly string[]): void {
    for (const body of bodies) this.put(exchange, key, body, false);
  }

  put(exchange: string, key: string, body: string, isPersistent: boolean): void {
    const image = writeContent(exchange, key, { deliveryMode: isPersistent ? 2 : 1 }, Buffer.from(body));
    this.session.publish(this.host.route(exchange, key), isPersistent, image, 0, image.length);
  }

  consume(queue: string, tag: string, settings: { prefetch?: number; noAck?: boolean; exclusive?: boolean } = {}): Consumer {
    const { prefetch = 0, noAck = false, exclusive = false } = settings;
    return this.session.consume(this.host.findQueue(this.session, queue), { tag, noAck, exclusive, prefetch, arguments: {} });
  }

  count(queue: string): number {
    return this.host.findQueue(this.session, queue).messageCount;
  }
}

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert(error instanceof CodedError);
    return error.code;
  }
  return 'none';
}

let clock: SimulatedClock;
let arena: Arena;
let host: VirtualHost;
let one: Talk;
let two: Talk;
const settle = (): Promise<void> => clock.runUntilIdle();

beforeEach(() => {
  clock = new SimulatedClock();
  arena = new Arena();
  const parts = {
    arena,
    turn: new Turn(clock),
    clock,
    gate: new Gate(),
    random: new SeededRandom(1),
    limits: defaultLimits,
    log: undefined,
  };
  host = new VirtualHost('/', parts);
  one = new Talk(host);
  two = new Talk(host);
});

describe('a queue', () => {
  beforeEach(() => one.declare('q'));

  it('gives messages to its consumers in turn, each publisher in its order', async () => {
    one.consume('q', 'a');
    one.consume('q', 'b');
    two.consume('q', 'c');
    one.publish('', 'q', '1', '2', '3', '4', '5', '6', '7');
    await settle();
    expect(one.sink.take()).toEqual(['a:1', 'b:2', 'a:4', 'b:5', 'a:7']);
    expect(two.sink.take()).toEqual(['c:3', 'c:6']);
    one.session.cancel('a');
    one.publish('', 'q', '8', '9', '10');
    await settle();
    expect([...one.sink.take(), ...two.sink.take()]).toEqual(['b:8', 'b:10', 'c:9']);
  });

  it('keeps to the prefetch of each consumer, and passes over the ones that have enough', async () => {
    one.consume('q', 'a', { prefetch: 1 });
    two.consume('q', 'b', { prefetch: 3 });
    one.publish('', 'q', '1', '2', '3', '4', '5', '6');
    await settle();
    expect(one.sink.take()).toEqual(['a:1']);
    expect(two.sink.take()).toEqual(['b:2', 'b:3', 'b:4']);
    expect(one.count('q')).toBe(2);
    two.session.acknowledge(2, false);
    await settle();
    expect(two.sink.take()).toEqual(['b:5']);
    one.session.acknowledge(1, false);
    await settle();
    expect(one.sink.take()).toEqual(['a:6']);
  });

  it('keeps to the prefetch that the consumers of a session share', async () => {
    one.declare('other');
    one.session.sharedPrefetch = 2;
    one.consume('q', 'a');
    one.consume('other', 'b');
    one.publish('', 'q', '1', '2', '3');
    one.publish('', 'other', 'x', 'y');
    await settle();
    expect(one.sink.take()).toEqual(['a:1', 'a:2']);
    one.session.acknowledge(1, false);
    await settle();
    expect(one.sink.given.length).toBe(1);
    one.sink.take();
    one.session.acknowledge(0, true);
    await settle();
    expect(one.sink.given.length).toBe(2);
  });

  it('asks no acknowledgement of a consumer that gives none, whatever its prefetch', async () => {
    one.consume('q', 'a', { noAck: true, prefetch: 1 });
    one.publish('', 'q', '1', '2', '3');
    await settle();
    expect(one.sink.take()).toEqual(['a:1', 'a:2', 'a:3']);
    expect(one.session.acknowledge(1, false)).toBe(false);
    expect(arena.chunks.some((chunk) => chunk !== undefined && chunk.live > 0)).toBe(false);
  });

  it('takes back what returns to its old place, flagged, and before everything else', async () => {
    one.consume('q', 'a', { prefetch: 4 });
    one.publish('', 'q', '1', '2', '3', '4', '5', '6');
    await settle();
    one.sink.take();
    one.session.cancel('a');
    one.session.reject(3, false, true);
    one.session.reject(1, false, true);
    one.session.acknowledge(2, false);
    two.consume('q', 'b');
    await settle();
    expect(two.sink.take()).toEqual(['b:1!', 'b:3!', 'b:5', 'b:6']);
    one.session.recover();
    await settle();
    expect(two.sink.take()).toEqual(['b:4!']);
  });

  it('gets back, in order, what a closed session had, and gives the session nothing more', async () => {
    one.consume('q', 'a', { prefetch: 3 });
    one.publish('', 'q', '1', '2', '3', '4');
    await settle();
    one.session.close();
    two.consume('q', 'b');
    two.publish('', 'q', '5');
    await settle();
    expect(one.sink.take()).toEqual(['a:1', 'a:2', 'a:3']);
    expect(two.sink.take()).toEqual(['b:1!', 'b:2!', 'b:3!', 'b:4', 'b:5']);
  });

  it('is fetched from one by one, too', async () => {
    one.publish('', 'q', '1', '2');
    const queue = host.findQueue(one.session, 'q');
    expect(one.session.get(queue, false)).toBe(true);
    expect(one.session.get(queue, true)).toBe(true);
    expect(one.session.get(queue, false)).toBe(false);
    one.session.reject(1, false, true);
    expect(one.session.get(queue, true)).toBe(true);
    expect(one.sink.take()).toEqual(['get:1', 'get:2', 'get:1!']);
    await settle();
  });

  it('holds deliveries back from a session that cannot take them', async () => {
    one.consume('q', 'a');
    one.session.setWritable(false);
    one.publish('', 'q', '1');
    await settle();
    expect(one.sink.take()).toEqual([]);
    one.session.setWritable(true);
    await settle();
    expect(one.sink.take()).toEqual(['a:1']);
  });

  it('lets nobody else near an exclusive consumer', () => {
    one.consume('q', 'a', { exclusive: true });
    expect(refusal(() => two.consume('q', 'b'))).toBe('exclusive-consumer');
    one.session.cancel('a');
    two.consume('q', 'b');
    expect(refusal(() => one.consume('q', 'a', { exclusive: true }))).toBe('exclusive-consumer');
    expect(refusal(() => two.consume('q', 'b'))).toBe('consumer-tag-taken');
  });

  it('goes with its last consumer when it was declared so, not before its first', async () => {
    one.declare('auto', { autoDelete: true });
    await settle();
    one.consume('auto', 'a');
    two.consume('auto', 'b');
    one.session.cancel('a');
    expect(refusal(() => one.count('auto'))).toBe('none');
    two.session.close();
    expect(refusal(() => one.count('auto'))).toBe('no-queue');
  });

  it('that is exclusive belongs to one owner and goes with it', () => {
    one.declare('mine', { exclusive: true });
    expect(refusal(() => two.consume('mine', 'x'))).toBe('exclusive-owner');
    expect(refusal(() => two.declare('mine', { exclusive: true }))).toBe('exclusive-owner');
    const same = new Talk(host, one.owner);
    same.consume('mine', 'x');
    host.closeOwner(one.owner);
    expect(same.sink.cancels).toEqual(['x']);
    expect(refusal(() => one.count('mine'))).toBe('no-queue');
  });

  it('tells its consumers when it is deleted, forgets what is in it, and takes nothing back', async () => {
    one.consume('q', 'a', { prefetch: 2 });
    one.publish('', 'q', '1', '2', '3');
    await settle();
    expect(host.deleteQueue(two.session, 'q', { ifUnused: false, ifEmpty: false })).toBe(1);
    expect(one.sink.cancels).toEqual(['a']);
    one.session.reject(1, false, true);
    one.session.acknowledge(2, false);
    one.publish('', 'q', '4');
    await settle();
    expect(arena.chunks.some((chunk) => chunk !== undefined && chunk.live > 0)).toBe(false);
    expect(host.deleteQueue(two.session, 'q', { ifUnused: false, ifEmpty: false })).toBe(0);
  });

  it('may be deleted by the consumer that it is just giving a message to', async () => {
    one.consume('q', 'a');
    one.publish('', 'q', '1', '2', '3');
    one.sink.onGiven = () => void host.deleteQueue(one.session, 'q', { ifUnused: false, ifEmpty: false });
    await settle();
    expect(one.sink.take()).toEqual(['a:1']);
    expect(one.session.acknowledge(1, false)).toBe(true);
    expect(arena.chunks.some((chunk) => chunk !== undefined && chunk.live > 0)).toBe(false);
  });

  it('is not deleted under conditions that do not hold', async () => {
    one.publish('', 'q', '1');
    expect(refusal(() => host.deleteQueue(one.session, 'q', { ifUnused: false, ifEmpty: true }))).toBe('not-empty');
    expect(host.purgeQueue(one.session, 'q')).toBe(1);
    one.consume('q', 'a');
    expect(refusal(() => host.deleteQueue(one.session, 'q', { ifUnused: true, ifEmpty: true }))).toBe('in-use');
    await settle();
  });
});

describe('acknowledgements', () => {
  beforeEach(async () => {
    one.declare('q');
    one.consume('q', 'a');
    one.publish('', 'q', '1', '2', '3', '4', '5');
    await settle();
    one.sink.take();
  });

  it('name one delivery, or all up to one, or with 0 all there are', () => {
    expect(one.session.acknowledge(2, false)).toBe(true);
    expect(one.session.acknowledge(3, true)).toBe(true);
    expect(one.session.unacknowledged.count).toBe(2);
    expect(one.session.acknowledge(0, true)).toBe(true);
    expect(one.session.unacknowledged.count).toBe(0);
    expect(one.session.acknowledge(0, true)).toBe(true);
  });

  it.each([
    [0, false],
    [6, false],
    [6, true],
    [1e9, true],
  ])('of the unknown tag %d (multiple: %p) do nothing and say so', (tag, multiple) => {
    expect(one.session.acknowledge(tag, multiple)).toBe(false);
    expect(one.session.reject(tag, multiple, true)).toBe(tag === 0 && multiple);
    expect(one.session.unacknowledged.count).toBe(5);
  });

  it('that come twice are unknown the second time', () => {
    expect(one.session.acknowledge(1, false)).toBe(true);
    expect(one.session.acknowledge(1, false)).toBe(false);
    expect(one.session.reject(1, false, true)).toBe(false);
  });
});

describe('exchanges', () => {
  const declaration = { passive: false, durable: true, autoDelete: false, internal: false, arguments: {} };

  it('send each message to every queue that is bound, once', () => {
    host.declareExchange(one.session, 'topics', 'topic', declaration);
    for (const name of ['x', 'y', 'z']) one.declare(name);
    host.bindQueue(one.session, 'x', 'topics', 'a.#', {});
    host.bindQueue(one.session, 'x', 'topics', '*.b', {});
    host.bindQueue(one.session, 'y', 'topics', 'a.c', {});
    host.bindQueue(one.session, 'z', 'amq.fanout', 'any', {});
    one.publish('topics', 'a.b', '1');
    one.publish('amq.fanout', 'whatever', '2');
    one.publish('topics', 'b.c', '3');
    expect(['x', 'y', 'z'].map((name) => one.count(name))).toEqual([1, 0, 1]);
    host.unbindQueue(one.session, 'x', 'topics', 'a.#', {});
    one.publish('topics', 'a.b', '4');
    host.unbindQueue(one.session, 'x', 'topics', '*.b', {});
    one.publish('topics', 'a.b', '5');
    expect(one.count('x')).toBe(2);
  });

  it('take two bindings that differ in arguments only for two', () => {
    one.declare('x');
    host.bindQueue(one.session, 'x', 'amq.direct', 'k', {});
    host.bindQueue(one.session, 'x', 'amq.direct', 'k', { a: 1 });
    host.unbindQueue(one.session, 'x', 'amq.direct', 'k', {});
    one.publish('amq.direct', 'k', '1');
    expect(one.count('x')).toBe(1);
    host.unbindQueue(one.session, 'x', 'amq.direct', 'k', { a: 1 });
    one.publish('amq.direct', 'k', '2');
    expect(one.count('x')).toBe(1);
  });

  it('go with their last binding when they were declared so', () => {
    host.declareExchange(one.session, 'auto', 'fanout', { ...declaration, autoDelete: true });
    one.declare('x');
    host.bindQueue(one.session, 'x', 'auto', '', {});
    host.deleteQueue(one.session, 'x', { ifUnused: false, ifEmpty: false });
    expect(refusal(() => one.publish('auto', '', '1'))).toBe('no-exchange');
  });

  it('refuse what cannot be', () => {
    host.declareExchange(one.session, 'inner', 'direct', { ...declaration, internal: true });
    expect(refusal(() => one.publish('inner', 'k', '1'))).toBe('internal-exchange');
    expect(refusal(() => host.declareExchange(one.session, 'inner', 'topic', declaration))).toBe('inequivalent-arguments');
    expect(refusal(() => host.declareExchange(one.session, '', 'topic', declaration))).toBe('default-exchange');
    expect(refusal(() => host.declareExchange(one.session, 'amq.mine', 'topic', declaration))).toBe('reserved-name');
    expect(refusal(() => host.declareExchange(one.session, 'h', 'x-delayed-message', declaration))).toBe('invalid-argument');
    expect(refusal(() => host.declareExchange(one.session, 'h', 'nonsense', declaration))).toBe('unknown-exchange-type');
    expect(refusal(() => host.deleteExchange(one.session, 'amq.topic', { ifUnused: false }))).toBe('reserved-name');
    expect(refusal(() => one.declare('q', { arguments: { 'x-queue-type': 'stream' } }))).toBe('not-implemented');
    expect(refusal(() => one.declare('amq.q'))).toBe('reserved-name');
  });

  it('are bounded, as queues are', () => {
    const parts = { arena, turn: new Turn(clock), clock, gate: new Gate(), random: new SeededRandom(1), log: undefined };
    const small = new Talk(new VirtualHost('/', { ...parts, limits: { ...defaultLimits, queuesMax: 2 } }));
    small.declare('a');
    small.declare('b');
    expect(refusal(() => small.declare('c'))).toBe('invalid-argument');
    small.declare('a');
  });
});

describe('confirms', () => {
  it('come in the order of the publishes, and for what is persistent after its commit', async () => {
    const ground = simulatedGround(1);
    const storage = await ground.clock.drive(openStorage({ data: '/data', durability: 'fsync' }, ground, defaultLimits));
    const talk = new Talk(storage.host);
    talk.session.isConfirming = true;
    talk.declare('kept');
    talk.declare('passing', { durable: false });
    await ground.clock.runUntilIdle();
    talk.consume('kept', 'k');
    talk.put('', 'passing', '1', true); // no durable queue: needs no disk
    talk.put('', 'nowhere', '2', true);
    await ground.clock.advance(0);
    expect(talk.sink.confirms).toEqual([2]);
    talk.put('', 'kept', '3', true);
    talk.put('', 'kept', '4', false);
    talk.put('', 'passing', '5', false);
    await ground.clock.advance(0);
    expect(talk.sink.confirms).toEqual([2]);
    expect(talk.count('kept')).toBe(0); // not even the transient one: it stands behind a message that nobody may see yet
    talk.put('', 'kept', '6', true);
    await ground.clock.runUntilIdle();
    expect(talk.sink.confirms).toEqual([2, 5, 6]);
    expect(talk.sink.take()).toEqual(['k:3', 'k:4', 'k:6']);
  });

  it('do not come for what is published before they were asked for, nor to a session that is closed', async () => {
    one.declare('q');
    one.publish('', 'q', '1');
    one.session.isConfirming = true;
    one.publish('', 'q', '2');
    await settle();
    expect(one.sink.confirms).toEqual([1]);
    one.publish('', 'q', '3');
    one.session.close();
    await settle();
    expect(one.sink.confirms).toEqual([1]);
  });
});

interface ModelMessage {
  readonly body: string;
  readonly sequence: number;
  wasGiven: boolean;
}

/** What a virtual host is: lists. */
class Model {
  readonly queues = new Map<string, ModelMessage[]>();
  readonly talks: {
    readonly talk: Talk;
    readonly consumers: Map<string, { queue: string; prefetch: number; noAck: boolean; held: number }>;
    readonly held: Map<number, { queue: string; message: ModelMessage; consumer: string }>;
  }[] = [];
  private sequence = 0;

  publish(queue: string, body: string): void {
    this.queues.get(queue)?.push({ body, sequence: ++this.sequence, wasGiven: false });
  }

  give(index: number, given: Given, queue: string): void {
    const { consumers, held } = this.talks[index]!;
    const message = this.queues.get(queue)?.shift();
    assert(message !== undefined, `${given.body} was given from ${queue}, which is empty`);
    assert.equal(given.body, message.body);
    assert.equal(given.isRedelivered, message.wasGiven);
    message.wasGiven = true;
    const consumer = consumers.get(given.consumer);
    if (consumer === undefined || consumer.noAck) {
      if (consumer !== undefined) return;
    } else {
      assert(consumer.prefetch === 0 || consumer.held < consumer.prefetch, `${given.consumer} has enough`);
      consumer.held++;
    }
    held.set(given.tag, { queue, message, consumer: given.consumer });
  }

  settle(index: number, tag: number, requeue: boolean): void {
    const { consumers, held } = this.talks[index]!;
    const { queue, message, consumer } = held.get(tag)!;
    held.delete(tag);
    const owner = consumers.get(consumer);
    if (owner !== undefined) owner.held--;
    const messages = this.queues.get(queue);
    if (!requeue || messages === undefined) return;
    messages.push(message);
    messages.sort((before, after) => before.sequence - after.sequence);
  }

  /** Whether somebody could take what waits. */
  isIdle(queue: string): boolean {
    if ((this.queues.get(queue)?.length ?? 0) === 0) return true;
    return !this.talks.some(({ consumers }) =>
      [...consumers.values()].some(
        (consumer) => consumer.queue === queue && (consumer.noAck || consumer.prefetch === 0 || consumer.held < consumer.prefetch),
      ),
    );
  }
}

/** Random commands, each followed by everything that it sets off. */
class Play {
  readonly model = new Model();
  private count = 0;

  constructor(private readonly random: SeededRandom) {
    for (let i = 0; i < 3; i++) this.join(i);
  }

  step(): void {
    const { random, model } = this;
    const index = random.below(model.talks.length);
    const { talk, consumers, held } = model.talks[index]!;
    const queue = ['p', 'q', 'r'][random.below(3)]!;
    const choice = random.below(100);
    if (choice < 40) return this.publish(talk, queue);
    if (choice < 65) return this.settle(index, [...held.keys()]);
    if (choice < 75) return this.consume(index, queue);
    if (choice < 80) return this.get(index, queue);
    if (choice < 85) return this.cancel(talk, [...consumers.keys()], index);
    if (choice < 90) {
      talk.declare(queue);
      if (!model.queues.has(queue)) model.queues.set(queue, []);
    } else if (choice < 93) this.leave(index);
    else if (choice < 95) this.remove(talk, queue);
    else if (choice < 97) {
      if (model.queues.has(queue)) assert.equal(host.purgeQueue(talk.session, queue), model.queues.get(queue)!.splice(0).length);
    } else {
      talk.session.recover();
      for (const tag of [...held.keys()]) model.settle(index, tag, true);
    }
  }

  check(): void {
    for (const [name, messages] of this.model.queues) {
      const queue = host.findQueue(this.model.talks[0]!.talk.session, name);
      const heldCount = this.model.talks.flatMap(({ held }) => [...held.values()].filter((entry) => entry.queue === name)).length;
      assert.deepEqual([queue.messageCount, queue.unacknowledgedCount], [messages.length, heldCount]);
      assert(this.model.isIdle(name), `${name} has messages and a consumer that would take one`);
    }
    for (const { talk, held } of this.model.talks) assert.equal(talk.session.unacknowledged.count, held.size);
  }

  private join(index: number): void {
    const talk = new Talk(host);
    this.model.talks[index] = { talk, consumers: new Map(), held: new Map() };
    talk.sink.onGiven = (given, consumer) => {
      if (consumer !== undefined) this.model.give(index, given, consumer.queue.name);
    };
  }

  private publish(talk: Talk, queue: string): void {
    for (let left = 1 + this.random.below(4); left > 0; left--) {
      const body = `${++this.count}${'.'.repeat(this.random.below(50))}`;
      talk.publish('', queue, body);
      this.model.publish(queue, body);
    }
  }

  private settle(index: number, tags: readonly number[]): void {
    const { random, model } = this;
    const { session } = model.talks[index]!.talk;
    const [requeue, multiple] = [random.chance(0.4), random.chance(0.3)];
    const tag = tags[random.below(tags.length + 1)] ?? 1e6;
    const settled = random.chance(0.5) && !requeue ? session.acknowledge(tag, multiple) : session.reject(tag, multiple, requeue);
    assert.equal(settled, tags.includes(tag));
    if (settled) for (const other of tags) if (other === tag || (multiple && other < tag)) model.settle(index, other, requeue);
  }

  private consume(index: number, queue: string): void {
    const { random, model } = this;
    const { talk, consumers } = model.talks[index]!;
    if (!model.queues.has(queue) || consumers.size > 3) return;
    const [tag, prefetch, noAck] = [`c${++this.count}`, random.below(4), random.chance(0.2)];
    talk.consume(queue, tag, { prefetch, noAck });
    consumers.set(tag, { queue, prefetch, noAck, held: 0 });
  }

  private get(index: number, queue: string): void {
    const { model } = this;
    const { talk, held } = model.talks[index]!;
    if (!model.queues.has(queue)) return;
    const noAck = this.random.chance(0.5);
    assert.equal(talk.session.get(host.findQueue(talk.session, queue), noAck), model.queues.get(queue)!.length > 0);
    const given = talk.sink.given.at(-1);
    if (given?.consumer !== 'get') return;
    talk.sink.given.length = 0;
    model.give(index, given, queue);
    if (noAck) held.delete(given.tag);
  }

  private cancel(talk: Talk, tags: readonly string[], index: number): void {
    const tag = tags[this.random.below(tags.length + 1)];
    if (tag === undefined) return;
    talk.session.cancel(tag);
    this.model.talks[index]!.consumers.delete(tag);
  }

  private leave(index: number): void {
    const { model } = this;
    const { talk, consumers, held } = model.talks[index]!;
    talk.session.close();
    consumers.clear();
    for (const tag of [...held.keys()]) model.settle(index, tag, true);
    this.join(index);
  }

  private remove(talk: Talk, queue: string): void {
    const { model } = this;
    const count = model.queues.get(queue)?.length ?? 0;
    assert.equal(host.deleteQueue(talk.session, queue, { ifUnused: false, ifEmpty: false }), count);
    model.queues.delete(queue);
    for (const { consumers, held } of model.talks) {
      for (const [tag, consumer] of consumers) if (consumer.queue === queue) consumers.delete(tag);
      // What was given may still be settled; it goes nowhere.
      for (const [tag, entry] of held) if (entry.queue === queue) held.set(tag, { ...entry, queue: 'gone' });
    }
  }
}

describe('random commands', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('do to a virtual host what they do to a plain model (seed %d)', async (seed) => {
    const play = new Play(new SeededRandom(seed));
    for (let step = 0; step < 1200; step++) {
      play.step();
      await settle();
      play.check();
    }
    for (const { talk } of play.model.talks) talk.session.close();
    for (const name of play.model.queues.keys()) host.purgeQueue(play.model.talks[0]!.talk.session, name);
    expect(arena.chunks.filter((chunk) => chunk !== undefined && chunk.live > 0)).toEqual([]);
  });
});

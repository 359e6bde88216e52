import { afterEach, describe, expect, it } from '@jest/globals';
import { SeededRandom, type SimulatedGround, simulatedGround } from '@dovecote/ground/testing';
import { openStorage, type OpenStorage } from './open-storage.js';
import { CodedError } from '../errors.js';
import { defaultLimits } from '../limits.js';
import { writeContent } from '../queues/content.js';
import type { ExchangeType } from '../queues/exchange-type.js';
import type { FieldTable, FieldValue } from '../queues/field-table.js';
import { type PlainBinding, PlainRouting } from '../queues/plain-routing.js';
import { perMessage } from '../queues/route.js';
import { ContentMessage } from '../queues/routed-message.js';
import type { Session } from '../queues/session.js';
import type { VirtualHost } from '../queues/virtual-host.js';

/** A virtual host on a simulated machine that can be shut down and opened again. */
class Place {
  storage!: OpenStorage;
  session!: Session;
  private constructor(
    private readonly ground: SimulatedGround,
    private readonly exchangeTypes: readonly ExchangeType[],
  ) {}

  static async open(seed: number, exchangeTypes: readonly ExchangeType[] = [], ground = simulatedGround(seed)): Promise<Place> {
    const place = new Place(ground, exchangeTypes);
    await place.start();
    return place;
  }

  get host(): VirtualHost {
    return this.storage.host;
  }

  async start(exchangeTypes = this.exchangeTypes): Promise<void> {
    const { ground } = this;
    this.storage = await ground.clock.drive(openStorage({ data: '/data', exchangeTypes }, ground, defaultLimits));
    this.session = this.host.createSession(this.host.createOwner(), nobody);
  }

  async stop(): Promise<void> {
    const { clock } = this.ground;
    await clock.drive(this.storage.journal!.close());
    await clock.drive(this.storage.lock!.release());
  }

  declare(name: string, type: string, more: { durable?: boolean; autoDelete?: boolean; arguments?: FieldTable } = {}): void {
    const declaration = { passive: false, durable: false, autoDelete: false, internal: false, arguments: {}, ...more };
    this.host.declareExchange(this.session, name, type, declaration);
  }

  declareQueue(name: string, durable = false): void {
    this.host.declareQueue(this.session, name, { passive: false, durable, exclusive: false, autoDelete: false, arguments: {} });
  }

  bind(queue: string, exchange: string, key = '', given: FieldTable = {}): void {
    this.host.bindQueue(this.session, queue, exchange, key, given);
  }

  /** As a publisher finds them: by the key where that is enough. */
  route(exchange: string, keys: readonly string[], headers: FieldTable = {}): readonly string[] {
    const [key, ...extra] = keys;
    let route = this.host.route(exchange, key!);
    if (route === perMessage || extra.length > 0) {
      const image = writeContent(exchange, key!, { headers }, Buffer.alloc(0));
      route = this.host.routeMessage(exchange, new ContentMessage(image, 0, extra));
    }
    return route.queues.map(({ name }) => name).sort();
  }
}

const nobody = { deliver: () => {}, got: () => {}, confirmed: () => {}, cancelled: () => {}, rejected: () => {} };
const places: Place[] = [];
afterEach(async () => {
  for (const place of places.splice(0)) await place.stop();
});

async function open(seed = 1, exchangeTypes: readonly ExchangeType[] = []): Promise<Place> {
  const place = await Place.open(seed, exchangeTypes);
  places.push(place);
  return place;
}

const types = ['direct', 'fanout', 'topic', 'headers'] as const;
const exchangeNames = ['x0', 'x1', 'x2', 'x3', 'x4', 'x5'];
const queueNames = ['q0', 'q1', 'q2', 'q3', 'q4', 'q5', 'q6', 'q7'];
const keys = ['', 'a', 'b', 'a.b', 'a.*', '#', '*.b', 'a.#.b', '#.a.#', 'b.a.b', 'a..b'];
const values: readonly FieldValue[] = [1, 2, 'one', '1', true, null, { float: 1 }, 1.5, ['a', 1], { in: 'side' }, { timestamp: 1 }];
const fieldNames = ['h1', 'h2', 'x-h3', 'constructor'];

/** Random changes and random messages, on the real thing and on the plain one. */
class Walk {
  private readonly plain = new PlainRouting();
  private readonly chance: SeededRandom;
  deliveries = 0;
  /** Where the two disagree. */
  readonly differences: unknown[] = [];

  constructor(
    private readonly place: Place,
    seed: number,
  ) {
    this.chance = new SeededRandom(seed);
  }

  async run(steps: number): Promise<this> {
    for (let step = 0; step < steps; step++) {
      if (this.chance.below(100) === 0) await this.restart();
      this.change();
      for (let probe = 0; probe < 4; probe++) this.probe();
    }
    return this;
  }

  private pick<T>(from: readonly T[]): T {
    return from[this.chance.below(from.length)]!;
  }

  private table(max: number): FieldTable {
    const table: Record<string, FieldValue> = {};
    for (let left = this.chance.below(max + 1); left > 0; left--) table[this.pick(fieldNames)] = this.pick(values);
    return table;
  }

  private async restart(): Promise<void> {
    await this.place.stop();
    await this.place.start();
    this.plain.restart(isDurableQueue);
  }

  private change(): void {
    const { place, plain, chance } = this;
    for (const name of queueNames) place.declareQueue(name, isDurableQueue(name));
    const name = this.pick(exchangeNames);
    switch (chance.below(14)) {
      case 0: {
        const alternate = chance.below(3) === 0 ? this.pick(exchangeNames) : undefined;
        const settings = { name, type: this.pick(types), durable: chance.below(2) === 0, autoDelete: chance.below(5) === 0, alternate };
        if (plain.exchanges.some((exchange) => exchange.name === name)) return;
        plain.declare(settings);
        return place.declare(name, settings.type, {
          ...settings,
          arguments: alternate === undefined ? {} : { 'alternate-exchange': alternate },
        });
      }
      case 1:
        if (chance.below(3) > 0) return;
        plain.deleteExchange(name);
        return place.host.deleteExchange(place.session, name, { ifUnused: false });
      case 2: {
        if (chance.below(4) > 0) return;
        const queue = this.pick(queueNames);
        plain.deleteQueue(queue);
        return void place.host.deleteQueue(place.session, queue, { ifUnused: false, ifEmpty: false });
      }
      case 3:
      case 4:
        return this.unbind();
      default:
        return this.bind(name);
    }
  }

  private bind(from: string): void {
    const { plain, place } = this;
    const kind = this.chance.below(3) === 0 ? 'exchange' : 'queue';
    const to = { kind, name: this.pick(kind === 'queue' ? queueNames : exchangeNames) } as const;
    const isThere = (name: string): boolean => plain.exchanges.some((exchange) => exchange.name === name);
    if (!isThere(from) || (kind === 'exchange' && !isThere(to.name))) return;
    const match = this.pick([undefined, 'all', 'any', 'all-with-x', 'any-with-x']);
    const given = this.chance.below(2) === 0 ? {} : { ...this.table(3), ...(match === undefined ? {} : { 'x-match': match }) };
    const key = this.pick(keys);
    plain.bind({ from, to, key, arguments: given });
    if (kind === 'queue') place.host.bindQueue(place.session, to.name, from, key, given);
    else place.host.bindExchange(place.session, to.name, from, key, given);
  }

  private unbind(): void {
    const { plain, place } = this;
    if (plain.bindings.length === 0) return;
    const binding: PlainBinding = this.pick(plain.bindings);
    plain.unbind(binding);
    // The fields in another order are the same fields.
    const given = Object.fromEntries(Object.entries(binding.arguments).reverse());
    if (binding.to.kind === 'queue') place.host.unbindQueue(place.session, binding.to.name, binding.from, binding.key, given);
    else place.host.unbindExchange(place.session, binding.to.name, binding.from, binding.key, given);
  }

  private probe(): void {
    const { plain, place } = this;
    const name = this.pick(exchangeNames);
    const known = place.host.exchanges.settings.map((settings) => settings.name).filter((other) => !other.startsWith('amq.'));
    const expected = plain.exchanges.map((exchange) => exchange.name);
    if (known.sort().join() !== expected.sort().join()) this.differences.push({ known, expected });
    if (!known.includes(name)) return;
    const sent = this.chance.below(4) === 0 ? [this.pick(keys), this.pick(keys), this.pick(keys)] : [this.pick(keys)];
    const headers = this.table(3);
    const routed = place.route(name, sent, headers);
    const wanted = plain.route(name, sent, headers);
    if (routed.join() !== wanted.join()) this.differences.push({ name, sent, headers, routed, wanted });
    this.deliveries += routed.length;
  }
}

function isDurableQueue(name: string): boolean {
  return Number(name.slice(1)) % 2 === 0;
}

describe('routing', () => {
  it.each([1, 2, 3, 4, 5, 6])('is what the rules say, whatever is bound, taken away and restarted (seed %d)', async (seed) => {
    const walk = await new Walk(await open(seed), seed).run(600);
    expect(walk.differences).toEqual([]);
    expect(walk.deliveries).toBeGreaterThan(300);
  });

  it('remembers what depends on the key and on nothing else', async () => {
    const place = await open();
    place.declareQueue('q');
    place.declare('start', 'direct', { arguments: { 'alternate-exchange': 'amq.headers' } });
    place.bind('q', 'start', 'known');
    expect(place.host.route('start', 'known')).toBe(place.host.route('start', 'known'));
    expect(place.host.route('start', 'known').queues).toHaveLength(1);
    expect(place.host.route('start', 'unknown')).toBe(perMessage);
  });
});

describe('a durable binding', () => {
  it('of an older version, with its fields as they came, is found and can be taken away', async () => {
    const place = await open();
    place.declareQueue('q', true);
    const id = [...place.host.queues][0]!.id;
    // {"x-match":"any","a":1} as it was encoded in the order of a client
    const bytes = Buffer.from('0000001807782d6d617463685300000003616e7901614900000001', 'hex');
    bytes.writeUInt32BE(bytes.length - 4, 0);
    const binding = { exchange: 'amq.headers', queueId: id, key: '', arguments: bytes.toString('base64') };
    place.host.recoverDefinition({ do: 'bind', binding });
    expect(place.route('amq.headers', [''], { a: 1 })).toEqual(['q']);
    place.host.unbindQueue(place.session, 'q', 'amq.headers', '', { a: 1, 'x-match': 'any' });
    expect(place.route('amq.headers', [''], { a: 1 })).toEqual([]);
  });
});

describe('a dead letter', () => {
  it('goes through exchanges of every type, by all that these look at', async () => {
    const place = await open();
    const [work, dead, stray] = ['work', 'dead', 'stray'];
    place.declare('strays', 'fanout');
    place.declare('deaths', 'headers', { arguments: { 'alternate-exchange': 'strays' } });
    place.host.declareQueue(place.session, work, {
      ...{ passive: false, durable: false, exclusive: false, autoDelete: false },
      arguments: { 'x-dead-letter-exchange': 'deaths' },
    });
    for (const queue of [dead, stray]) place.declareQueue(queue);
    place.bind(dead, 'deaths', '', { kind: 'paid' });
    place.bind(stray, 'strays');
    for (const kind of ['paid', 'free']) {
      const image = writeContent('', work, { headers: { kind } }, Buffer.from(kind));
      place.session.publish(place.host.route('', work), false, image, 0, image.length, false);
      place.session.get(place.host.findQueue(place.session, work), false);
      place.session.reject(0, true, false);
    }
    const waiting = [...place.host.queues].map(({ name, messageCount }) => [name, messageCount]);
    expect(waiting).toEqual([
      [work, 0],
      [dead, 1],
      [stray, 1],
    ]);
  });
});

describe('x-consistent-hash', () => {
  const many = Array.from({ length: 8000 }, (_, index) => `key-${index}`);

  it('gives each key to one queue, by weight, the same after a restart, and moves only what it must', async () => {
    const place = await open();
    place.declare('hash', 'x-consistent-hash', { durable: true });
    for (const [queue, weight] of [
      ['q1', '1'],
      ['q2', '2'],
      ['q3', '1'],
      ['q1', '7'],
    ] as const) {
      place.declareQueue(queue, true);
      place.bind(queue, 'hash', weight);
    }
    const before = many.map((key) => place.route('hash', [key]));
    expect(before.every((queues) => queues.length === 1)).toBe(true);
    const share = (name: string): number => before.filter(([queue]) => queue === name).length / many.length;
    for (const [name, ideal] of [
      ['q1', 0.25],
      ['q2', 0.5],
      ['q3', 0.25],
    ] as const)
      expect(Math.abs(share(name) - ideal)).toBeLessThan(0.03);
    await place.stop();
    await place.start();
    expect(many.map((key) => place.route('hash', [key]))).toEqual(before);
    place.host.deleteQueue(place.session, 'q3', { ifUnused: false, ifEmpty: false });
    many.forEach((key, index) => {
      const after = place.route('hash', [key]);
      expect(before[index]![0] === 'q3' ? after[0] !== 'q3' : after[0] === before[index]![0]).toBe(true);
    });
  });

  it('hashes a header where it is told to', async () => {
    const place = await open();
    place.declare('hash', 'x-consistent-hash', { arguments: { 'hash-header': 'customer' } });
    for (const queue of ['q1', 'q2', 'q3', 'q4']) {
      place.declareQueue(queue);
      place.bind(queue, 'hash', '1');
    }
    const queuesOf = (customer: FieldValue): Set<string> =>
      new Set(many.slice(0, 50).flatMap((key) => place.route('hash', [key], { customer })));
    const found = Array.from({ length: 50 }, (_, index) => queuesOf(index % 2 === 0 ? index : `c${index}`));
    expect(found.every((queues) => queues.size === 1)).toBe(true);
    expect(new Set(found.flatMap((queues) => [...queues])).size).toBe(4);
  });
});

/** A message goes to one binding more each time: an exchange that nobody has built in. */
const roundRobin: ExchangeType = {
  name: 'x-round-robin',
  checkArguments: ({ start }) => {
    if (start !== undefined && typeof start !== 'number') throw new Error('start must be a number');
  },
  checkBinding: ({ routingKey }) => {
    if (routingKey !== '') throw new Error(`x-round-robin takes no keys, and '${routingKey}' is one`);
  },
  create: ({ arguments: { start } }) => {
    const bindings: unknown[] = [];
    let next = Number(start ?? 0);
    return {
      readsMessage: true,
      add: (binding) => void bindings.push(binding),
      remove: (binding) => void bindings.splice(bindings.indexOf(binding), 1),
      route: ({ headers }, follow) => {
        if ('fail' in headers) throw new Error('told to fail');
        if (bindings.length > 0) follow(bindings[next++ % bindings.length] as Parameters<typeof follow>[0]);
      },
    };
  },
};

describe('an exchange type of one’s own', () => {
  it('routes like the built-in ones, also through other exchanges and after a restart', async () => {
    const place = await open(1, [roundRobin]);
    place.declare('turns', 'x-round-robin', { durable: true, arguments: { start: 1 } });
    for (const queue of ['q1', 'q2']) {
      place.declareQueue(queue, true);
      place.bind(queue, 'turns');
    }
    place.host.bindExchange(place.session, 'turns', 'amq.topic', 'a.#', {});
    const four = (): string[] => Array.from({ length: 4 }, () => place.route('amq.topic', ['a.b'])).flat();
    expect(four()).toEqual(['q2', 'q1', 'q2', 'q1']);
    await place.stop();
    await place.start();
    expect(four()).toEqual(['q2', 'q1', 'q2', 'q1']);
  });

  it('refuses with its own words', async () => {
    const place = await open(1, [roundRobin]);
    expect(() => place.declare('turns', 'x-round-robin', { arguments: { start: 'no' } })).toThrow(
      expect.objectContaining({ code: 'invalid-argument', message: 'start must be a number' }),
    );
    place.declare('turns', 'x-round-robin');
    place.declareQueue('q');
    expect(() => place.bind('q', 'turns', 'k')).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
    place.bind('q', 'turns');
    expect(() => place.route('turns', ['k'], { fail: true })).toThrow(
      expect.objectContaining({ code: 'exchange-type-failed', message: expect.stringContaining('told to fail') }),
    );
  });

  it('must be there when a folder that needs it is opened', async () => {
    const place = await open(1, [roundRobin]);
    place.declare('turns', 'x-round-robin', { durable: true });
    await place.stop();
    await expect(place.start([])).rejects.toThrow(
      new CodedError(
        'unknown-exchange-type',
        "The exchange 'turns' is of the type 'x-round-robin', which this broker does not know: give the type in exchangeTypes",
      ),
    );
    await place.start();
    expect(place.host.exchanges.settings.map(({ name }) => name)).toContain('turns');
  });

  it('has a name that nobody else has', async () => {
    for (const name of ['round-robin', 'x-consistent-hash']) {
      await expect(Place.open(1, [{ ...roundRobin, name }])).rejects.toMatchObject({ code: 'invalid-argument' });
    }
  });
});

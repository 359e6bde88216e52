/** Payloads in other formats than JSON, as an application meets them: Avro with the ids of its schemas, by avsc. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { realGround } from '@dovecote/ground';
import { type INestApplicationContext, Injectable, type Type } from '@nestjs/common';
import avro from 'avsc';
import {
  CommandMessage,
  DeadLetters,
  type Encoded,
  EventMessage,
  Handle,
  type Message,
  type MessageCodec,
  type MessagingOptions,
  type PayloadOutside,
  Publisher,
  Subscribe,
} from './index.js';
import { StartedServices } from './started-services.module.js';
import type { StandardSchema } from './policies/validation.js';
import { JumpingClock } from './transports/kafka/jumping-clock.js';
import { turn, until } from './turn.js';

/** Schemas by their ids, as a registry at the other end of a network answers. */
class Registry {
  isAway = false;
  readonly asked: number[] = [];
  readonly #schemas: string[] = [];

  async add(schema: object): Promise<number> {
    await turn();
    return this.#schemas.push(JSON.stringify(schema));
  }

  async get(id: number): Promise<string> {
    this.asked.push(id);
    await turn();
    if (this.isAway) throw Object.assign(new Error('the registry is away'), { retryable: true });
    const schema = this.#schemas[id - 1];
    if (schema === undefined) throw new Error(`there is no schema ${id}`);
    return schema;
  }
}

const MAGIC_BYTE = 0;
const PREFIX_BYTES = 5;

/** In the frame that Confluent's clients write: a byte 0, the id of the schema in four, then Avro. */
class ConfluentAvro implements MessageCodec {
  readonly contentType = 'application/vnd.confluent.avro';
  readonly #written = new Map<string, Promise<number>>();
  readonly #read = new Map<number, avro.Type>();

  constructor(
    private readonly registry: Registry,
    private readonly schemas: Readonly<Record<string, avro.schema.RecordType>>,
  ) {}

  encode(payload: unknown, { type }: PayloadOutside): Promise<Encoded> {
    const schema = this.schemas[type];
    if (schema === undefined) throw new Error('it has no schema');
    const avroType = avro.Type.forSchema(schema);
    const body = avroType.toBuffer({ ...(payload as object) });
    let id = this.#written.get(type);
    if (id === undefined) this.#written.set(type, (id = this.registry.add(schema)));
    return id.then((known) => {
      const prefix = Buffer.alloc(PREFIX_BYTES, MAGIC_BYTE);
      prefix.writeInt32BE(known, 1);
      return Buffer.concat([prefix, body]);
    });
  }

  decode(body: Uint8Array): unknown {
    const bytes = Buffer.from(body);
    if (bytes[0] !== MAGIC_BYTE || bytes.length < PREFIX_BYTES) throw new Error('it does not begin with the id of a schema');
    const id = bytes.readInt32BE(1);
    const known = this.#read.get(id);
    if (known !== undefined) return known.fromBuffer(bytes.subarray(PREFIX_BYTES));
    return this.registry.get(id).then((schema) => {
      const type = avro.Type.forSchema(JSON.parse(schema) as avro.Schema);
      this.#read.set(id, type);
      return type.fromBuffer(bytes.subarray(PREFIX_BYTES));
    });
  }
}

/** With the schema in an attribute. Odd ones are read late. */
class Fixed implements MessageCodec {
  readonly contentType = 'application/x-fixed';

  encode(payload: unknown, { type, version }: PayloadOutside): Encoded {
    const { parcel } = payload as { readonly parcel: number };
    const body = Buffer.alloc(4);
    body.writeUInt32BE(parcel);
    return { body, dataSchema: `urn:fixed:${type}:${version}` };
  }

  decode(body: Uint8Array, { dataSchema, version }: PayloadOutside): unknown {
    if (body.byteLength !== 4) throw new Error(`it has ${body.byteLength} bytes and not 4`);
    const parcel = { parcel: Buffer.from(body).readUInt32BE(), dataSchema, version };
    return parcel.parcel % 2 === 0 ? parcel : Promise.resolve(parcel);
  }
}

const fixed = new Fixed();

@EventMessage('orders.order-placed')
class OrderPlaced {
  constructor(
    readonly orderId: string,
    readonly total: number,
  ) {}

  get label(): string {
    return `${this.orderId}: ${this.total}`;
  }
}

const isSmall: StandardSchema = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value) =>
      (value as { parcel: number }).parcel < 100 ? { value } : { issues: [{ message: 'is too many', path: ['parcel'] }] },
  },
};

@EventMessage('parcels.parcel-sent', { codec: fixed, schema: isSmall, version: 2 })
class ParcelSent {
  constructor(readonly parcel: number) {}
}

@CommandMessage('parcels.send-parcel', { codec: fixed })
class SendParcel {
  constructor(readonly parcel: number) {}
}

@Injectable()
class Orders {
  readonly placed: OrderPlaced[] = [];
  readonly messages: Message[] = [];
  readonly parcels: (readonly ParcelSent[])[] = [];

  @Subscribe(OrderPlaced, { retry: { attempts: 3, firstMs: 50, backoff: 'delayed' } })
  place(event: OrderPlaced, message: Message): void {
    this.placed.push(event);
    this.messages.push(message);
  }

  @Subscribe(ParcelSent, { batch: { size: 2, lingerMs: 1 } })
  pack(events: ParcelSent[]): void {
    this.parcels.push(events);
  }

  @Handle(SendParcel)
  send({ parcel }: SendParcel): { sent: number } {
    return { sent: parcel };
  }
}

const schemas = {
  'orders.order-placed': {
    type: 'record',
    name: 'OrderPlaced',
    fields: [
      { name: 'orderId', type: 'string' },
      { name: 'total', type: 'int' },
    ],
  },
} as const satisfies Record<string, avro.schema.RecordType>;

const clock = new JumpingClock();
const services = new StartedServices();

async function openBroker(): Promise<MessagingOptions['broker']> {
  const broker = await Broker.open({ durability: 'memory', ground: { ...realGround(), clock } });
  services.add(() => broker.close());
  return { broker };
}

async function start(
  broker: MessagingOptions['broker'],
  extra: Partial<MessagingOptions>,
  providers: Type[] = [],
): Promise<INestApplicationContext> {
  const options: MessagingOptions = { service: 'orders', broker, ground: { ...realGround(), clock }, ...extra };
  return services.start(options, providers);
}

async function deaths(app: INestApplicationContext, count: number): Promise<readonly string[]> {
  for (let turns = 0; turns < 5_000; turns++) {
    const letters = await app.get(DeadLetters).list();
    if (letters.length >= count) return letters.map(({ death }) => `${death?.cause}: ${death?.reason}`);
    await turn();
  }
  throw new Error('there are not so many dead letters');
}

afterEach(async () => {
  await services.end();
});

describe('a codec of the module', () => {
  it('writes what is published, and what comes in is read by its content type: Avro by the id of its schema', async () => {
    const registry = new Registry();
    const broker = await openBroker();
    const app = await start(broker, { codec: new ConfluentAvro(registry, schemas) }, [Orders]);
    const shop = await start(broker, { service: 'shop', codec: new ConfluentAvro(registry, schemas) });
    const plain = await start(broker, { service: 'plain' });
    for (const orderId of ['o-1', 'o-2']) await shop.get(Publisher).publish(new OrderPlaced(orderId, 3));
    await plain.get(Publisher).publish(new OrderPlaced('o-3', 4));
    const { placed } = app.get(Orders);
    await until(() => placed.length === 3);
    expect(placed.map(({ label }) => label).sort()).toEqual(['o-1: 3', 'o-2: 3', 'o-3: 4']);
    expect(new Set(registry.asked)).toEqual(new Set([1]));
  });

  it('that must ask first is part of the attempt: what it cannot get now is tried again, and then is a dead letter', async () => {
    const registry = new Registry();
    const broker = await openBroker();
    const app = await start(broker, { codecs: [new ConfluentAvro(registry, schemas)] }, [Orders]);
    const shop = await start(broker, { service: 'shop', codec: new ConfluentAvro(registry, schemas) });
    registry.isAway = true;
    await shop.get(Publisher).publish(new OrderPlaced('o-1', 3));
    expect(await deaths(app, 1)).toEqual(['attempts: its payload cannot be read as application/vnd.confluent.avro: the registry is away']);
    expect(registry.asked).toHaveLength(3);
    registry.isAway = false;
    await app.get(DeadLetters).redrive();
    await until(() => app.get(Orders).placed.length === 1);
    expect(app.get(Orders).messages[0]?.attempt).toBe(1);
  });

  it('refuses what does not fit its schema before it is published', async () => {
    const app = await start(await openBroker(), { codec: new ConfluentAvro(new Registry(), schemas) });
    const wrong = app.get(Publisher).publish(new OrderPlaced('o-1', 0.5));
    await expect(wrong).rejects.toMatchObject({
      code: 'invalid-publish',
      message: 'orders.order-placed cannot be published as application/vnd.confluent.avro: invalid "int": 0.5.',
    });
    const late = app.get(Publisher).publish(new OrderPlaced('o-1', 1));
    await expect(late).resolves.toBeUndefined();
  });
});

describe('a codec of a message', () => {
  it('is known to whoever handles that message, in batches too, with its schema among the attributes', async () => {
    const app = await start(await openBroker(), {}, [Orders]);
    const publisher = app.get(Publisher);
    await Promise.all([publisher.publish(new ParcelSent(7)), publisher.publish(new ParcelSent(8))]);
    const parcels = (): ParcelSent[] => app.get(Orders).parcels.flat();
    await until(() => parcels().length === 2);
    const read = { dataSchema: 'urn:fixed:parcels.parcel-sent:2', version: 2 };
    expect(parcels()).toEqual([7, 8].map((parcel) => Object.assign(new ParcelSent(parcel), read)));
    expect(await app.get(Publisher).request(new SendParcel(9))).toEqual({ sent: 9 });
  });

  it('does not keep a schema from being asked', async () => {
    const app = await start(await openBroker(), {}, [Orders]);
    await expect(app.get(Publisher).publish(new ParcelSent(100))).rejects.toThrow('parcel: is too many');
  });
});

describe('what cannot be read', () => {
  it('is a dead letter: an unknown format, and bytes that are none', async () => {
    const broker = await openBroker();
    const app = await start(broker, {}, [Orders]);
    const odd: MessageCodec = { contentType: 'application/x-odd', encode: () => Buffer.from('odd'), decode: () => ({}) };
    const short: MessageCodec = { ...odd, contentType: fixed.contentType };
    const first = await start(broker, { service: 'odd', codec: odd });
    await first.get(Publisher).publish(new OrderPlaced('o-1', 1), { id: 'm-1' });
    expect(await deaths(app, 1)).toEqual([
      'unreadable: its payload is application/x-odd, and this service reads application/json, application/x-fixed: give the module a codec for it',
    ]);
    const second = await start(broker, { service: 'short', codec: short });
    await second.get(Publisher).publish(new OrderPlaced('o-2', 1));
    expect((await deaths(app, 2)).at(-1)).toBe('unreadable: its payload cannot be read as application/x-fixed: it has 3 bytes and not 4');
    const [letter] = await app.get(DeadLetters).list({ ids: ['m-1'] });
    await expect(app.get(DeadLetters).payload(letter!)).rejects.toThrow('this service reads');
    expect(await first.get(DeadLetters).payload(letter!)).toEqual({});
  });

  it('stops the start where two codecs claim one format, or one claims JSON', async () => {
    const broker = await openBroker();
    const codec = { contentType: fixed.contentType, encode: () => Buffer.alloc(0), decode: () => ({}) };
    await expect(start(broker, { codec }, [Orders])).rejects.toThrow('Two codecs have the content type application/x-fixed');
    const json = { ...codec, contentType: 'application/json' };
    await expect(start(broker, { codec: json })).rejects.toThrow('and not JSON, which is always read');
    await expect(start(broker, { codecs: [{ ...codec, contentType: 'Avro' }] })).rejects.toThrow('it must be a media type in lower case');
  });
});

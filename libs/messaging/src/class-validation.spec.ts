/** Message classes with decorators of class-validator, as an application meets them, on the embedded broker. */
import 'reflect-metadata';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { type INestApplicationContext, Injectable, type Type as ClassType } from '@nestjs/common';
import { Type } from 'class-transformer';
import * as validator from 'class-validator';
import { ClassValidation } from './class-validation.js';
import { DeadLetters, EventMessage, type Message, MessagingError, Publisher, Subscribe, jsonSchemaOf } from './index.js';
import { StartedServices } from './started-services.module.js';
import type { StandardSchema } from './policies/validation.js';
import { turn, until } from './turn.js';

const { IsDate, IsInt, IsOptional, IsString, Length, Min, ValidateNested } = validator;

class Line {
  @IsString()
  article!: string;

  @IsInt()
  @Min(1)
  count!: number;

  get label(): string {
    return `${this.count} × ${this.article}`;
  }
}

@EventMessage('orders.order-placed', { key: (event: OrderPlaced) => event.orderId })
class OrderPlaced {
  @Length(1, 10)
  orderId: string;

  @ValidateNested({ each: true })
  @Type(() => Line)
  lines: Line[];

  @IsOptional()
  @IsDate()
  @Type(() => Date)
  at?: Date;

  constructor(orderId: string, lines: Line[], at?: Date) {
    // Would end the process that handles it, were it called with nothing.
    this.orderId = orderId.trim();
    this.lines = lines;
    if (at !== undefined) this.at = at;
  }

  get total(): number {
    return this.lines.reduce((total, { count }) => total + count, 0);
  }
}

/** The same event as another service knows it, which checks nothing. */
@EventMessage('orders.order-placed')
class Foreign {
  constructor(fields: object) {
    Object.assign(this, fields);
  }
}

@EventMessage('orders.order-packed')
class OrderPacked {
  @IsInt()
  parcel: number;

  constructor(parcel: number) {
    this.parcel = parcel;
  }
}

@EventMessage('orders.order-packed')
class ForeignPacked {
  constructor(readonly parcel: unknown) {}
}

const takesAll: StandardSchema = { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } };

@EventMessage('orders.order-noted', { schema: takesAll })
class OrderNoted {
  @IsInt()
  note: unknown = 'no number';
}

@Injectable()
class Orders {
  readonly placed: OrderPlaced[] = [];
  readonly packed: OrderPacked[] = [];
  readonly noted: OrderNoted[] = [];

  @Subscribe(OrderPlaced)
  place(event: OrderPlaced): void {
    this.placed.push(event);
  }

  @Subscribe(OrderPacked, { batch: { size: 2, lingerMs: 1 } })
  pack(events: OrderPacked[], _messages: Message[]): void {
    this.packed.push(...events);
  }

  @Subscribe(OrderNoted)
  note(event: OrderNoted): void {
    this.noted.push(event);
  }
}

const services = new StartedServices();

async function start(providers: ClassType[] = [Orders]): Promise<INestApplicationContext> {
  const broker = await Broker.open({ durability: 'memory' });
  services.add(() => broker.close());
  return services.start({ service: 'orders', broker: { broker } }, providers);
}

async function reasons(app: INestApplicationContext, count: number): Promise<readonly (string | undefined)[]> {
  for (let turns = 0; turns < 5_000; turns++) {
    const letters = await app.get(DeadLetters).list();
    if (letters.length >= count) return letters.map(({ death }) => `${death?.cause}: ${death?.reason}`);
    await turn();
  }
  throw new Error('there are not so many dead letters');
}

function lineOf(article: unknown, count: unknown): Line {
  return Object.assign(new Line(), { article, count });
}

afterEach(async () => {
  await services.end();
});

describe('a message class with decorators of class-validator', () => {
  it('is made of what comes in, with what it holds, and its constructor is not called', async () => {
    const app = await start();
    const at = new Date('2026-01-02T03:04:05.000Z');
    await app.get(Publisher).publish(new OrderPlaced('o-1', [lineOf('nut', 2), lineOf('bolt', 3)], at));
    await app.get(Publisher).publish(new Foreign({ orderId: 'o-2', lines: [], addedLater: true }));
    const { placed } = app.get(Orders);
    await until(() => placed.length === 2);
    const [first, second] = placed as [OrderPlaced, OrderPlaced];
    expect(first).toBeInstanceOf(OrderPlaced);
    expect([first.total, first.lines[0]?.label, first.at]).toEqual([5, '2 × nut', at]);
    expect(second).toEqual(Object.assign(Object.create(OrderPlaced.prototype) as object, { orderId: 'o-2', lines: [], addedLater: true }));
  });

  it('is not published where it does not fit, and one sentence says all of it', async () => {
    const app = await start();
    const wrong = new OrderPlaced('a name that is too long', [lineOf('nut', 0), lineOf(7, 1.5)]);
    const refusal = app.get(Publisher).publish(wrong);
    await expect(refusal).rejects.toThrow(MessagingError);
    await expect(refusal).rejects.toMatchObject({
      code: 'invalid-publish',
      message:
        'orders.order-placed cannot be published: its payload does not fit its schema (orderId must be shorter than or equal to 10 characters; ' +
        'lines.0: count must not be less than 1; lines.1: article must be a string; lines.1: count must be an integer number).',
    });
    expect(app.get(Orders).placed).toEqual([]);
  });

  it('that comes in and does not fit is a dead letter with that sentence, and can be mended', async () => {
    const app = await start();
    await app.get(Publisher).publish(new Foreign({ lines: [{ article: 'nut', count: 1 }] }), { id: 'm-1' });
    expect(await reasons(app, 1)).toEqual([
      'unreadable: its payload does not fit its schema (orderId must be longer than or equal to 1 characters)',
    ]);
    const letters = app.get(DeadLetters);
    await expect(letters.resend('m-1', { orderId: 'o-1', lines: [{ article: 'nut' }] })).rejects.toThrow('lines.0: count');
    await letters.resend('m-1', { orderId: 'o-1', lines: [{ article: 'nut', count: 1 }] });
    await until(() => app.get(Orders).placed.length === 1);
  });

  it('is held to them in batches too', async () => {
    const app = await start();
    const publisher = app.get(Publisher);
    await Promise.all([publisher.publish(new ForeignPacked('none')), publisher.publish(new OrderPacked(4))]);
    expect(await reasons(app, 1)).toEqual(['unreadable: its payload does not fit its schema (parcel must be an integer number)']);
    await until(() => app.get(Orders).packed.length === 1);
    expect(app.get(Orders).packed[0]).toBeInstanceOf(OrderPacked);
  });

  it('has a schema of its own: that alone counts', async () => {
    const app = await start();
    await app.get(Publisher).publish(new OrderNoted());
    await until(() => app.get(Orders).noted.length === 1);
    expect(app.get(Orders).noted[0]).toEqual(new OrderNoted());
  });

  it('cannot hold others without class-transformer, and says so', () => {
    const bare = new ClassValidation(validator, undefined);
    expect(() => bare.schemaOf(OrderPlaced)).toThrow(
      'OrderPlaced.lines has @ValidateNested, and what comes in is made an instance by the package class-transformer, which is not installed',
    );
    expect(bare.schemaOf(OrderPacked)?.instance({ parcel: 1 })).toEqual(new OrderPacked(1));
    expect(bare.schemaOf(Foreign)).toBeUndefined();
  });
});

describe('JSON Schema', () => {
  it('of a decorated class is made of its decorators, with what it holds', async () => {
    expect(await jsonSchemaOf(OrderPlaced)).toEqual({
      type: 'object',
      properties: {
        orderId: { type: 'string', minLength: 1, maxLength: 10 },
        lines: { type: 'array', items: { $ref: '#/definitions/Line' } },
        at: {
          oneOf: [
            { format: 'date', type: 'string' },
            { format: 'date-time', type: 'string' },
          ],
        },
      },
      required: ['orderId', 'lines'],
      definitions: {
        Line: {
          type: 'object',
          properties: { article: { type: 'string' }, count: { type: 'integer', minimum: 1 } },
          required: ['article', 'count'],
        },
      },
    });
  });

  it('of a Standard Schema is told by itself, where it can', async () => {
    const schema = {
      '~standard': { ...takesAll['~standard'], jsonSchema: { input: (options: object) => ({ ...options, type: 'object' }) } },
    };
    @EventMessage('orders.order-told', { schema })
    class OrderTold {}
    expect(await jsonSchemaOf(OrderTold)).toEqual({ target: 'draft-2020-12', type: 'object' });
    expect(await jsonSchemaOf(OrderNoted)).toBeUndefined();
    expect(await jsonSchemaOf(Foreign)).toBeUndefined();
  });
});

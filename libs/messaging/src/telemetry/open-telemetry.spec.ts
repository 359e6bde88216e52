/** What the SDK of OpenTelemetry is told, through its exporters in memory, of an application on the embedded broker. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { realGround } from '@dovecote/ground';
import { type INestApplicationContext, Injectable, Logger, type Type } from '@nestjs/common';
import { type Attributes, SpanKind, context, metrics, propagation, trace } from '@opentelemetry/api';
import { AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { InMemorySpanExporter, NodeTracerProvider, type ReadableSpan, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';
import {
  BatchFailure,
  CommandMessage,
  DeadLetters,
  EventMessage,
  Handle,
  type Message,
  type MessagingOptions,
  Publisher,
  Subscribe,
} from '../index.js';
import { StartedServices } from '../started-services.module.js';
import { JumpingClock } from '../transports/kafka/jumping-clock.js';
import { until } from '../turn.js';

@EventMessage('orders.order-placed')
class OrderPlaced {
  constructor(readonly orderId: string) {}
}

@EventMessage('payments.card-charged')
class CardCharged {
  constructor(readonly orderId: string) {}
}

@EventMessage('parcels.parcel-sent')
class ParcelSent {
  constructor(readonly parcel: number) {}
}

@CommandMessage('mails.send-mail')
class SendMail {
  constructor(readonly to: string) {}
}

@Injectable()
class Payments {
  readonly seen: { readonly event: OrderPlaced; readonly message: Message; readonly tenant: string | undefined }[] = [];
  readonly charged: Message[] = [];
  readonly batches: (readonly ParcelSent[])[] = [];

  constructor(private readonly publisher: Publisher) {}

  @Subscribe(OrderPlaced, { retry: { attempts: 2, firstMs: 50, backoff: 'delayed' } })
  async charge(event: OrderPlaced, message: Message): Promise<void> {
    const tenant = propagation.getActiveBaggage()?.getEntry('tenant')?.value;
    this.seen.push({ event, message, tenant });
    if (event.orderId === 'broken') throw Object.assign(new Error('the card is refused'), { code: 'card-refused' });
    await this.publisher.publish(new CardCharged(event.orderId));
  }

  @Subscribe(CardCharged)
  note(_event: CardCharged, message: Message): void {
    this.charged.push(message);
  }

  @Subscribe(ParcelSent, { batch: { size: 3, lingerMs: 200 }, retry: { attempts: 1 } })
  pack(parcels: ParcelSent[], messages: Message[]): Promise<void> {
    this.batches.push(parcels);
    const failed = messages.filter((_message, index) => parcels[index]!.parcel === 2);
    return Promise.reject(new BatchFailure(new Map(failed.map((message) => [message, new Error('too heavy')]))));
  }

  @Handle(SendMail)
  mail({ to }: SendMail): { sent: string } {
    return { sent: to };
  }
}

const exporter = new InMemorySpanExporter();
const counted = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const reader = new PeriodicExportingMetricReader({ exporter: counted, exportIntervalMillis: 3_600_000 });
const meters = new MeterProvider({ readers: [reader] });
const clock = new JumpingClock();
const services = new StartedServices();

function register(): void {
  new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();
  metrics.setGlobalMeterProvider(meters);
}

function unregister(): void {
  for (const api of [trace, metrics, context, propagation]) api.disable();
}

async function start(extra: Partial<MessagingOptions> = {}, providers: Type[] = [Payments]): Promise<INestApplicationContext> {
  const broker = await Broker.open({ durability: 'memory', ground: { ...realGround(), clock } });
  const options: MessagingOptions = { service: 'payments', broker: { broker }, ground: { ...realGround(), clock }, ...extra };
  services.add(() => broker.close());
  return services.start(options, providers);
}

/** Waits until as many spans of that name have ended. */
async function spans(name: string, count = 1): Promise<readonly ReadableSpan[]> {
  const found = (): ReadableSpan[] => exporter.getFinishedSpans().filter((span) => span.name === name);
  await until(() => found().length >= count);
  return found();
}

const published = 'publish dovecote.events:orders.order-placed';
const processed = 'process dovecote.events:orders.order-placed:dovecote.payments';

afterEach(async () => {
  await services.end();
  exporter.reset();
  Logger.overrideLogger(false);
});

describe('with a provider registered', () => {
  beforeAll(register);
  afterAll(unregister);

  it('a message goes on with the trace of whoever publishes it, and the handler is in it, and what that publishes too', async () => {
    const app = await start();
    const payments = app.get(Payments);
    const outside = trace.getTracer('test').startSpan('checkout');
    const inside = propagation.setBaggage(
      trace.setSpan(context.active(), outside),
      propagation.createBaggage({ tenant: { value: 'blue' } }),
    );
    await context.with(inside, () => app.get(Publisher).publish(new OrderPlaced('o-1'), { id: 'm-1' }));
    const [sent] = await spans(published);
    const [handled] = await spans(processed);
    const [next] = await spans('publish dovecote.events:payments.card-charged');
    const [last] = await spans('process dovecote.events:payments.card-charged:dovecote.payments');
    outside.end();
    expect([sent!.kind, sent!.parentSpanContext?.spanId]).toEqual([SpanKind.PRODUCER, outside.spanContext().spanId]);
    expect([handled!.kind, handled!.parentSpanContext?.spanId]).toEqual([SpanKind.CONSUMER, sent!.spanContext().spanId]);
    expect(handled!.links.map((link) => link.context.spanId)).toEqual([sent!.spanContext().spanId]);
    expect(next!.parentSpanContext?.spanId).toBe(handled!.spanContext().spanId);
    expect(last!.parentSpanContext?.spanId).toBe(next!.spanContext().spanId);
    expect(new Set([sent, handled, next, last].map((span) => span!.spanContext().traceId))).toEqual(
      new Set([outside.spanContext().traceId]),
    );
    const [{ message, tenant }] = payments.seen as [Payments['seen'][number]];
    expect(tenant).toBe('blue');
    expect(message.headers).toMatchObject({
      traceparent: `00-${sent!.spanContext().traceId}-${sent!.spanContext().spanId}-01`,
      baggage: 'tenant=blue',
    });
    expect(payments.charged[0]?.headers['baggage']).toBe('tenant=blue');
    expect(sent!.attributes).toEqual({
      'messaging.system.name': 'dovecote',
      'messaging.operation.name': 'publish',
      'messaging.operation.type': 'send',
      'messaging.destination.name': 'dovecote.events:orders.order-placed',
      'messaging.message.id': 'm-1',
      'messaging.message.conversation_id': 'm-1',
      'messaging.message.body.size': 17,
    });
    expect(handled!.attributes).toMatchObject({
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'messaging.destination.name': 'dovecote.events:orders.order-placed:dovecote.payments',
      'messaging.consumer.group.name': 'payments',
      'messaging.message.id': 'm-1',
      'code.function.name': 'Payments.charge',
      'dovecote.message.attempt': 1,
      'dovecote.message.outcome': 'acknowledged',
    });
  });

  it('each attempt is a span of the same trace, and says that it is tried again, or is a dead letter', async () => {
    const app = await start();
    await app.get(Publisher).publish(new OrderPlaced('broken'));
    const [sent] = await spans(published);
    const [first, second] = await spans(processed, 2);
    const [buried] = await spans('dead_letter dovecote.events:orders.order-placed:dovecote.payments');
    for (const span of [first, second, buried]) expect(span!.parentSpanContext?.spanId).toBe(sent!.spanContext().spanId);
    expect(first!.status.message).toBe('the card is refused');
    expect(first!.events.map(({ name }) => name)).toEqual(['exception', 'dovecote.retry']);
    expect(first!.attributes).toMatchObject({ 'error.type': 'card-refused', 'dovecote.message.outcome': 'retry' });
    expect(first!.events[1]?.attributes).toEqual({ 'dovecote.message.failures': 1, 'dovecote.retry.delay_ms': 50 });
    expect(second!.attributes).toMatchObject({ 'dovecote.message.attempt': 2, 'dovecote.message.outcome': 'dead-letter' });
    expect(second!.events[1]?.attributes).toEqual({ 'dovecote.message.failures': 2, 'dovecote.death.cause': 'attempts' });
    expect(buried!.attributes).toMatchObject({ 'messaging.operation.type': 'settle', 'dovecote.death.cause': 'attempts' });
    const letters = app.get(DeadLetters);
    let found = await letters.list();
    while (found.length === 0) found = await letters.list();
    expect(found[0]!.headers['traceparent']).toContain(sent!.spanContext().spanId);
  });

  it('a batch is one span, child of none and linked to what each of its messages came of', async () => {
    const app = await start();
    const publisher = app.get(Publisher);
    await Promise.all([1, 2, 3].map((parcel) => publisher.publish(new ParcelSent(parcel), { id: `p-${parcel}` })));
    const sent = await spans('publish dovecote.events:parcels.parcel-sent', 3);
    const [batch] = await spans('process dovecote.events:parcels.parcel-sent:dovecote.payments');
    expect(batch!.parentSpanContext).toBeUndefined();
    expect(batch!.links.map((link) => link.context.spanId).sort()).toEqual(sent.map((span) => span.spanContext().spanId).sort());
    expect(batch!.attributes['messaging.batch.message_count']).toBe(3);
    expect(batch!.events.map(({ name }) => name)).toEqual(['exception', 'dovecote.dead_letter']);
    expect(batch!.events[1]?.attributes).toMatchObject({ 'messaging.message.id': 'p-2', 'dovecote.death.cause': 'attempts' });
  });

  it('a trace that whoever publishes gave stays as it is, and is linked', async () => {
    const app = await start();
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    await app.get(Publisher).publish(new OrderPlaced('o-1'), { headers: { traceparent, tracestate: 'a=b' } });
    const [sent] = await spans(published);
    const [handled] = await spans(processed);
    expect([sent!.kind, sent!.links[0]?.context.spanId]).toEqual([SpanKind.CLIENT, 'b7ad6b7169203331']);
    expect(handled!.parentSpanContext?.spanId).toBe('b7ad6b7169203331');
    const { seen, charged } = app.get(Payments);
    expect(seen[0]?.message.headers).toEqual({ traceparent, tracestate: 'a=b' });
    await until(() => charged.length === 1);
    expect(charged[0]?.headers['tracestate']).toBe('a=b');
    const other = trace.getTracer('test').startSpan('other');
    const because = seen[0]!.message;
    await context.with(trace.setSpan(context.active(), other), () => app.get(Publisher).publish(new CardCharged('o-2'), { because }));
    await until(() => charged.length === 2);
    expect(charged[1]?.headers).toEqual({ traceparent: expect.stringContaining(other.spanContext().traceId) });
  });

  it('a message published because of another is in its trace, also where nothing is active', async () => {
    const app = await start();
    const publisher = app.get(Publisher);
    await publisher.publish(new OrderPlaced('o-1'));
    const [handled] = await spans(processed);
    const [sent] = await spans(published);
    await publisher.publish(new CardCharged('o-2'), { because: app.get(Payments).seen[0]!.message });
    const all = await spans('publish dovecote.events:payments.card-charged', 2);
    const later = all.find((span) => span.parentSpanContext?.spanId !== handled!.spanContext().spanId);
    expect(later!.parentSpanContext?.spanId).toBe(sent!.spanContext().spanId);
  });

  it('a request is a span until its answer, and what is refused is an error', async () => {
    const app = await start();
    expect(await app.get(Publisher).request(new SendMail('ada'))).toEqual({ sent: 'ada' });
    const [asked] = await spans('request dovecote.commands:mails.send-mail');
    const [handled] = await spans('process dovecote.commands:mails.send-mail:dovecote.payments.commands');
    expect(handled!.parentSpanContext?.spanId).toBe(asked!.spanContext().spanId);
    const stranger = await start({ service: 'stranger' }, []);
    await expect(stranger.get(Publisher).send(new SendMail('ada'))).rejects.toThrow('mails.send-mail');
    const [refused] = await spans('send dovecote.commands:mails.send-mail');
    expect(refused!.attributes['error.type']).toBe('nobody-there');
  });

  it('counts what is sent and handled, and measures how long handlers take', async () => {
    const app = await start({ service: 'counted' });
    await app.get(Publisher).publish(new OrderPlaced('o-1'));
    await app.get(Publisher).publish(new OrderPlaced('broken'));
    await spans('process dovecote.events:orders.order-placed:dovecote.counted', 3);
    await spans('process dovecote.events:payments.card-charged:dovecote.counted');
    const points = await measured('dovecote.events:orders.order-placed:dovecote.counted');
    expect(points['messaging.client.consumed.messages']?.map(({ value }) => value)).toEqual([3]);
    const durations = points['messaging.process.duration'] ?? [];
    expect(durations.map(({ attributes, value }) => [attributes['error.type'], (value as { count: number }).count])).toEqual([
      [undefined, 1],
      ['card-refused', 2],
    ]);
    const sent = await measured('dovecote.events:payments.card-charged');
    expect(sent['messaging.client.sent.messages']?.[0]?.attributes).toEqual({
      'messaging.system.name': 'dovecote',
      'messaging.operation.name': 'publish',
      'messaging.operation.type': 'send',
      'messaging.destination.name': 'dovecote.events:payments.card-charged',
    });
    expect(sent['messaging.client.operation.duration']).toHaveLength(1);
  });

  it('says nothing where telemetry is false', async () => {
    const app = await start({ telemetry: false });
    await app.get(Publisher).publish(new OrderPlaced('o-1'));
    await until(() => app.get(Payments).charged.length === 1);
    expect(exporter.getFinishedSpans()).toEqual([]);
  });
});

describe('without a provider', () => {
  it('adds nothing to a message, and a trace that came goes on all the same', async () => {
    const app = await start();
    const payments = app.get(Payments);
    await app.get(Publisher).publish(new OrderPlaced('o-1'));
    await until(() => payments.charged.length === 1);
    expect(payments.charged[0]?.headers).toEqual({});
    const headers = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', tracestate: 'a=b', baggage: 'tenant=blue' };
    await app.get(Publisher).publish(new OrderPlaced('o-2'), { headers });
    await until(() => payments.charged.length === 2);
    expect(payments.charged[1]?.headers).toEqual(headers);
  });
});

interface Point {
  readonly attributes: Attributes;
  readonly value: unknown;
}

/** The points of a destination, by the name of the metric. */
async function measured(destination: string): Promise<Readonly<Record<string, readonly Point[]>>> {
  counted.reset();
  await reader.forceFlush();
  const all = counted.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
  return Object.fromEntries(
    all.map(({ descriptor, dataPoints }) => {
      const points: readonly Point[] = dataPoints;
      return [descriptor.name, points.filter(({ attributes }) => attributes['messaging.destination.name'] === destination)];
    }),
  );
}

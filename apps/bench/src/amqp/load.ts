/**
 * One queue with a publisher and a consumer on a connection each, and what they and the server cost over a stretch of time.
 *
 * Every run ends by counting: what was published must have been confirmed and delivered, once each and in order, or its figures are void.
 */
import { AmqpConnection, CHANNEL } from './connection.js';
import { Consumer } from './consumer.js';
import { Publisher } from './publisher.js';
import { costs, latencies, snapshot } from '../costs.js';
import type { AmqpServer, Durability } from './server.js';
import type { Figure } from '../figure.js';
import type { Stretch } from '../sides.js';
import { readProcessTree } from '../process-tree.js';
import { Method, methodFrame, shortString, table, u16, u32, u8 } from './wire.js';

/** Time to take in what is still under way when the clock has stopped. */
const DRAIN_MS_MAX = 120_000;
/** An open loop is bounded by its rate; this only ends one that a server does not keep up with at all. */
const openLoopMax = 500_000;

export interface LoadShape {
  readonly durability: Durability;
  readonly isPersistent: boolean;
  readonly bodyBytes: number;
  /** Unconfirmed publishes at most; undefined asks for no confirms. */
  readonly confirmsInFlightMax?: number;
  /** Published and not yet delivered, at most: the queue must not grow without end. */
  readonly depthMax: number;
  /** Acknowledges all so far after each so many; undefined is auto-ack. */
  readonly ackEvery?: number;
  readonly prefetch: number;
}

/** Publishes and consumes at once for a while; the warm-up is not counted. */
export async function measureSteady(server: AmqpServer, shape: LoadShape, stretch: Stretch): Promise<Figure[]> {
  return withQueue(server, shape, async (queue, open) => {
    const outgoing = await open(shape.confirmsInFlightMax !== undefined);
    const incoming = await open(false);
    const consumer = new Consumer(incoming, shape);
    const depthRoom = (): number => shape.depthMax - (publisher.published - consumer.delivered);
    const publisher: Publisher = new Publisher(outgoing, { ...shape, kinds: [{ routingKey: queue }], room: depthRoom });
    outgoing.traffic.onChunkEnd = () => publisher.pump();
    incoming.traffic.onChunkEnd = () => {
      consumer.flush();
      publisher.pump();
    };
    await startConsuming(incoming, queue, shape);
    publisher.run();
    await Promise.race([outgoing.pass(stretch.warmupMs), incoming.pass(stretch.warmupMs)]);
    publisher.confirmLatencyMs.clear();
    consumer.latencyMs.clear();
    const before = snapshot(server, consumer.delivered);
    await Promise.race([outgoing.pass(stretch.measureMs), incoming.pass(stretch.measureMs)]);
    const after = snapshot(server, consumer.delivered);
    const figures = [
      ...costs(before, after),
      ...latencies('published to confirmed', publisher.confirmLatencyMs),
      ...latencies('published to delivered', consumer.latencyMs),
    ];
    publisher.stop();
    await finish(outgoing, incoming, publisher, consumer, shape);
    return figures;
  });
}

/**
 * Publishes at a fixed rate, whatever the server does, and tells how long messages took from the moment at which they were due: so a
 * server that stalls is charged for everything that was due meanwhile.
 */
export async function measureOpenLoop(server: AmqpServer, shape: LoadShape, ratePerS: number, stretch: Stretch): Promise<Figure[]> {
  return withQueue(server, shape, async (queue, open) => {
    const outgoing = await open(true);
    const incoming = await open(false);
    const consumer = new Consumer(incoming, shape);
    await startConsuming(incoming, queue, shape);
    const beganAt = performance.now();
    const dueAt = (n: number): number => beganAt + (n * 1000) / ratePerS;
    const room = (): number => Math.floor(((performance.now() - beganAt) * ratePerS) / 1000) - publisher.published;
    const publisher: Publisher = new Publisher(outgoing, {
      ...shape,
      confirmsInFlightMax: openLoopMax,
      kinds: [{ routingKey: queue }],
      room,
      dueAt,
    });
    incoming.traffic.onChunkEnd = () => consumer.flush();
    publisher.run();
    let isOver = false;
    // A timer of Node is late by a millisecond; a loop that never sleeps is not.
    const pump = (): void => {
      publisher.pump();
      if (!isOver) setImmediate(pump);
    };
    pump();
    try {
      await Promise.race([outgoing.pass(stretch.warmupMs), incoming.pass(stretch.warmupMs)]);
      publisher.confirmLatencyMs.clear();
      consumer.latencyMs.clear();
      const before = snapshot(server, consumer.delivered);
      await Promise.race([outgoing.pass(stretch.measureMs), incoming.pass(stretch.measureMs)]);
      const after = snapshot(server, consumer.delivered);
      const figures = [
        { name: 'rate asked for', unit: '1/s', value: ratePerS, isContext: true },
        ...costs(before, after),
        ...latencies('due to confirmed', publisher.confirmLatencyMs),
        ...latencies('due to delivered', consumer.latencyMs),
      ];
      publisher.stop();
      isOver = true;
      await finish(outgoing, incoming, publisher, consumer, { ...shape, confirmsInFlightMax: openLoopMax });
      return figures;
    } finally {
      isOver = true;
    }
  });
}

/** Publishes a backlog with nobody listening, then drains it. */
export async function measureBacklog(server: AmqpServer, shape: LoadShape, messages: number): Promise<Figure[]> {
  return withQueue(server, shape, async (queue, open) => {
    const outgoing = await open(true);
    const publisher = new Publisher(outgoing, { ...shape, kinds: [{ routingKey: queue }], room: () => Number.POSITIVE_INFINITY });
    outgoing.traffic.onChunkEnd = () => publisher.pump();
    const empty = snapshot(server, 0);
    publisher.run(messages);
    await outgoing.until('the backlog was confirmed', () => publisher.confirmed === messages, DRAIN_MS_MAX);
    const full = snapshot(server, publisher.confirmed);
    const confirming = latencies('published to confirmed', publisher.confirmLatencyMs);

    const incoming = await open(false);
    const consumer = new Consumer(incoming, shape);
    incoming.traffic.onChunkEnd = () => consumer.flush();
    const drainBegins = snapshot(server, 0);
    await startConsuming(incoming, queue, shape);
    await finish(outgoing, incoming, publisher, consumer, shape);
    const drained = snapshot(server, consumer.delivered);
    return [
      ...[...costs(empty, full), ...confirming].map((figure) => ({ ...figure, name: `build up: ${figure.name}` })),
      ...costs(drainBegins, drained).map((figure) => ({ ...figure, name: `drain: ${figure.name}` })),
    ];
  });
}

/** The same with so many messages that they cannot all be in memory: what the server takes of that, empty, full and drained. */
export async function measureMillions(server: AmqpServer, shape: LoadShape, messages: number): Promise<Figure[]> {
  const empty = residentMegabytes(server);
  const peaks: number[] = [];
  const watching = setInterval(() => peaks.push(residentMegabytes(server) ?? 0), 250);
  try {
    const figures = await measureBacklog(server, shape, messages);
    const drained = residentMegabytes(server);
    return [
      { name: 'resident memory, empty', unit: 'MB', value: empty },
      ...figures,
      { name: 'resident memory, highest', unit: 'MB', value: empty === undefined ? undefined : Math.max(...peaks) },
      { name: 'resident memory, drained', unit: 'MB', value: drained },
    ];
  } finally {
    clearInterval(watching);
  }
}

function residentMegabytes(server: AmqpServer): number | undefined {
  const usage = server.pid === undefined ? undefined : readProcessTree(server.pid);
  return usage && usage.residentBytes / 1e6;
}

/** Opens a connection with a channel, in confirm mode or not. */
type OpenChannel = (withConfirms: boolean) => Promise<AmqpConnection>;

/** Makes a queue of the promise, and removes it with all connections whatever happens: what is left behind would slow down what comes next. */
async function withQueue(
  server: AmqpServer,
  shape: LoadShape,
  use: (queue: string, open: OpenChannel) => Promise<Figure[]>,
): Promise<Figure[]> {
  const queue = `dovecote-bench-${process.pid}-${Math.round(performance.now())}`;
  const opened: AmqpConnection[] = [];
  const open: OpenChannel = async (withConfirms) => {
    const connection = await AmqpConnection.open(server.url);
    opened.push(connection);
    await connection.openChannel();
    if (withConfirms) await connection.call(methodFrame(CHANNEL, Method.confirmSelect, u8(0)), Method.confirmSelectOk);
    return connection;
  };
  const removeQueue = methodFrame(CHANNEL, Method.queueDelete, u16(0), shortString(queue), u8(0));
  const control = await open(false);
  try {
    await control.call(declaration(server, shape, queue), Method.queueDeclareOk);
    const figures = await use(queue, open);
    const deleted = await control.call(removeQueue, Method.queueDeleteOk);
    const left = deleted.readUInt32BE(4);
    if (left > 0) throw new Error(`${left} messages stayed in the queue although all were delivered`);
    return figures;
  } catch (error) {
    control.write(removeQueue);
    throw error;
  } finally {
    for (const connection of opened) if (connection !== control) connection.destroy();
    await control.close();
  }
}

function declaration(server: AmqpServer, shape: LoadShape, queue: string): Buffer {
  const given = table(declareArguments(server, shape));
  return methodFrame(CHANNEL, Method.queueDeclare, u16(0), shortString(queue), u8(durableBitOf(shape)), given);
}

/** What makes a queue of the promise: a peer syncs in quorum queues only. */
export function declareArguments(server: AmqpServer, shape: LoadShape): Readonly<Record<string, string>> {
  return server.side === 'peer' && shape.durability === 'fsync' ? { 'x-queue-type': 'quorum' } : {};
}

export function durableBitOf({ durability }: LoadShape): number {
  return durability === 'memory' ? 0 : 2;
}

async function startConsuming(connection: AmqpConnection, queue: string, shape: LoadShape): Promise<void> {
  const isAutoAck = shape.ackEvery === undefined;
  if (!isAutoAck) await connection.call(methodFrame(CHANNEL, Method.basicQos, u32(0), u16(shape.prefetch), u8(0)), Method.basicQosOk);
  const noAckBit = 2;
  const consume = [u16(0), shortString(queue), shortString('bench'), u8(isAutoAck ? noAckBit : 0), table({})];
  await connection.call(methodFrame(CHANNEL, Method.basicConsume, ...consume), Method.basicConsumeOk);
}

/** Takes in all that is under way, checks the count and closes both connections. */
async function finish(
  outgoing: AmqpConnection,
  incoming: AmqpConnection,
  publisher: Publisher,
  consumer: Consumer,
  shape: LoadShape,
): Promise<void> {
  const { published } = publisher;
  if (shape.confirmsInFlightMax !== undefined) {
    await outgoing.until('all was confirmed', () => publisher.confirmed === published, DRAIN_MS_MAX);
  }
  await incoming.until('all was delivered', () => consumer.delivered >= published, DRAIN_MS_MAX);
  consumer.ackRest();
  // The answer to a call behind the last acknowledgement says that the server has taken that one in.
  await incoming.call(methodFrame(CHANNEL, Method.basicQos, u32(0), u16(1), u8(0)), Method.basicQosOk);
  if (consumer.delivered !== published) throw new Error(`${published} messages were published and ${consumer.delivered} delivered`);
  await Promise.all([outgoing.close(), incoming.close()]);
}

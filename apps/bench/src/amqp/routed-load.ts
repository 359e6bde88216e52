/**
 * A load through exchanges and many queues: one connection publishes, one consumes from all of them, and what it costs the server.
 *
 * Every run ends by counting: each message must have reached as many consumers as its case says, in order, or the figures are void.
 */
import { AmqpConnection, CHANNEL } from './connection.js';
import { costs, latencies, snapshot } from '../costs.js';
import { declareArguments, durableBitOf, type LoadShape } from './load.js';
import type { Stretch } from '../sides.js';
import { Publisher, STAMP_EVERY, UNSTAMPED } from './publisher.js';
import type { AmqpServer } from './server.js';
import type { Topology } from './topology.js';
import type { Figure } from '../figure.js';
import { Samples } from '../statistics.js';
import { Method, methodFrame, readU64, shortString, table, u16, u32, u64, u8 } from './wire.js';

/** A peer may need a second for a hundred queues. */
const SET_UP_MS_MAX = 300_000;
const DRAIN_MS_MAX = 120_000;
const noWait = { declare: 16, exchangeDeclare: 16, bind: 1, delete: 4, exchangeDelete: 2, consume: 8 } as const;

/** What a figure is counted by: a message that was published, or one delivery of it. */
export type CountedBy = 'message' | 'delivery';

export async function measureRouted(
  server: AmqpServer,
  shape: LoadShape,
  topology: Topology,
  countedBy: CountedBy,
  stretch: Stretch,
): Promise<Figure[]> {
  const open = async (): Promise<AmqpConnection> => {
    const connection = await AmqpConnection.open(server.url);
    await connection.openChannel();
    return connection;
  };
  const [control, outgoing, incoming] = [await open(), await open(), await open()];
  try {
    await setUp(control, server, shape, topology);
    return await run(server, shape, topology, countedBy, stretch, outgoing, incoming);
  } finally {
    outgoing.destroy();
    incoming.destroy();
    await takeDown(control, topology);
    await control.close();
  }
}

async function run(
  server: AmqpServer,
  shape: LoadShape,
  topology: Topology,
  countedBy: CountedBy,
  stretch: Stretch,
  outgoing: AmqpConnection,
  incoming: AmqpConnection,
): Promise<Figure[]> {
  const { deliveriesEach } = topology;
  if (shape.confirmsInFlightMax !== undefined) {
    await outgoing.call(methodFrame(CHANNEL, Method.confirmSelect, u8(0)), Method.confirmSelectOk);
  }
  const consumers = new Consumers(incoming, topology, shape.ackEvery);
  const room = (): number => Math.floor(shape.depthMax - (publisher.published - consumers.delivered / deliveriesEach));
  const publisher: Publisher = new Publisher(outgoing, { ...shape, kinds: topology.kinds, room });
  outgoing.traffic.onChunkEnd = () => publisher.pump();
  incoming.traffic.onChunkEnd = () => {
    consumers.flush();
    publisher.pump();
  };
  await startConsuming(incoming, topology, shape);
  publisher.run();
  await Promise.race([outgoing.pass(stretch.warmupMs), incoming.pass(stretch.warmupMs)]);
  publisher.confirmLatencyMs.clear();
  consumers.latencyMs.clear();
  const counted = (): number => (countedBy === 'delivery' ? consumers.delivered : consumers.delivered / deliveriesEach);
  const before = snapshot(server, counted());
  await Promise.race([outgoing.pass(stretch.measureMs), incoming.pass(stretch.measureMs)]);
  const figures = [...costs(before, snapshot(server, counted()), countedBy), ...latencies('published to delivered', consumers.latencyMs)];
  publisher.stop();
  const expected = (): number => publisher.published * deliveriesEach;
  if (shape.confirmsInFlightMax !== undefined) {
    await outgoing.until('all was confirmed', () => publisher.confirmed === publisher.published, DRAIN_MS_MAX);
  }
  await incoming.until('all was delivered', () => consumers.delivered >= expected(), DRAIN_MS_MAX);
  consumers.ackRest();
  await incoming.call(methodFrame(CHANNEL, Method.basicQos, u32(0), u16(1), u8(0)), Method.basicQosOk);
  if (consumers.delivered !== expected()) throw new Error(`${consumers.delivered} deliveries came in place of ${expected()}`);
  return figures;
}

/** All consumers of one channel. Each must see the stamped messages in order; which ones come to it is the topology's business. */
class Consumers {
  readonly latencyMs = new Samples();
  private deliveredCount = 0;
  private lastTag = 0;
  private lastAckedTag = 0;
  private untilAck: number;
  private consumer = 0;
  /** The number of the last stamped message that each consumer got, and one more. */
  private readonly nextNumbers: Float64Array;
  private readonly acks: Buffer[] = [];

  constructor(
    private readonly connection: AmqpConnection,
    private readonly topology: Topology,
    private readonly ackEvery: number | undefined,
  ) {
    this.untilAck = ackEvery ?? Number.POSITIVE_INFINITY;
    this.nextNumbers = new Float64Array(topology.queues.length);
    connection.traffic.onDeliver = (bytes, offset) => this.takeDeliver(bytes, offset);
    connection.traffic.onBody = (bytes, offset) => this.takeBody(bytes, offset);
  }

  get delivered(): number {
    return this.deliveredCount;
  }

  flush(): void {
    if (this.acks.length === 0) return;
    this.connection.write(Buffer.concat(this.acks));
    this.acks.length = 0;
  }

  ackRest(): void {
    if (this.ackEvery !== undefined && this.lastTag > this.lastAckedTag) this.gatherAck();
    this.flush();
  }

  private takeDeliver(bytes: Buffer, offset: number): void {
    this.deliveredCount++;
    const tagEnd = offset + 1 + bytes[offset]!;
    let consumer = 0;
    for (let at = offset + 1; at < tagEnd; at++) consumer = consumer * 10 + bytes[at]! - 0x30;
    this.consumer = consumer;
    this.lastTag = readU64(bytes, tagEnd);
    if (--this.untilAck === 0) this.gatherAck();
  }

  private gatherAck(): void {
    this.acks.push(methodFrame(CHANNEL, Method.basicAck, u64(this.lastTag), u8(1)));
    this.lastAckedTag = this.lastTag;
    this.untilAck = this.ackEvery!;
  }

  private takeBody(bytes: Buffer, offset: number): void {
    if (bytes[offset] === UNSTAMPED) return;
    const number = bytes.readUInt32BE(offset + 8);
    this.latencyMs.add(performance.now() - bytes.readDoubleBE(offset));
    if (!this.topology.isOrdered) return;
    if (number < this.nextNumbers[this.consumer]!) throw new Error(`message ${number} came twice or out of order`);
    this.nextNumbers[this.consumer] = number + STAMP_EVERY;
  }
}

async function setUp(
  control: AmqpConnection,
  server: AmqpServer,
  shape: LoadShape,
  { exchanges, queues, bindings }: Topology,
): Promise<void> {
  const durableBit = durableBitOf(shape);
  const frames: Buffer[] = [];
  for (const { name, type } of exchanges) {
    const bits = u8(durableBit | noWait.exchangeDeclare);
    frames.push(methodFrame(CHANNEL, Method.exchangeDeclare, u16(0), shortString(name), shortString(type), bits, table({})));
  }
  for (const { name, arguments: given } of queues) {
    const all = table({ ...declareArguments(server, shape), ...given });
    frames.push(methodFrame(CHANNEL, Method.queueDeclare, u16(0), shortString(name), u8(durableBit | noWait.declare), all));
  }
  for (const { exchange, queue, key, arguments: given = {} } of bindings) {
    const where = [shortString(queue), shortString(exchange), shortString(key), u8(noWait.bind), table(given)];
    frames.push(methodFrame(CHANNEL, Method.queueBind, u16(0), ...where));
  }
  await writeAll(control, frames);
}

async function startConsuming(incoming: AmqpConnection, { queues }: Topology, { ackEvery, prefetch }: LoadShape): Promise<void> {
  // A prefetch for the whole channel is not what every broker offers: each consumer has its own.
  if (ackEvery !== undefined) await incoming.call(methodFrame(CHANNEL, Method.basicQos, u32(0), u16(prefetch), u8(0)), Method.basicQosOk);
  const bits = u8((ackEvery === undefined ? 2 : 0) | noWait.consume);
  const frames = queues.map(({ name, isConsumed }, index) =>
    isConsumed
      ? methodFrame(CHANNEL, Method.basicConsume, u16(0), shortString(name), shortString(String(index)), bits, table({}))
      : Buffer.alloc(0),
  );
  await writeAll(incoming, frames);
}

async function takeDown(control: AmqpConnection, { exchanges, queues }: Topology): Promise<void> {
  const frames = [
    ...queues.map(({ name }) => methodFrame(CHANNEL, Method.queueDelete, u16(0), shortString(name), u8(noWait.delete))),
    ...exchanges.map(({ name }) => methodFrame(CHANNEL, Method.exchangeDelete, u16(0), shortString(name), u8(noWait.exchangeDelete))),
  ];
  await writeAll(control, frames);
}

/** Writes methods that are not answered, and resolves when the server has taken them all. */
async function writeAll(connection: AmqpConnection, frames: readonly Buffer[]): Promise<void> {
  const prefetch = methodFrame(CHANNEL, Method.basicQos, u32(0), u16(0), u8(0));
  connection.write(Buffer.concat([...frames, prefetch]));
  await connection.answer(Method.basicQosOk, SET_UP_MS_MAX);
}

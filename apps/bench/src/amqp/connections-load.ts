/**
 * Many connections that do little: each publishes a message a second to a queue of its own and consumes it. What one such message costs the
 * server, mostly in waking up, and what a connection takes of its memory.
 *
 * An open loop: every message has a moment at which it is due, and its time counts from then on.
 */
import { AmqpConnection, CHANNEL } from './connection.js';
import { startCeilingServer } from './ceiling.js';
import { type MeasuredServer, costs, latencies, snapshot } from '../costs.js';
import type { Stretch } from '../sides.js';
import { UNSTAMPED } from './publisher.js';
import type { AmqpServer } from './server.js';
import type { Figure } from '../figure.js';
import { readProcessTree } from '../process-tree.js';
import { Samples } from '../statistics.js';
import { Method, methodFrame, publishTriple, shortString, table, u16, u8 } from './wire.js';

export interface ConnectionsShape {
  readonly connections: number;
  readonly bodyBytes: number;
  /** As clients do that are left at their defaults. */
  readonly heartbeatS: number;
}

const readBufferBytes = 4096;
const opensAtOnce = 50;
const drainMsMax = 30_000;

interface Line {
  readonly connection: AmqpConnection;
  readonly triple: Buffer;
  readonly bodyAt: number;
  close(): Promise<void> | void;
}

type Take = (bytes: Buffer, offset: number) => void;

export async function measureConnections(server: AmqpServer, shape: ConnectionsShape, stretch: Stretch): Promise<Figure[]> {
  const name = `dovecote-bench-${process.pid}-${Math.round(performance.now())}`;
  return measureLines(server, shape, stretch, async (number, take) => openLine(server, shape, `${name}-${number}`, take));
}

/** The same bytes both ways through a server that does not look at them: what is left of the cost when nothing is a broker's. */
export async function measureBareConnections(shape: ConnectionsShape, stretch: Stretch): Promise<Figure[]> {
  const program = await startCeilingServer('echo', shape.bodyBytes);
  try {
    return await measureLines(program, shape, stretch, async (number, take) => {
      const connection = AmqpConnection.openBare('127.0.0.1', program.port, readBufferBytes);
      connection.traffic.onBody = take;
      await connection.connected();
      return lineOf(connection, `bench-${number}`, shape.bodyBytes, () => connection.destroy());
    });
  } finally {
    await program.stop();
  }
}

async function measureLines(
  server: MeasuredServer,
  shape: ConnectionsShape,
  stretch: Stretch,
  open: (number: number, take: Take) => Promise<Line>,
): Promise<Figure[]> {
  const lines: Line[] = [];
  const bare = server.pid === undefined ? undefined : readProcessTree(server.pid);
  const count = { published: 0, delivered: 0 };
  const latencyMs = new Samples();
  const take: Take = (bytes, offset) => {
    count.delivered++;
    latencyMs.add(performance.now() - bytes.readDoubleBE(offset));
  };
  try {
    for (let opened = 0; opened < shape.connections; opened += opensAtOnce) {
      const numbers = Array.from({ length: Math.min(opensAtOnce, shape.connections - opened) }, (_, index) => opened + index);
      lines.push(...(await Promise.all(numbers.map(async (number) => open(number, take)))));
    }
    const pace = new Pace(lines, count);
    await lines[0]!.connection.pass(stretch.warmupMs);
    latencyMs.clear();
    const before = snapshot(server, count.delivered);
    await lines[0]!.connection.pass(stretch.measureMs);
    const after = snapshot(server, count.delivered);
    pace.stop();
    const figures = [...costs(before, after), ...latencies('due to delivered', latencyMs)];
    if (bare !== undefined && after.server !== undefined) {
      const value = (after.server.residentBytes - bare.residentBytes) / shape.connections / 1000;
      figures.push({ name: 'server memory per connection', unit: 'kB', value });
    }
    for (const until = performance.now() + drainMsMax; count.delivered < count.published && performance.now() < until;) {
      await lines[0]!.connection.pass(20);
    }
    if (count.delivered !== count.published) throw new Error(`${count.published} messages were published and ${count.delivered} delivered`);
    return figures;
  } finally {
    await Promise.all(lines.map(async (line) => line.close()));
  }
}

async function openLine(server: AmqpServer, { bodyBytes, heartbeatS }: ConnectionsShape, queue: string, take: Take): Promise<Line> {
  const connection = await AmqpConnection.open(server.url, { readBufferBytes, heartbeatS });
  connection.traffic.onBody = take;
  await connection.openChannel();
  const exclusiveBit = 4;
  await connection.call(
    methodFrame(CHANNEL, Method.queueDeclare, u16(0), shortString(queue), u8(exclusiveBit), table({})),
    Method.queueDeclareOk,
  );
  const noAckBit = 2;
  const consume = [u16(0), shortString(queue), shortString('bench'), u8(noAckBit), table({})];
  await connection.call(methodFrame(CHANNEL, Method.basicConsume, ...consume), Method.basicConsumeOk);
  return lineOf(connection, queue, bodyBytes, async () => connection.close());
}

function lineOf(connection: AmqpConnection, queue: string, bodyBytes: number, close: Line['close']): Line {
  const triple = publishTriple(CHANNEL, { routingKey: queue, body: Buffer.alloc(bodyBytes, UNSTAMPED), isPersistent: false });
  return { connection, triple, bodyAt: triple.length - 1 - bodyBytes, close };
}

/** Lets every line publish once a second, evenly spread over it. */
class Pace {
  private readonly beganAt = performance.now();
  private readonly timer = setInterval(() => this.publishDue(), 1);

  constructor(
    private readonly lines: readonly Line[],
    private readonly count: { published: number },
  ) {}

  stop(): void {
    clearInterval(this.timer);
  }

  private publishDue(): void {
    const { lines, count, beganAt } = this;
    const due = Math.floor(((performance.now() - beganAt) / 1000) * lines.length);
    for (; count.published < due; count.published++) {
      const { connection, triple, bodyAt } = lines[count.published % lines.length]!;
      const bytes = Buffer.from(triple);
      bytes.writeDoubleBE(beganAt + (count.published * 1000) / lines.length, bodyAt);
      connection.write(bytes);
    }
  }
}

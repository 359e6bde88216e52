/**
 * What the load generator itself can do and costs: the same code against servers that do nothing.
 *
 * A figure of a broker that comes near its ceiling says more about the generator than about the broker.
 */
import { fileURLToPath } from 'node:url';
import { AmqpConnection } from './connection.js';
import { Consumer } from './consumer.js';
import { Publisher } from './publisher.js';
import type { Stretch } from '../sides.js';
import type { Figure } from '../figure.js';
import { ListeningProgram } from '../listening-program.js';

export async function measureCeiling(bodyBytes: number, stretch: Stretch): Promise<Figure[]> {
  const publishing = await measureAgainst('discard', bodyBytes, stretch);
  const consuming = await measureAgainst('blast', bodyBytes, stretch);
  return [...publishing, ...consuming];
}

/** A server without semantics; whoever starts it stops it. */
export async function startCeilingServer(mode: 'discard' | 'blast' | 'echo', bodyBytes: number): Promise<ListeningProgram> {
  const file = fileURLToPath(new URL('./ceiling-server.js', import.meta.url));
  return ListeningProgram.start({ file, arguments: [mode, String(bodyBytes)], portLine: /listening on \S+:(\d+)\s*\n/ });
}

async function measureAgainst(mode: 'discard' | 'blast', bodyBytes: number, stretch: Stretch): Promise<Figure[]> {
  const program = await startCeilingServer(mode, bodyBytes);
  const connection = AmqpConnection.openBare('127.0.0.1', program.port);
  try {
    const count = mode === 'discard' ? startPublishing(connection, bodyBytes) : startConsuming(connection);
    await connection.pass(stretch.warmupMs);
    const before = { messages: count(), at: performance.now(), cpu: process.cpuUsage() };
    await connection.pass(stretch.measureMs);
    const messages = count() - before.messages;
    const cpu = process.cpuUsage(before.cpu);
    const verb = mode === 'discard' ? 'publishing to a socket that discards' : 'consuming from a socket that blasts';
    return [
      { name: `${verb}: messages`, unit: '1/s', value: messages / ((performance.now() - before.at) / 1000) },
      { name: `${verb}: generator CPU per message`, unit: 'µs', value: (cpu.user + cpu.system) / messages },
    ];
  } finally {
    connection.destroy();
    await program.stop();
  }
}

function startPublishing(connection: AmqpConnection, bodyBytes: number): () => number {
  const room = (): number => Number.POSITIVE_INFINITY;
  const publisher = new Publisher(connection, { kinds: [{ routingKey: 'bench' }], bodyBytes, isPersistent: false, room });
  publisher.run();
  return () => publisher.published;
}

function startConsuming(connection: AmqpConnection): () => number {
  const consumer = new Consumer(connection, {});
  return () => consumer.delivered;
}

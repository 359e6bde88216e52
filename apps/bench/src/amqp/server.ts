/**
 * The two sides that are measured in turn: our daemon, started afresh for each measurement, and a peer that is there already or is
 * started once by a script. Nobody here knows what is measured.
 */
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { AmqpConnection, parseAmqpUrl, type AmqpUrl } from './connection.js';
import { ListeningProgram } from '../listening-program.js';
import { type DaemonOptions, type Peer, startByScript } from '../sides.js';

/** The three promises a publisher can be given; only figures under the same one are put side by side. */
export type Durability = 'memory' | 'os' | 'fsync';

export interface AmqpServer {
  readonly side: 'ours' | 'peer';
  readonly url: AmqpUrl;
  /** The root of its processes; undefined when it runs elsewhere. */
  readonly pid: number | undefined;
  stop(): Promise<void>;
}

export async function startDaemon(options: DaemonOptions, durability: Durability): Promise<AmqpServer> {
  const folder = mkdtempSync(join(options.dataRoot, 'dovecote-bench-'));
  const program = await ListeningProgram.start({
    file: options.file,
    arguments: ['--data', join(folder, 'data'), '--amqp-port', '0', '--durability', durability],
    portLine: /AMQP[^\n]*:(\d+)\s*\n/,
    folder,
  });
  const url = { host: '127.0.0.1', port: program.port, user: 'guest', password: 'guest', virtualHost: '/' };
  return { side: 'ours', url, pid: program.pid, stop: async () => program.stop() };
}

/** A peer that runs already. */
export async function attachPeer(urlText: string, pid: number | undefined): Promise<Peer<AmqpServer>> {
  const url = parseAmqpUrl(urlText);
  const name = await productOf(url);
  return { server: { side: 'peer', url, pid, stop: async () => undefined }, name, startMs: undefined };
}

/** The peer of a script. */
export function startPeer(script: string): Promise<Peer<AmqpServer>> {
  return startByScript(script, attachPeer);
}

export async function productOf(url: AmqpUrl): Promise<string> {
  const connection = await AmqpConnection.open(url);
  const { product } = connection;
  await connection.close();
  return product;
}

/**
 * The two sides that are measured in turn: our daemon, started afresh for each measurement, and a peer that is there already or is
 * started once by a script. Nobody here knows what is measured.
 */
import { existsSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { AmqpConnection, parseAmqpUrl, type AmqpUrl } from './connection.js';
import { ListeningProgram } from '../listening-program.js';
import { startScriptedPeer } from '../peer-script.js';

/** The three promises a publisher can be given; only figures under the same one are put side by side. */
export type Durability = 'memory' | 'os' | 'fsync';

export interface AmqpServer {
  readonly side: 'ours' | 'peer';
  readonly url: AmqpUrl;
  /** The root of its processes; undefined when it runs elsewhere. */
  readonly pid: number | undefined;
  stop(): Promise<void>;
}

export interface DaemonOptions {
  /** The daemon's compiled main file. */
  readonly file: string;
  /** Where its data folders are made. */
  readonly dataRoot: string;
}

/** Throws a sentence when there is nothing to start: better once at the beginning than in every case. */
export function requireDaemon(options: DaemonOptions): void {
  if (!existsSync(options.file)) throw new Error(`there is no daemon at ${options.file}; build it first (npm run build)`);
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

export interface Peer {
  readonly server: AmqpServer;
  /** What it calls itself, such as "RabbitMQ 4.0.5". */
  readonly name: string;
  /** How long the script took until the peer answered, when this run started it. */
  readonly startMs: number | undefined;
}

/** A peer that runs already. */
export async function attachPeer(urlText: string, pid: number | undefined): Promise<Peer> {
  const url = parseAmqpUrl(urlText);
  const name = await productOf(url);
  return { server: { side: 'peer', url, pid, stop: async () => undefined }, name, startMs: undefined };
}

/** The peer of a script; one that was running before is left running. */
export async function startPeer(script: string): Promise<Peer> {
  const scripted = await startScriptedPeer(script);
  const before = performance.now();
  const peer = await attachPeer(scripted.url, scripted.pid);
  const startMs = scripted.startMs === undefined ? undefined : scripted.startMs + performance.now() - before;
  return { ...peer, server: { ...peer.server, stop: () => scripted.stop() }, startMs };
}

export async function productOf(url: AmqpUrl): Promise<string> {
  const connection = await AmqpConnection.open(url);
  const { product } = connection;
  await connection.close();
  return product;
}

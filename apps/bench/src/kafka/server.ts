/**
 * The two sides that are measured in turn: our daemon, started afresh for each measurement with both of its protocols open, and a Kafka that is there already or is
 * started once by a script. Nobody here knows what is measured.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Address, KafkaConnection, parseAddress } from './connection.js';
import { ListeningProgram } from '../listening-program.js';
import { runScript } from '../peer-script.js';
import { type DaemonOptions, type Peer, startByScript } from '../sides.js';

/** What an answer to a produce request promises. Kafka writes, and syncs each write where its topic says `flush.messages=1`. */
export type LogDurability = 'os' | 'fsync';

export interface KafkaServer {
  readonly side: 'ours' | 'peer';
  readonly at: Address;
  /** Its process; undefined when it runs elsewhere. */
  readonly pid: number | undefined;
  /** What a topic needs beside the defaults, so that it keeps the promise and leaves nothing behind. */
  topicConfigs(durability: LogDurability): Readonly<Record<string, string>>;
  /** Ends it as `kill -9` does, starts it on the data it had, and resolves when it listens; undefined where nobody knows how. */
  readonly restart: (() => Promise<KafkaServer>) | undefined;
  stop(): Promise<void>;
}

export function startDaemon({ file, dataRoot }: DaemonOptions, durability: LogDurability): Promise<KafkaServer> {
  return startOn(file, mkdtempSync(join(dataRoot, 'dovecote-bench-')), durability);
}

async function startOn(file: string, folder: string, durability: LogDurability): Promise<KafkaServer> {
  const program = await ListeningProgram.start({
    file,
    arguments: ['--data', join(folder, 'data'), '--amqp-port', '0', '--kafka-port', '0', '--durability', durability],
    portLine: /Kafka listening on [^\n]*:(\d+)\s*\n/,
  });
  const removeFolder = (): void => rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  process.once('exit', removeFolder);
  return {
    side: 'ours',
    at: { host: '127.0.0.1', port: program.port },
    pid: program.pid,
    topicConfigs: () => ({}),
    restart: async () => {
      await program.kill();
      process.removeListener('exit', removeFolder);
      return startOn(file, folder, durability);
    },
    stop: async () => {
      await program.stop();
      process.removeListener('exit', removeFolder);
      removeFolder();
    },
  };
}

/** A peer that runs already. */
export async function attachPeer(address: string, pid: number | undefined): Promise<Peer<KafkaServer>> {
  const at = parseAddress(address);
  const connection = await KafkaConnection.open(at);
  connection.close();
  return { server: peerAt(at, pid, undefined), name: `Apache Kafka at ${at.host}:${at.port}`, startMs: undefined };
}

/** The peer of a script, which also knows `kill` and `again`; one that was running before is left running, and not killed. */
export async function startPeer(script: string): Promise<Peer<KafkaServer>> {
  const peer = await startByScript(script, attachPeer);
  const { at, pid } = peer.server;
  const stop = (): Promise<void> => peer.server.stop();
  const restart = async (): Promise<KafkaServer> => {
    await promisify(execFile)(script, ['kill']);
    const again = await runScript(script, 'again');
    return { ...peerAt(parseAddress(again.url), again.pid, restart), stop };
  };
  return { ...peer, server: { ...peerAt(at, pid, peer.startMs === undefined ? undefined : restart), stop } };
}

function peerAt(at: Address, pid: number | undefined, restart: KafkaServer['restart']): KafkaServer {
  const topicConfigs = (durability: LogDurability): Record<string, string> => ({
    // The files of a deleted topic stay for a minute otherwise.
    'file.delete.delay.ms': '1000',
    ...(durability === 'fsync' ? { 'flush.messages': '1' } : {}),
  });
  return { side: 'peer', at, pid, topicConfigs, restart, stop: async () => undefined };
}

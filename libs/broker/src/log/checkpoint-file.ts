import type { Disk } from '@dovecote/ground';
import { readWhole, replaceFile } from './open-files.js';

/**
 * Offsets of many partitions in one of Kafka's checkpoint files:
 *
 *   0                       version
 *   2                       count
 *   orders 0 1500           topic, partition, offset
 *   orders 1 1483
 *
 * Replaced as a whole, so a crash leaves the old one or the new one.
 */
export type PartitionOffsets = ReadonlyMap<string, number>;

export function partitionKey(topic: string, partition: number): string {
  return `${topic} ${partition}`;
}

/** The topic in a key. */
export function topicOf(key: string): string {
  return key.slice(0, key.indexOf(' '));
}

/** Empty where there is no file, or none that can be read: the caller then knows less, never something wrong. */
export async function readCheckpoint(disk: Disk, folder: string, name: string): Promise<PartitionOffsets> {
  const offsets = new Map<string, number>();
  for (const [key, [offset]] of (await readNumbers(disk, folder, name)) ?? []) if (offset !== undefined) offsets.set(key, offset);
  return offsets;
}

export function writeCheckpoint(disk: Disk, folder: string, name: string, offsets: PartitionOffsets, isSynced: boolean): Promise<void> {
  return writeNumbers(disk, folder, name, new Map([...offsets].map(([key, offset]) => [key, [offset]])), isSynced);
}

/** The same with several numbers a line; undefined where there is no file that can be read. */
export async function readNumbers(disk: Disk, folder: string, name: string): Promise<ReadonlyMap<string, readonly number[]> | undefined> {
  const bytes = await readWhole(disk, `${folder}/${name}`);
  if (bytes === undefined) return undefined;
  const found = new Map<string, readonly number[]>();
  const [version, count, ...lines] = bytes.toString('latin1').split('\n');
  if (version !== '0') return undefined;
  for (const line of lines.slice(0, Number(count))) {
    const match = /^([^ ]+ \d+)((?: \d+)+)$/.exec(line);
    if (match !== null) found.set(match[1]!, match[2]!.slice(1).split(' ').map(Number));
  }
  return found;
}

export function writeNumbers(
  disk: Disk,
  folder: string,
  name: string,
  numbers: ReadonlyMap<string, readonly number[]>,
  isSynced: boolean,
): Promise<void> {
  const lines = [...numbers].map(([key, values]) => `${key} ${values.join(' ')}`);
  return replaceFile(disk, folder, name, Buffer.from(['0', String(lines.length), ...lines, ''].join('\n'), 'latin1'), isSynced);
}

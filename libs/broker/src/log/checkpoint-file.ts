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

/** Empty where there is no file, or none that can be read: the caller then knows less, never something wrong. */
export async function readCheckpoint(disk: Disk, folder: string, name: string): Promise<PartitionOffsets> {
  const offsets = new Map<string, number>();
  const bytes = await readWhole(disk, `${folder}/${name}`);
  if (bytes === undefined) return offsets;
  const [version, count, ...lines] = bytes.toString('latin1').split('\n');
  if (version !== '0') return offsets;
  for (const line of lines.slice(0, Number(count))) {
    const match = /^([^ ]+ \d+) (\d+)$/.exec(line);
    if (match !== null) offsets.set(match[1]!, Number(match[2]));
  }
  return offsets;
}

export function writeCheckpoint(disk: Disk, folder: string, name: string, offsets: PartitionOffsets, isSynced: boolean): Promise<void> {
  const lines = [...offsets].map(([key, offset]) => `${key} ${offset}`);
  return replaceFile(disk, folder, name, Buffer.from(['0', String(lines.length), ...lines, ''].join('\n'), 'latin1'), isSynced);
}

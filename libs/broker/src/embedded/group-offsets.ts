import { CodedError } from '../errors.js';
import type { KafkaNode } from '../kafka/kafka-node.js';
import type { OffsetCommit } from './broker-log.js';

/** Commits in the name of a group that was asked whether it may. Rejects with a CodedError. */
export async function commitTo(node: KafkaNode, group: string, offsets: readonly OffsetCommit[]): Promise<void> {
  const found = node.groups.groupOrNew(group);
  if (found === undefined) throw tooManyGroups(group);
  for (const { topic, partition, metadata = '' } of offsets) {
    if (node.log.topic(topic)?.partitions[partition] === undefined) throw noPartition(topic, partition);
    if (Buffer.byteLength(metadata) > node.limits.offsetMetadataBytesMax)
      throw new CodedError('invalid-argument', `Metadata of an offset has at most ${node.limits.offsetMetadataBytesMax} bytes`);
  }
  const all = offsets.map(({ metadata = '', ...place }) => ({ ...place, metadata, leaderEpoch: -1 }));
  await new Promise<void>((resolve, reject) => {
    node.groups.commit(found, all, (error) => (error === undefined ? resolve() : reject(notWritten(group))));
  });
}

export function tooManyGroups(group: string): CodedError {
  return new CodedError('limit-reached', `The group '${group}' would be one too many: delete those that nobody needs`);
}

export function inUse(group: string): CodedError {
  return new CodedError('in-use', `The group '${group}' has members: they must leave first`);
}

export function notWritten(group: string): CodedError {
  return new CodedError('storage-failed', `What the group '${group}' decided could not be written down`);
}

export function noPartition(topic: string, partition: number): CodedError {
  return new CodedError('no-topic', `There is no partition ${partition} of '${topic}'`);
}

/**
 * A client of Kafka clusters for tools, over the tables of the server: `@dovecote/broker/kafka-client`. It asks what it is told to ask and repeats nothing that
 * failed; what it reads and writes is what the server reads and writes. Not loaded with the broker.
 */
import { realGround } from '@dovecote/ground';
import { KafkaClient, type KafkaClientOptions } from './kafka-client/kafka-client.js';

export { checkAnswer, KafkaClient, noTopicId, type KafkaClientOptions, type TopicDescription } from './kafka-client/kafka-client.js';
export { KafkaClientError } from './kafka-client/kafka-client-error.js';
export type { KafkaLogin } from './kafka-client/kafka-connection.js';
export { RecordSender, type SendOptions } from './kafka-client/record-sender.js';
export { type FetchOptions, type FetchPlace, PartitionFetcher } from './kafka-client/partition-fetcher.js';
export { byTopic, committedOffsets, GroupSession } from './kafka-client/group-session.js';
export { decodeAssignment } from './embedded/consumer-protocol.js';
export { errorCodes } from './kafka/error-codes.js';
export { listOffsets } from './kafka/apis/02-list-offsets.js';
export { offsetCommit } from './kafka/apis/08-offset-commit.js';
export { describeGroups } from './kafka/apis/15-describe-groups.js';
export { listGroups } from './kafka/apis/16-list-groups.js';
export { createTopics } from './kafka/apis/19-create-topics.js';
export { deleteTopics } from './kafka/apis/20-delete-topics.js';
export { describeConfigs } from './kafka/apis/32-describe-configs.js';
export { createPartitions } from './kafka/apis/37-create-partitions.js';
export { deleteGroups } from './kafka/apis/42-delete-groups.js';
export { incrementalAlterConfigs } from './kafka/apis/44-incremental-alter-configs.js';

const ground = realGround();
export const { clock } = ground;

/** Over the real network. Rejects with a KafkaClientError. */
export function connectKafka(options: Omit<KafkaClientOptions, 'network' | 'clock'>): Promise<KafkaClient> {
  return KafkaClient.connect({ ...options, network: ground.network, clock });
}

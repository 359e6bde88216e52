export { Broker, type BrokerSnapshot, type QueueSnapshot } from './broker.js';
export {
  checkFolder,
  type CheckFolderOptions,
  type FileCheck,
  type FolderCheck,
  type FolderProblem,
  type QueueCheck,
} from './engine/check-folder.js';
export type { InspectedPartition, InspectedTopic } from './log/log-inspection.js';
export type { AmqpListener, BrokerOptions, Durability, KafkaListener, KafkaOptions, User } from './engine/options.js';
export type { KafkaAddress } from './kafka-doors.js';
export type { AccessImport, Administration, PutOutcome, UserSettings } from './engine/administration.js';
export type {
  PermissionRecord,
  TopicPermissionRecord,
  UserRecord,
  VirtualHostLimits,
  VirtualHostSettings,
} from './engine/access-records.js';
export type {
  BrokerConsumer,
  BrokerSession,
  ConsumeOptions,
  Delivery,
  ExchangeOptions,
  FetchedDelivery,
  OutgoingMessage,
  PublishAnswer,
  QueueOptions,
} from './engine/in-process.js';
export type {
  AppendedRun,
  AppendOptions,
  BrokerLog,
  CommittedPlace,
  GroupMember,
  GroupOptions,
  LogReader,
  NewTopic,
  OffsetCommit,
  OutgoingRecord,
  PartitionBounds,
  ReadOptions,
  RecordHeader,
  RecordPlace,
  StartingPlace,
  TopicPartition,
  TopicView,
} from './embedded/broker-log.js';
export type { LogBatch, LogRecord } from './embedded/log-batch.js';
export type { ExchangeBinding, ExchangeContext, ExchangeRouter, ExchangeType, RoutedMessage } from './queues/exchange-type.js';
export { CommonProperties, type OwnProperties, type SharedProperties } from './queues/common-properties.js';
export type { MessageProperties, PropertyVisitor } from './queues/properties.js';
export type { FieldTable, FieldValue } from './queues/field-table.js';
export { type BrokerErrorCode, CodedError } from './errors.js';
export { defaultLimits, type Limits } from './limits.js';

export { DovecoteModule } from './dovecote.module.js';
export { CommandMessage, EventMessage, QueryMessage } from './message.decorator.js';
export { Handle, Subscribe } from './handler.decorator.js';
export { Publisher, type PublishOptions, type RequestOptions } from './publisher.js';
export {
  DeadLetters,
  type DeadLetter,
  type DeadLetterChoice,
  payloadOf,
  type RedriveOptions,
  type RedriveProgress,
} from './dead-letters.js';
export { MessagingPlan } from './messaging-plan.js';
export { RequestError } from './requester.js';
export { BatchFailure } from './batch-failure.js';
export { Message } from './message.js';
export { MessagingError, type MessagingErrorCode } from './errors.js';
export type {
  BrokerOptions,
  GivenBrokerOptions,
  MessagingOptions,
  OneBrokerOptions,
  TwoBrokersOptions,
  UrlBrokerOptions,
} from './options.js';
export type { KafkaOptions } from './transports/kafka/kafka-options.js';
export type { BatchOptions, ByError, DeliveryOptions, ErrorClass, RetryOptions } from './delivery-contract.js';
export { type Deduplication, RecentMessages } from './policies/deduplication.js';
export type { StandardSchema } from './policies/validation.js';
export { type Claim, type ClaimStore } from './claims/claim-store.js';
export type { ClaimCheckOptions } from './claims/claim-check.js';
export { type ClaimGround, FolderClaimStore } from './claims/folder-claim-store.js';
export { MemoryClaimStore } from './claims/memory-claim-store.js';
export type { Encoded, MessageCodec, PayloadOutside } from './message-codec.js';
export { type JsonSchema, jsonSchemaOf } from './json-schema.js';
export type { MessageClass, MessageOptions } from './message-definition.js';
export type { Death, DeathCause, Envelope, Failure, MessageHeaders, MessageKind, ParkedPlace, Trail } from './envelope.js';
export type { Parked, ParkingStore, Released } from './parking-store.js';
export type {
  Box,
  BrokerPlaces,
  Capability,
  Incoming,
  KindOfBroker,
  Lack,
  Lane,
  OpenBox,
  PlannedThing,
  Route,
  Source,
  SubscriptionRequest,
  Transport,
  TransportCapabilities,
  TransportConsumer,
  TransportSubscription,
  UnreadableEnvelope,
} from './transport.js';

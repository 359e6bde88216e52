export { DovecoteModule } from './dovecote.module.js';
export { EventMessage, type EventMessageOptions } from './event-message.decorator.js';
export { Subscribe } from './subscribe.decorator.js';
export { Publisher, type PublishOptions } from './publisher.js';
export { Message } from './message.js';
export { MessagingError, type MessagingErrorCode } from './errors.js';
export type { BrokerOptions, GivenBrokerOptions, MessagingOptions, UrlBrokerOptions } from './options.js';
export type { SubscribeOptions } from './subscription.js';
export type { EventClass } from './event-definition.js';
export type { Envelope, MessageHeaders } from './envelope.js';
export type {
  Incoming,
  SubscriptionRequest,
  Transport,
  TransportCapabilities,
  TransportSubscription,
  UnreadableEnvelope,
} from './transport.js';

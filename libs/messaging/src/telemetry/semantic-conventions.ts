/**
 * The names of OpenTelemetry's semantic conventions for messaging that this package writes, of one version, in one place: the conventions are still under
 * development, and a later version may call things otherwise. Whoever moves to it changes this file and nothing else.
 */
export const SCHEMA_URL = 'https://opentelemetry.io/schemas/1.45.0';

/** The instrumentation scope of all spans and metrics. */
export const SCOPE = '@dovecote/messaging';

export const attributes = {
  system: 'messaging.system.name',
  operationName: 'messaging.operation.name',
  operationType: 'messaging.operation.type',
  destination: 'messaging.destination.name',
  consumerGroup: 'messaging.consumer.group.name',
  messageId: 'messaging.message.id',
  conversationId: 'messaging.message.conversation_id',
  bodySize: 'messaging.message.body.size',
  batchCount: 'messaging.batch.message_count',
  routingKey: 'rabbitmq.destination.routing_key',
  kafkaKey: 'kafka.message.key',
  serverAddress: 'server.address',
  serverPort: 'server.port',
  errorType: 'error.type',
  functionName: 'code.function.name',
  // Ours: the conventions have no name for them.
  attempt: 'dovecote.message.attempt',
  outcome: 'dovecote.message.outcome',
  failures: 'dovecote.message.failures',
  delayMs: 'dovecote.retry.delay_ms',
  deathCause: 'dovecote.death.cause',
} as const;

/** Values of `messaging.operation.type`. */
export const operationTypes = { send: 'send', process: 'process', settle: 'settle' } as const;

/** Events of a span; these are ours. */
export const events = { retry: 'dovecote.retry', deadLetter: 'dovecote.dead_letter', givenBack: 'dovecote.given_back' } as const;

export const metrics = {
  sent: { name: 'messaging.client.sent.messages', unit: '{message}', description: 'Messages that were given to the broker' },
  consumed: { name: 'messaging.client.consumed.messages', unit: '{message}', description: 'Messages that were given to a handler' },
  operationDuration: { name: 'messaging.client.operation.duration', unit: 's', description: 'How long the broker took to confirm' },
  processDuration: { name: 'messaging.process.duration', unit: 's', description: 'How long handlers took' },
} as const;

/** Of both durations, in seconds, as the conventions advise. */
export const DURATION_BOUNDARIES: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

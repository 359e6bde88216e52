/**
 * Why a cluster did not do what it was asked. `code` is for programs: nobody is there (`unreachable`), who is there does not know us
 * (`refused-login`), nor what we say (`unsupported`), or said no (`refused`). The message is a sentence.
 */
export class KafkaClientError extends Error {
  override readonly name = 'KafkaClientError';

  constructor(
    readonly code: 'unreachable' | 'refused-login' | 'unsupported' | 'refused',
    message: string,
    options?: ErrorOptions,
    /** Kafka's number, where it said no. */
    readonly errorCode = 0,
  ) {
    super(message, options);
  }
}

/**
 * What messaging refuses, by when it happens. `code` is stable and for programs; the message is a sentence for the person who must act.
 */
export type MessagingErrorCode =
  // When a class or a method is decorated
  | 'invalid-event'
  // When the application starts
  | 'invalid-options'
  | 'unknown-broker'
  | 'missing-package'
  | 'subscribed-twice'
  | 'unsupported'
  | 'broker-unreachable'
  | 'broker-refused'
  | 'broker-unusable'
  | 'unfit-topology'
  // When an event is published
  | 'not-an-event'
  | 'invalid-publish'
  | 'too-large'
  | 'not-started'
  | 'too-many-publishes'
  | 'publish-refused'
  | 'publish-timeout'
  | 'closed'
  // When a command is sent or a query asked
  | 'nobody-there'
  | 'request-timeout'
  // When a message comes in
  | 'unreadable'
  | 'payload-missing'
  | 'handler-timeout';

const retryableCodes: ReadonlySet<MessagingErrorCode> = new Set([
  'broker-unreachable',
  'too-many-publishes',
  'publish-refused',
  'publish-timeout',
  'nobody-there',
  'request-timeout',
  'payload-missing',
  'handler-timeout',
]);

export class MessagingError extends Error {
  override readonly name = 'MessagingError';
  /** Whether the same call may succeed later without a change by the caller. */
  readonly retryable: boolean;

  constructor(
    readonly code: MessagingErrorCode,
    message: string,
    options?: ErrorOptions & { readonly retryable?: boolean },
  ) {
    super(message, options);
    this.retryable = options?.retryable ?? retryableCodes.has(code);
  }
}

/** The message has more bytes than the broker takes: sent again it would be refused again. */
export function isTooLarge(error: unknown): boolean {
  return error instanceof MessagingError && error.code === 'too-large';
}

/** What went wrong, in words that fit into a sentence of one line, whatever was thrown. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // A refused connection to a name with several addresses is an AggregateError without a message of its own.
  if (error.message === '' && error instanceof AggregateError) return error.errors.map(reasonOf).join('; ');
  const reason = error.message.replace(/\s+/g, ' ').trim().replace(/\.$/, '');
  return reason === '' ? error.name : reason;
}

/**
 * What the broker refuses, by when it happens. `code` is stable and for programs, the message is a sentence for the person who
 * must act. A protocol server maps each code to its own numbers in its `replies.ts`.
 */
export type BrokerErrorCode =
  // When a definition is changed or named
  | 'no-queue'
  | 'no-exchange'
  | 'unknown-exchange-type'
  | 'inequivalent-arguments'
  | 'invalid-argument'
  | 'reserved-name'
  | 'default-exchange'
  | 'in-use'
  | 'not-empty'
  | 'exclusive-owner'
  // When messages are published, delivered and settled
  | 'internal-exchange'
  | 'exchange-type-failed'
  | 'exclusive-consumer'
  | 'consumer-tag-taken'
  | 'unknown-delivery-tag'
  | 'message-too-large'
  | 'queue-full'
  | 'transaction-too-large'
  // When topics of the partitioned log are made and changed
  | 'topic-exists'
  | 'no-topic'
  | 'invalid-topic'
  | 'invalid-partitions'
  | 'invalid-config'
  // When records are read, and groups read them
  | 'offset-out-of-range'
  | 'unreadable-records'
  | 'not-a-member'
  // When somebody logs in
  | 'no-virtual-host'
  | 'host-refused'
  | 'login-refused'
  // When somebody does what is not allowed, or changes users, permissions and virtual hosts
  | 'access-refused'
  | 'no-user'
  | 'configured'
  | 'limit-reached'
  // When what is asked for is not built
  | 'not-implemented'
  // When the broker opens, or cannot go on
  | 'data-folder-locked'
  | 'data-folder-unusable'
  | 'data-damaged'
  | 'disk-full'
  | 'storage-failed'
  | 'port-unusable'
  | 'closed';

const retryableCodes: ReadonlySet<BrokerErrorCode> = new Set(['disk-full', 'in-use', 'not-empty', 'exclusive-consumer', 'queue-full']);

export class CodedError extends Error {
  override readonly name = 'CodedError';
  /** Whether the same call may succeed later without a change by the caller. */
  readonly retryable: boolean;

  constructor(
    readonly code: BrokerErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.retryable = retryableCodes.has(code);
  }
}

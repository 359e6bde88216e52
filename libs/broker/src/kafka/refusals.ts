import { DiskError } from '@dovecote/ground';
import { type BrokerErrorCode, CodedError } from '../errors.js';
import { errorCodes, type ErrorName } from './error-codes.js';

/** What the broker refuses, in Kafka's words. What has none is this server's fault and not the client's. */
const errorByBrokerCode = {
  'no-queue': 'unknownServerError',
  'no-exchange': 'unknownServerError',
  'unknown-exchange-type': 'unknownServerError',
  'inequivalent-arguments': 'unknownServerError',
  'invalid-argument': 'invalidRequest',
  'reserved-name': 'invalidTopic',
  'default-exchange': 'unknownServerError',
  'in-use': 'unknownServerError',
  'not-empty': 'unknownServerError',
  'exclusive-owner': 'unknownServerError',
  'internal-exchange': 'unknownServerError',
  'exchange-type-failed': 'unknownServerError',
  'exclusive-consumer': 'unknownServerError',
  'consumer-tag-taken': 'unknownServerError',
  'unknown-delivery-tag': 'unknownServerError',
  'message-too-large': 'messageTooLarge',
  'queue-full': 'unknownServerError',
  'transaction-too-large': 'unknownServerError',
  'topic-exists': 'topicAlreadyExists',
  'no-topic': 'unknownTopicOrPartition',
  'invalid-topic': 'invalidTopic',
  'invalid-partitions': 'invalidPartitions',
  'invalid-config': 'invalidConfig',
  'offset-out-of-range': 'offsetOutOfRange',
  'unreadable-records': 'corruptMessage',
  'not-a-member': 'unknownMemberId',
  'no-virtual-host': 'unknownServerError',
  'host-refused': 'saslAuthenticationFailed',
  'login-refused': 'saslAuthenticationFailed',
  'access-refused': 'topicAuthorizationFailed',
  'no-user': 'unknownServerError',
  configured: 'unknownServerError',
  'limit-reached': 'policyViolation',
  'not-implemented': 'unsupportedVersion',
  'data-folder-locked': 'kafkaStorageError',
  'data-folder-unusable': 'kafkaStorageError',
  'data-damaged': 'kafkaStorageError',
  'disk-full': 'kafkaStorageError',
  'storage-failed': 'kafkaStorageError',
  'port-unusable': 'unknownServerError',
  closed: 'kafkaStorageError',
} as const satisfies Record<BrokerErrorCode, ErrorName>;

/** Anything that is no CodedError is thrown on to whoever runs the process. */
export function errorNameOf(error: unknown): ErrorName {
  if (error instanceof CodedError) return errorByBrokerCode[error.code];
  // A file beside the journal could not be written: what was asked for was not done, and nobody was told that it was.
  if (error instanceof DiskError) return 'kafkaStorageError';
  throw error;
}

/** A number and a sentence for an answer that has room for both. */
export function refusal(error: unknown): { readonly errorCode: number; readonly errorMessage: string | null } {
  const errorCode = errorCodes[errorNameOf(error)];
  return { errorCode, errorMessage: error instanceof Error ? error.message : null };
}

/** What an answer says where nothing is wrong. */
export const accepted = { errorCode: 0, errorMessage: null } as const;

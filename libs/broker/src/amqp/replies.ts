import { type BrokerErrorCode, CodedError } from '../errors.js';
import { MalformedError } from '../queues/field-table.js';
import type { Arguments } from './method-codec.js';

/**
 * The reply codes of AMQP 0-9-1, what each of them closes, and which of them the broker's own error codes become.
 *
 * The explanations are RabbitMQ's, word for word where it has one: clients search them.
 */
export const replyCodes = {
  'content-too-large': { code: 311, closes: 'channel' },
  'no-route': { code: 312, closes: 'channel' },
  'no-consumers': { code: 313, closes: 'channel' },
  'connection-forced': { code: 320, closes: 'connection' },
  'invalid-path': { code: 402, closes: 'connection' },
  'access-refused': { code: 403, closes: 'channel' },
  'not-found': { code: 404, closes: 'channel' },
  'resource-locked': { code: 405, closes: 'channel' },
  'precondition-failed': { code: 406, closes: 'channel' },
  'frame-error': { code: 501, closes: 'connection' },
  'syntax-error': { code: 502, closes: 'connection' },
  'command-invalid': { code: 503, closes: 'connection' },
  'channel-error': { code: 504, closes: 'connection' },
  'unexpected-frame': { code: 505, closes: 'connection' },
  'resource-error': { code: 506, closes: 'connection' },
  'not-allowed': { code: 530, closes: 'connection' },
  'not-implemented': { code: 540, closes: 'connection' },
  'internal-error': { code: 541, closes: 'connection' },
} as const satisfies Record<string, { readonly code: number; readonly closes: 'channel' | 'connection' }>;

export type ReplyName = keyof typeof replyCodes;

/** What a client gets for each refusal of the broker. */
export const replyByBrokerCode = {
  'no-queue': 'not-found',
  'no-exchange': 'not-found',
  'unknown-exchange-type': 'precondition-failed',
  'inequivalent-arguments': 'precondition-failed',
  'invalid-argument': 'precondition-failed',
  'reserved-name': 'access-refused',
  'default-exchange': 'access-refused',
  'in-use': 'precondition-failed',
  'not-empty': 'precondition-failed',
  'exclusive-owner': 'resource-locked',
  'internal-exchange': 'access-refused',
  'exchange-type-failed': 'internal-error',
  'exclusive-consumer': 'access-refused',
  'consumer-tag-taken': 'not-allowed',
  'unknown-delivery-tag': 'precondition-failed',
  'message-too-large': 'precondition-failed',
  'queue-full': 'resource-error',
  'transaction-too-large': 'precondition-failed',
  'topic-exists': 'precondition-failed',
  'no-topic': 'not-found',
  'invalid-topic': 'precondition-failed',
  'invalid-partitions': 'precondition-failed',
  'invalid-config': 'precondition-failed',
  'offset-out-of-range': 'precondition-failed',
  'unreadable-records': 'internal-error',
  'not-a-member': 'precondition-failed',
  'no-virtual-host': 'not-allowed',
  'host-refused': 'not-allowed',
  'access-refused': 'access-refused',
  'no-user': 'not-found',
  configured: 'not-allowed',
  'limit-reached': 'precondition-failed',
  'login-refused': 'access-refused',
  'not-implemented': 'not-implemented',
  'data-folder-locked': 'internal-error',
  'data-folder-unusable': 'internal-error',
  'data-damaged': 'internal-error',
  'disk-full': 'resource-error',
  'storage-failed': 'internal-error',
  'port-unusable': 'internal-error',
  closed: 'connection-forced',
} as const satisfies Record<BrokerErrorCode, ReplyName>;

/** What goes wrong on the wire itself; the connection turns it into a close method. */
export class AmqpError extends Error {
  override readonly name = 'AmqpError';
  constructor(
    readonly reply: ReplyName,
    /** What stands behind `CODE_NAME - ` in the reply text. */
    explanation: string,
  ) {
    super(explanation);
  }
}

/** `NOT_FOUND - no queue 'q' in vhost '/'`, cut to the 255 bytes that fit. */
export function replyText(reply: ReplyName, explanation: string): string {
  return shortText(`${reply.replaceAll('-', '_').toUpperCase()} - ${explanation}`);
}

/** As much of a text as fits into a shortstr. */
export function shortText(text: string): string {
  if (Buffer.byteLength(text) <= 255) return text;
  let length = 255;
  const bytes = Buffer.from(text);
  while ((bytes[length]! & 0xc0) === 0x80) length--; // not in the middle of a character
  return bytes.toString('utf8', 0, length);
}

/** A text with words of a stranger in it, fit for one line of a log. */
export function logText(text: string): string {
  return text.slice(0, 300).replace(/[^\x20-\x7e\u00a0-\uffff]/g, '?');
}

/** The first bytes of a payload as Erlang prints a binary, because that is what RabbitMQ's texts show. */
export function erlangSnippet(payload: Buffer): string {
  const which = payload.length <= 16 ? 'all' : 'first 16';
  const shown = payload.subarray(0, 16);
  const isPrintable = shown.length > 0 && shown.every((byte) => (byte >= 32 && byte < 127) || (byte >= 8 && byte <= 13) || byte === 27);
  const text = isPrintable ? JSON.stringify(shown.toString('latin1')) : [...shown].join(',');
  return `${which} octets = <<${text}>>`;
}

/** What a close names as its cause. */
export interface FailingMethod {
  readonly classId: number;
  readonly methodId: number;
}

export function unknownMethod(bytes: Buffer, at: number): AmqpError {
  return new AmqpError('command-invalid', `unknown method: class ${bytes.readUInt16BE(at)}, method ${bytes.readUInt16BE(at + 2)}`);
}

export function closeValues(reply: ReplyName, explanation: string, method: FailingMethod): Arguments<'channel.close'> {
  const { code } = replyCodes[reply];
  return { replyCode: code, replyText: replyText(reply, explanation), failedClass: method.classId, failedMethod: method.methodId };
}

/** The close that the protocol has for what was thrown. Anything unforeseen is thrown on, to whoever runs the process. */
export function refusalIn(error: unknown): { readonly reply: ReplyName; readonly message: string } {
  if (error instanceof AmqpError) return { reply: error.reply, message: error.message };
  if (error instanceof CodedError) return { reply: replyByBrokerCode[error.code], message: error.message };
  if (error instanceof MalformedError) return { reply: 'frame-error', message: error.message };
  throw error;
}

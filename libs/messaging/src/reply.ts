/**
 * What is answered to a command or a query, as JSON: `{"value":…}`, or `{"error":{"code":…,"message":…}}`. An error travels as a value, without its stack: what
 * stands in that is nobody else's business. No I/O.
 */
import type { Envelope } from './envelope.js';
import { MessagingError, reasonOf } from './errors.js';
import { JSON_CONTENT_TYPE, parseBody } from './message-codec.js';

export interface AnsweredError {
  readonly code: string;
  readonly message: string;
}

export type Answer = { readonly value: unknown } | { readonly error: AnsweredError };

/** The answer's way back: to where the question says, under its id. Nothing for one that nobody waits for. */
export function replyTo(question: Envelope, answer: Answer, id: string, source: string): Envelope | undefined {
  if (question.replyTo === undefined) return undefined;
  return {
    kind: 'reply',
    id,
    type: question.type,
    source,
    time: undefined,
    key: undefined,
    version: undefined,
    dataSchema: undefined,
    dataRef: undefined,
    correlationId: question.correlationId ?? question.id,
    causationId: question.id,
    replyTo: question.replyTo,
    expiresAtMs: question.expiresAtMs,
    contentType: JSON_CONTENT_TYPE,
    headers: {},
    trail: undefined,
    body: Buffer.from(encode(answer)),
  };
}

export function answerOf(reply: Envelope): Answer {
  const parsed = parseBody(reply);
  if (typeof parsed !== 'object' || parsed === null) throw new MessagingError('unreadable', 'the answer is no JSON object');
  if (!('error' in parsed)) return { value: 'value' in parsed ? parsed.value : undefined };
  const { code, message } = (parsed.error ?? {}) as Partial<AnsweredError>;
  return { error: { code: String(code ?? 'unknown'), message: String(message ?? 'no reason was given') } };
}

/** `code` is the error's own where it has one, else its name. */
export function errorAnswer(error: unknown): Answer {
  const own: unknown = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  const code = typeof own === 'string' ? own : error instanceof Error ? error.name : 'Error';
  return { error: { code, message: reasonOf(error) } };
}

function encode(answer: Answer): string {
  try {
    return JSON.stringify(answer);
  } catch (error) {
    return JSON.stringify(errorAnswer(new MessagingError('unreadable', `the answer has no JSON (${reasonOf(error)})`)));
  }
}

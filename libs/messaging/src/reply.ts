/**
 * What is answered to a command or a query, as JSON: `{"value":…}`, or `{"error":{"code":…,"message":…}}`; or the value alone in the format that the message's class
 * says for answers. An error travels as a value, without its stack: what
 * stands in that is nobody else's business. No I/O.
 */
import { type Envelope, noHeaders } from './envelope.js';
import { MessagingError, reasonOf } from './errors.js';
import { Codecs, type EncodedPayload, JSON_CONTENT_TYPE, type MessageCodec, encodePayload, isJson, parseBody } from './message-codec.js';
import { traceOf } from './telemetry/telemetry.js';

export interface AnsweredError {
  readonly code: string;
  readonly message: string;
}

export type Answer = { readonly value: unknown } | { readonly error: AnsweredError };

/** What travels of an answer: an envelope in JSON, or a value in the format of a codec. One that cannot be written is an error to whoever asked. */
export async function writtenAnswer(
  { type, version = 1 }: Pick<Envelope, 'type' | 'version'>,
  answer: Answer,
  codec: MessageCodec | undefined,
): Promise<EncodedPayload> {
  if ('error' in answer || codec === undefined) return inJson(answer);
  try {
    return await encodePayload(answer.value, { type, version }, codec);
  } catch (error) {
    const reason = reasonOf(error instanceof MessagingError ? error.cause : error);
    return inJson(errorAnswer(new MessagingError('unreadable', `the answer cannot be written as ${codec.contentType}: ${reason}`)));
  }
}

/** The answer's way back: to where the question says, under its id, in its trace. */
export function replyTo(question: Envelope, { contentType, dataSchema, body }: EncodedPayload, id: string, source: string): Envelope {
  return {
    kind: 'reply',
    id,
    type: question.type,
    source,
    time: undefined,
    key: undefined,
    version: undefined,
    dataSchema,
    dataRef: undefined,
    correlationId: question.correlationId ?? question.id,
    causationId: question.id,
    replyTo: question.replyTo,
    expiresAtMs: question.expiresAtMs,
    contentType,
    headers: traceOf(question.headers) ?? noHeaders,
    trail: undefined,
    body,
  };
}

/** A promise where the codec needs one. Throws a `MessagingError` of code `unreadable`, or rejects with one. */
export function answerOf(reply: Envelope, codec: MessageCodec | undefined): Answer | Promise<Answer> {
  const { type, contentType } = reply;
  if (isJson(contentType)) return answerInJson(reply);
  if (codec === undefined) {
    const advice = `${type} was answered in ${contentType}: give its class here the answerCodec that it has where it is handled`;
    throw new MessagingError('unreadable', advice);
  }
  const value: unknown = new Codecs([codec]).decode(reply);
  return value instanceof Promise ? value.then((late: unknown) => ({ value: late })) : { value };
}

function answerInJson(reply: Envelope): Answer {
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

function inJson(answer: Answer): EncodedPayload {
  const encoded = (text: string): EncodedPayload => ({ contentType: JSON_CONTENT_TYPE, dataSchema: undefined, body: Buffer.from(text) });
  try {
    return encoded(JSON.stringify(answer));
  } catch (error) {
    return encoded(JSON.stringify(errorAnswer(new MessagingError('unreadable', `the answer has no JSON (${reasonOf(error)})`))));
  }
}

/**
 * What a handler is given of an envelope: an instance of its class, a plain object, or any value, whatever format it came in. What must be waited for is a
 * `LatePayload` until the attempt begins, so that waiting for it is part of the attempt: it has the handler's timeout, and its failure is retried. Keeps nothing.
 */
import type { Envelope } from './envelope.js';
import { type Codecs, LatePayload, anyOf, instanceOf } from './message-codec.js';
import type { Step } from './policies/step.js';
import type { Subscription } from './subscription.js';

export type Unread = Pick<Envelope, 'type' | 'version' | 'dataSchema' | 'contentType' | 'body'>;
type Wanted = Pick<Subscription, 'messageClass' | 'schema' | 'takesAny'>;

export class Payloads {
  constructor(private readonly codecs: Codecs) {}

  /** Whether there is anything that must be waited for. */
  get mayBeLate(): boolean {
    return !this.codecs.isPlain;
  }

  /** Throws a `MessagingError` of code `unreadable`. */
  open(envelope: Envelope, wanted: Wanted): object {
    const payload = this.codecs.decode(envelope);
    return payload instanceof Promise ? late(payload, wanted) : asWanted(payload, wanted);
  }

  /** Any value. Rejects with a `MessagingError` of code `unreadable`. */
  async read(envelope: Unread): Promise<unknown> {
    return this.codecs.decode(envelope);
  }
}

/** Waits for a payload that is late, before anything looks at it. */
export const opening: Step = (next) => (event, message) =>
  event instanceof LatePayload ? whenOpen(event, (payload) => next(payload, message)) : next(event, message);

async function whenOpen(payload: LatePayload, handle: (event: object) => Promise<unknown>): Promise<unknown> {
  return handle(await payload.open());
}

function late(payload: Promise<unknown>, wanted: Wanted): LatePayload {
  // It is under way already, and the attempt may be over before it looks.
  payload.catch(() => undefined);
  return new LatePayload(() => payload.then((value) => asWanted(value, wanted)));
}

function asWanted(payload: unknown, { messageClass, schema, takesAny }: Wanted): object {
  return takesAny === true ? (anyOf(payload) as object) : instanceOf(messageClass, payload, schema);
}

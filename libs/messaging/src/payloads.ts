/**
 * What a handler is given of an envelope: an instance of its class, a plain object, or any value, whatever format it came in. What must be waited for is a
 * `LatePayload` until the attempt begins, so that waiting for it is part of the attempt: it has the handler's timeout, and its failure is retried. Keeps nothing.
 */
import type { ClaimCheck } from './claims/claim-check.js';
import type { Envelope } from './envelope.js';
import { MessagingError } from './errors.js';
import { type Codecs, LatePayload, anyOf, instanceOf } from './message-codec.js';
import type { Step } from './policies/step.js';
import type { Subscription } from './subscription.js';

export type Unread = Pick<Envelope, 'type' | 'version' | 'dataSchema' | 'contentType' | 'body' | 'dataRef'>;
type Wanted = Pick<Subscription, 'messageClass' | 'schema' | 'takesAny'>;

export class Payloads {
  constructor(
    private readonly codecs: Codecs,
    private readonly claims?: ClaimCheck,
  ) {}

  /** Whether there is anything that must be waited for. */
  get mayBeLate(): boolean {
    return !this.codecs.isPlain || this.claims !== undefined;
  }

  /** Throws a `MessagingError` of code `unreadable`. */
  open(envelope: Envelope, wanted: Wanted): object {
    if (envelope.dataRef !== undefined && envelope.body.byteLength === 0) return this.#claimed(envelope, envelope.dataRef, wanted);
    const payload = this.codecs.decode(envelope);
    return payload instanceof Promise ? late(payload, wanted) : asWanted(payload, wanted);
  }

  /** Any value. Rejects with a `MessagingError` of code `unreadable`. */
  async read(envelope: Unread): Promise<unknown> {
    const { dataRef, body } = envelope;
    if (dataRef === undefined || body.byteLength > 0) return this.codecs.decode(envelope);
    return this.codecs.decode({ ...envelope, body: await this.#store(dataRef).fetch(dataRef) });
  }

  /** Fetched when the attempt begins, and each attempt anew: what waits for its turn holds no payload. */
  #claimed(envelope: Envelope, reference: string, wanted: Wanted): LatePayload {
    const store = this.#store(reference);
    return new LatePayload(async () => {
      const body = await store.fetch(reference);
      return asWanted(await this.codecs.decode({ ...envelope, body }), wanted);
    });
  }

  #store(reference: string): ClaimCheck {
    if (this.claims !== undefined) return this.claims;
    throw new MessagingError(
      'unreadable',
      `its payload is kept at ${reference}, and this service has no claim store: give the module the claimCheck of its publisher`,
    );
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

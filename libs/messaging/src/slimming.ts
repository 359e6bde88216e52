/**
 * The forms in which a message may be kept that the broker does not take as it is, because the trail that it carries by now makes it too large: each with
 * less than the one before it. Nothing but its payload leaves it, and that only where it is somewhere else. Pure.
 */
import type { Envelope } from './envelope.js';
import { isTooLarge } from './errors.js';
import { noHeaders, noTrail } from './envelope.js';

const noBytes = new Uint8Array(0);

/** Puts the payload into a claim store; nothing where there is none, or where it is there already. */
export type CheckIn = (envelope: Envelope) => Promise<Envelope | undefined>;

/** Tries `keep` with each form that may do until one is not too large; resolves to that one. Rejects with what `keep` said of the last one. */
export async function keepSlim(
  envelope: Envelope,
  keep: (form: Envelope) => Promise<void>,
  checkIn: CheckIn,
  /** Where the message stands still; where it does, its payload may be left out at last. */
  origin?: string,
): Promise<Envelope> {
  const forms: (() => Promise<Envelope | undefined>)[] = [
    () => Promise.resolve(envelope),
    () => checkIn(envelope),
    () => Promise.resolve(withoutHistory(envelope)),
    () => Promise.resolve(origin === undefined ? undefined : withoutPayload(envelope, origin)),
  ];
  let refusal: unknown;
  for (const formed of forms) {
    const form = await formed();
    if (form === undefined) continue;
    try {
      await keep(form);
      return form;
    } catch (error) {
      if (!isTooLarge(error)) throw error;
      refusal = error;
    }
  }
  throw refusal;
}

function withoutHistory(envelope: Envelope): Envelope | undefined {
  const { trail } = envelope;
  return trail === undefined || trail.history.length === 0 ? undefined : { ...envelope, trail: { ...trail, history: [] } };
}

/** Only of what is dead: whoever looks at it is told where the rest is. */
function withoutPayload(envelope: Envelope, origin: string): Envelope | undefined {
  const { trail = noTrail, body } = envelope;
  if (trail.death === undefined) return undefined;
  const reason = `its ${body.byteLength} bytes are too many for a dead letter, and stand at ${origin}, as long as they are kept there; ${trail.death.reason}`;
  return { ...envelope, headers: noHeaders, body: noBytes, trail: { ...trail, history: [], death: { ...trail.death, reason } } };
}

/**
 * Large payloads stay in a `ClaimStore`, and the message carries their reference as CloudEvents' `dataref`. A payload is put before its message is published: a
 * crash between the two leaves a claim that nobody asks for, which goes with its time; never a message without its payload.
 */
import type { Clock } from '@dovecote/ground';
import type { Envelope } from '../envelope.js';
import { MessagingError, reasonOf } from '../errors.js';
import { CLAIM_BYTES_UNDER_WAY_MAX, CLAIM_TIMEOUT_MS } from '../limits.js';
import type { Claim, ClaimStore } from './claim-store.js';

export interface ClaimCheckOptions {
  /** Where whoever handles the messages looks too. */
  readonly store: ClaimStore;
  /** Payloads of more bytes than this stay in the store; 256 KiB. */
  readonly overBytes?: number;
  /**
   * How long, in milliseconds, from the moment at which the message may be handled: longer than a message may wait in a queue, on a log or among the dead
   * letters; seven days.
   */
  readonly retentionMs?: number;
}

/** The options, checked and complete. */
export interface ClaimCheckSettings {
  readonly store: ClaimStore;
  readonly overBytes: number;
  readonly retentionMs: number;
}

const noBytes = new Uint8Array(0);

export class ClaimCheck {
  #bytesUnderWay = 0;

  constructor(
    private readonly settings: ClaimCheckSettings,
    private readonly clock: Clock,
  ) {}

  wants(bytes: number): boolean {
    return bytes > this.settings.overBytes;
  }

  /** The envelope with a reference in the place of its payload. Rejects with a `MessagingError` where the store does not take it. */
  async checkIn(envelope: Envelope, handledFromMs: number): Promise<Envelope> {
    const { id, type, contentType, body } = envelope;
    if (this.#bytesUnderWay + body.byteLength > CLAIM_BYTES_UNDER_WAY_MAX) {
      throw new MessagingError(
        'too-many-publishes',
        `${this.#bytesUnderWay} bytes are on their way into the claim store already: await the promise of publish before you publish more.`,
      );
    }
    this.#bytesUnderWay += body.byteLength;
    try {
      const claim: Claim = { messageId: id, type, contentType, keepUntilMs: handledFromMs + this.settings.retentionMs };
      return { ...envelope, dataRef: await this.#inTime(this.settings.store.put(body, claim)), body: noBytes };
    } catch (error) {
      throw new MessagingError(
        'publish-refused',
        `${type} ${id} was not published: the claim store did not take its ${body.byteLength} bytes (${reasonOf(error)}).`,
        { cause: error },
      );
    } finally {
      this.#bytesUnderWay -= body.byteLength;
    }
  }

  /** Of a message that certainly went nowhere. What stays for all that goes with its time. */
  async discard({ dataRef }: Envelope): Promise<void> {
    if (dataRef !== undefined) await this.settings.store.delete(dataRef).catch(() => undefined);
  }

  /** Rejects with a `MessagingError` of code `payload-missing`, which is tried again as any failure. */
  async fetch(reference: string): Promise<Uint8Array> {
    let payload: Uint8Array | undefined;
    try {
      payload = await this.#inTime(this.settings.store.get(reference));
    } catch (error) {
      throw new MessagingError('payload-missing', `its payload at ${reference} could not be fetched: ${reasonOf(error)}`, { cause: error });
    }
    if (payload !== undefined) return payload;
    throw new MessagingError(
      'payload-missing',
      `its payload is not at ${reference}: its time there is over, somebody deleted it, or the claim store of this service is not that of its publisher`,
    );
  }

  /** A store that never answers would hold the message, and its place, for ever. */
  #inTime<T>(answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const late = new Error(`the store did not answer within ${CLAIM_TIMEOUT_MS} ms`);
      const timer = this.clock.after(CLAIM_TIMEOUT_MS, () => reject(late));
      answer.then(resolve, reject).finally(() => timer.cancel());
    });
  }
}

/** Codes of refusals after which nothing of the message is anywhere. */
const WENT_NOWHERE: ReadonlySet<string> = new Set(['not-started', 'too-many-publishes', 'nobody-there', 'too-large']);

export function wentNowhere(error: unknown): boolean {
  return error instanceof MessagingError && WENT_NOWHERE.has(error.code);
}

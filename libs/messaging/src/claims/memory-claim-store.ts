import { type Clock, realGround } from '@dovecote/ground';
import { MessagingError } from '../errors.js';
import type { Claim, ClaimStore } from './claim-store.js';

const BYTES_MAX = 256 * 1024 * 1024;

interface Kept {
  readonly payload: Uint8Array;
  readonly keepUntilMs: number;
}

/** Payloads in this process, gone with it: for tests, and for a broker that is in memory too. Bounded; what is past its time makes room. */
export class MemoryClaimStore implements ClaimStore {
  readonly #kept = new Map<string, Kept>();
  #bytes = 0;
  #count = 0;

  constructor(
    private readonly clock: Pick<Clock, 'now'> = realGround().clock,
    private readonly bytesMax: number = BYTES_MAX,
  ) {}

  put(payload: Uint8Array, { keepUntilMs }: Claim): Promise<string> {
    if (this.#bytes + payload.byteLength > this.bytesMax) this.#forgetExpired();
    if (this.#bytes + payload.byteLength > this.bytesMax) {
      const refusal = `The claim store in memory has ${this.#bytes} of ${this.bytesMax} bytes already: keep them for a shorter time, or use FolderClaimStore.`;
      return Promise.reject(new MessagingError('publish-refused', refusal));
    }
    const reference = `claim:memory/${++this.#count}`;
    this.#kept.set(reference, { payload: Uint8Array.from(payload), keepUntilMs });
    this.#bytes += payload.byteLength;
    return Promise.resolve(reference);
  }

  get(reference: string): Promise<Uint8Array | undefined> {
    const kept = this.#kept.get(reference);
    const isThere = kept !== undefined && kept.keepUntilMs > this.clock.now();
    return Promise.resolve(isThere ? Uint8Array.from(kept.payload) : undefined);
  }

  delete(reference: string): Promise<void> {
    this.#bytes -= this.#kept.get(reference)?.payload.byteLength ?? 0;
    this.#kept.delete(reference);
    return Promise.resolve();
  }

  #forgetExpired(): void {
    const nowMs = this.clock.now();
    for (const [reference, { payload, keepUntilMs }] of this.#kept) {
      if (keepUntilMs > nowMs) continue;
      this.#kept.delete(reference);
      this.#bytes -= payload.byteLength;
    }
  }
}

/**
 * Where payloads are kept that are too large to travel: the message carries a claim, and whoever handles it fetches what it stands for. A claim is kept for its
 * time and then goes by itself: how many services still want it nobody knows. Every implementation passes the contract suite in testing.ts.
 */
export interface ClaimStore {
  /**
   * Keeps the payload until `claim.keepUntilMs` at least, and not for ever. Resolves to its reference, a URI, when it is as safe as the store promises; rejects
   * where it is not. Each call is a claim of its own. What becomes of the bytes afterwards is the caller's business.
   */
  put(payload: Uint8Array, claim: Claim): Promise<string>;
  /** The payload as it was put; nothing where it is gone, or never was. Rejects where the store cannot say, or what it has is damaged. */
  get(reference: string): Promise<Uint8Array | undefined>;
  /** Resolves also where there is nothing. */
  delete(reference: string): Promise<void>;
}

/** What a payload belongs to: for those who look into the store. */
export interface Claim {
  readonly messageId: string;
  readonly type: string;
  readonly contentType: string;
  /** Milliseconds since 1970-01-01 UTC. */
  readonly keepUntilMs: number;
}

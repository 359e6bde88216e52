/**
 * Which publishes the broker has confirmed. A broker may confirm one by one, out of order, or "all up to here"; each message counts once.
 *
 * In memory only. Asking for a tag that was never published, or confirming one twice by itself, is the broker's mistake and throws.
 */
export class ConfirmWindow {
  private readonly isConfirmed: Uint8Array;
  private readonly mask: number;
  private highest = 0;
  private lowest = 1;
  private count = 0;

  /** `inFlightMax` bounds how far the newest publish may be ahead of the oldest unconfirmed one. */
  constructor(inFlightMax: number) {
    const slots = 2 ** Math.ceil(Math.log2(inFlightMax + 1));
    this.isConfirmed = new Uint8Array(slots);
    this.mask = slots - 1;
  }

  /** How many messages are confirmed. */
  get confirmed(): number {
    return this.count;
  }

  /** How many are published and not confirmed. */
  get inFlight(): number {
    return this.highest - this.count;
  }

  /** How many more may be published: out-of-order confirms leave holes, so this can be less than the bound minus `inFlight`. */
  get room(): number {
    return this.mask + 1 - (this.highest + 1 - this.lowest);
  }

  publish(messages: number): void {
    for (let tag = this.highest + 1; tag <= this.highest + messages; tag++) this.isConfirmed[tag & this.mask] = 0;
    this.highest += messages;
  }

  /** Calls `each` once for every tag that this confirm is the first to name. */
  confirm(tag: number, isMultiple: boolean, each: (tag: number) => void): void {
    if (tag > this.highest || (tag === 0 && !isMultiple)) throw new Error(`the server confirmed message ${tag}, which was not published`);
    if (!isMultiple) {
      if (tag < this.lowest || this.isConfirmed[tag & this.mask] === 1) throw new Error(`the server confirmed message ${tag} twice`);
      this.mark(tag, each);
    } else {
      const last = tag === 0 ? this.highest : tag;
      for (let next = this.lowest; next <= last; next++) if (this.isConfirmed[next & this.mask] === 0) this.mark(next, each);
    }
    while (this.lowest <= this.highest && this.isConfirmed[this.lowest & this.mask] === 1) this.lowest++;
  }

  private mark(tag: number, each: (tag: number) => void): void {
    this.isConfirmed[tag & this.mask] = 1;
    this.count++;
    each(tag);
  }
}

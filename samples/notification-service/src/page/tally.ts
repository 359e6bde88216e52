/**
 * Counts events by what the processes said of them: how many were sent, confirmed and handled, and how often one was handled again.
 *
 * Facts may come in any order. An event is forgotten once it was sent, confirmed and handled and half a million newer ones are known, so that memory
 * does not grow with the length of a run; who handles a forgotten one again is still counted as a duplicate.
 */
const REMEMBERED_MAX = 500_000;

const SENT = 1;
const CONFIRMED = 2;
const HANDLED = 4;
const SETTLED = SENT | CONFIRMED | HANDLED;

export class Tally {
  sent = 0;
  confirmed = 0;
  /** Different events of this run that were handled. */
  handled = 0;
  /** Further handlings of the same events. */
  duplicate = 0;
  private strangers = 0;
  private hasForgotten = false;
  private readonly known = new Map<string, number>();
  /** Confirmed and not handled yet, oldest first, each with the number of the look that came before its confirmation. */
  readonly outstanding = new Map<string, number>();

  constructor(private readonly rememberedMax = REMEMBERED_MAX) {}

  /** Handled, but by their ids not sent in this run: left in an outside broker by an earlier one. */
  get unknown(): number {
    return this.strangers;
  }

  /** `look` is the number of the last look at the queue that has begun. */
  record(fact: string, id: string, look: number): void {
    const before = this.known.get(id) ?? 0;
    if (fact === 'handled') this.recordHandled(id, before);
    else if (fact === 'sent' && !(before & SENT)) {
      this.sent += 1;
      if (before & HANDLED) {
        this.handled += 1;
        this.strangers -= 1;
      }
      this.remember(id, before | SENT);
    } else if (fact === 'confirmed' && !(before & CONFIRMED)) {
      this.confirmed += 1;
      if (!(before & HANDLED)) this.outstanding.set(id, look);
      this.remember(id, before | CONFIRMED);
    }
  }

  private recordHandled(id: string, before: number): void {
    if (before & HANDLED || (before === 0 && this.hasForgotten)) {
      this.duplicate += 1;
      return;
    }
    if (before & SENT) this.handled += 1;
    else this.strangers += 1;
    this.outstanding.delete(id);
    this.remember(id, before | HANDLED);
  }

  private remember(id: string, facts: number): void {
    this.known.set(id, facts);
    if (this.known.size <= this.rememberedMax) return;
    // A tenth at a time: the walk past what cannot be forgotten is then paid rarely.
    let excess = Math.ceil(this.rememberedMax / 10);
    for (const [old, oldFacts] of this.known) {
      if (excess === 0) break;
      if (oldFacts !== SETTLED) continue;
      this.known.delete(old);
      this.hasForgotten = true;
      excess -= 1;
    }
  }
}

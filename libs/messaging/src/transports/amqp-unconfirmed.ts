/**
 * What was published and is not yet confirmed, in the order of publishing: that of its tags on the channel, and of its deadlines. Kept across channels, on
 * each of which the tags begin anew; in memory only.
 */
export interface Expiring {
  readonly deadlineMs: number;
}

export class Unconfirmed<Message extends Expiring> {
  /** Nothing in the place of what was confirmed before something older. */
  #messages: (Message | undefined)[] = [];
  /** Before it all are confirmed. */
  #head = 0;
  /** How many of this channel stood before the first place. */
  #dropped = 0;

  add(message: Message): void {
    this.#messages.push(message);
  }

  /** Takes out what the broker confirmed: that of the tag, or all up to it. A tag that is out already is nobody's. */
  confirm(tag: number, isMultiple: boolean, settle: (message: Message) => void): void {
    const last = Math.min(tag - this.#dropped, this.#messages.length) - 1;
    for (let at = isMultiple ? this.#head : Math.max(last, this.#head); at <= last; at++) {
      const message = this.#messages[at];
      this.#messages[at] = undefined;
      if (message !== undefined) settle(message);
    }
    while (this.#head < this.#messages.length && this.#messages[this.#head] === undefined) this.#head += 1;
    this.#shrink();
  }

  /** All of it, for another channel, or for nobody any more. */
  takeAll(): Message[] {
    const left = this.#messages.filter((message) => message !== undefined);
    this.#messages = [];
    this.#head = 0;
    this.#dropped = 0;
    return left;
  }

  /** The oldest ones, whose deadline is over. While there is a channel none may be taken: the broker still confirms it. */
  takeExpired(nowMs: number): Message[] {
    const expired: Message[] = [];
    for (; this.#head < this.#messages.length; this.#head += 1) {
      const message = this.#messages[this.#head];
      if (message === undefined) continue;
      if (message.deadlineMs > nowMs) break;
      this.#messages[this.#head] = undefined;
      expired.push(message);
    }
    this.#shrink();
    return expired;
  }

  #shrink(): void {
    if (this.#head < this.#messages.length ? this.#head < 1024 || this.#head * 2 < this.#messages.length : this.#head === 0) return;
    this.#dropped += this.#head;
    this.#messages = this.#messages.slice(this.#head);
    this.#head = 0;
  }
}

import type { Consumer } from './consumer.js';

/**
 * The consumers of one queue, and whose turn it is: those of the highest priority that can take a message, one after the other; or of a
 * single-active queue always the same one, until it leaves. Nothing of it is kept.
 */
export class ConsumerTurns {
  /** In the order of their priorities. */
  readonly all: Consumer[] = [];
  /** Of a single-active queue: who is given its messages. */
  active: Consumer | undefined;
  /** Their priorities differ. */
  private isRanked = false;
  private turn = 0;

  constructor(
    private readonly isSingleActive: boolean,
    /** One of a higher priority takes over from the active one as soon as nothing is out with that one, as in quorum queues. */
    private readonly mayTakeOver: boolean,
  ) {}

  add(consumer: Consumer): void {
    const { all } = this;
    if (consumer.priority !== 0) this.isRanked = true;
    const behind = this.isRanked ? all.findIndex(({ priority }) => priority < consumer.priority) : -1;
    all.splice(behind < 0 ? all.length : behind, 0, consumer);
    this.active ??= consumer;
  }

  /** False when it was not there. */
  remove(consumer: Consumer): boolean {
    const index = this.all.indexOf(consumer);
    if (index < 0) return false;
    this.all.splice(index, 1);
    if (index < this.turn) this.turn--;
    if (this.active === consumer) this.active = this.all[0];
    return true;
  }

  /** How many messages they could take now. */
  get appetite(): number {
    let appetite = 0;
    for (const consumer of this.all) {
      if (this.isSingleActive && consumer !== this.active) continue;
      const { noAck, prefetch, unacknowledgedCount, session } = consumer;
      if (session.isWritable) appetite += noAck || prefetch === 0 ? Infinity : Math.max(prefetch - unacknowledgedCount, 0);
    }
    return appetite;
  }

  /** Who is given the next message; undefined when nobody can take it. */
  next(): Consumer | undefined {
    const { all } = this;
    if (this.isSingleActive) return this.nextActive();
    if (this.isRanked) return this.nextRanked();
    const count = all.length;
    for (let i = 0; i < count; i++) {
      if (this.turn >= count) this.turn = 0;
      const consumer = all[this.turn++]!;
      if (consumer.isReady) return consumer;
    }
    return undefined;
  }

  private nextActive(): Consumer | undefined {
    const [first] = this.all;
    const { active } = this;
    if (active !== undefined && this.mayTakeOver && first!.priority > active.priority) {
      if (active.unacknowledgedCount > 0) return undefined;
      this.active = first;
    }
    return this.active?.isReady === true ? this.active : undefined;
  }

  /** The next of those with the highest priority that can take a message; it goes behind its equals. */
  private nextRanked(): Consumer | undefined {
    const { all } = this;
    const index = all.findIndex(({ isReady }) => isReady);
    const consumer = all[index];
    if (consumer === undefined) return undefined;
    const behind = all.findIndex(({ priority }, i) => i > index && priority < consumer.priority);
    all.splice(index, 1);
    all.splice(behind < 0 ? all.length : behind - 1, 0, consumer);
    return consumer;
  }
}

/**
 * What was acknowledged on a channel within one turn, told to the broker with as few words as it takes: one for everything below the first delivery that is
 * still out, and one for each above it. A handler that only computes is done with all that came in one read at the same time, and a word for each of them
 * cost more than the rest of a delivery. Nothing waits longer than the turn. Keeps the tags that are out, which prefetch bounds.
 */
import type { Message } from 'amqplib';
import type { Settling } from './amqp-receiving.js';

export class Acknowledgements {
  /** Tags that the broker waits for, in their order. */
  readonly #out = new Set<number>();
  #done: number[] = [];

  constructor(private readonly channel: Settling) {}

  get outCount(): number {
    return this.#out.size;
  }

  delivered(tag: number): void {
    this.#out.add(tag);
  }

  acknowledge(tag: number): void {
    if (this.#done.push(tag) === 1) queueMicrotask(() => this.flush());
  }

  /** Back to its queue, at once. */
  release(tag: number): void {
    this.#out.delete(tag);
    this.#tell(() => this.channel.nack(delivery(tag), false, true));
  }

  /** Before the channel is closed: what it was not told is handed out again. */
  flush(): void {
    const done = this.#done;
    if (done.length === 0) return;
    this.#done = [];
    for (const tag of done) this.#out.delete(tag);
    const [firstOut = Number.POSITIVE_INFINITY] = this.#out;
    let last = 0;
    for (const tag of done) {
      if (tag > firstOut) this.#tell(() => this.channel.ack(delivery(tag)));
      else if (tag > last) last = tag;
    }
    if (last > 0) this.#tell(() => this.channel.ack(delivery(last), true));
  }

  #tell(word: () => void): void {
    try {
      word();
    } catch {
      // The channel is ending; the broker hands the message out again.
    }
  }
}

/** All that the client looks at in a message that it acknowledges. */
function delivery(deliveryTag: number): Message {
  return { fields: { deliveryTag } } as Message;
}

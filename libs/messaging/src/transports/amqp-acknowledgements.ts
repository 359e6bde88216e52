/**
 * What was acknowledged on a channel within one turn, told to the broker with as few words as it takes: one for everything below the first delivery that is
 * still out, and one for each above it. A handler that only computes is done with all that came in one read at the same time, and a word for each of them
 * cost more than the rest of a delivery. Nothing waits longer than the turn. Keeps the tags that are out, which prefetch bounds.
 */
import type { Channel, ConsumeMessage, GetMessage } from 'amqplib';

type Delivery = ConsumeMessage | GetMessage;

export class Acknowledgements {
  /** Tags that the broker waits for, in their order. */
  readonly #out = new Set<number>();
  #done: Delivery[] = [];

  constructor(private readonly channel: Pick<Channel, 'ack' | 'nack'>) {}

  get outCount(): number {
    return this.#out.size;
  }

  delivered({ fields }: Delivery): void {
    this.#out.add(fields.deliveryTag);
  }

  acknowledge(delivery: Delivery): void {
    if (this.#done.push(delivery) === 1) queueMicrotask(() => this.flush());
  }

  /** Back to its queue, at once. */
  release(delivery: Delivery): void {
    this.#out.delete(delivery.fields.deliveryTag);
    this.#tell(() => this.channel.nack(delivery, false, true));
  }

  /** Before the channel is closed: what it was not told is handed out again. */
  flush(): void {
    const done = this.#done;
    if (done.length === 0) return;
    this.#done = [];
    for (const { fields } of done) this.#out.delete(fields.deliveryTag);
    const [firstOut = Number.POSITIVE_INFINITY] = this.#out;
    let last: Delivery | undefined;
    for (const delivery of done) {
      const tag = delivery.fields.deliveryTag;
      if (tag > firstOut) this.#tell(() => this.channel.ack(delivery));
      else if (last === undefined || tag > last.fields.deliveryTag) last = delivery;
    }
    const lastOfAll = last;
    if (lastOfAll !== undefined) this.#tell(() => this.channel.ack(lastOfAll, true));
  }

  #tell(word: () => void): void {
    try {
      word();
    } catch {
      // The channel is ending; the broker hands the message out again.
    }
  }
}

/**
 * How messages get onto a channel of amqplib that confirms.
 *
 * By the way that amqplib's API has for it, a message costs its sender four times what it must (docs/decisions/amqp-client.md). So where amqplib is as we know
 * it inside, and nobody has wrapped its `publish` to look on, the bytes of all that is published in one turn are written into the channel's own way to the
 * socket as one piece, and confirms are read from the channel's events; everything else of the connection stays amqplib's. Where it is another inside, its
 * API is used. Keeps what was not yet handed over, until the turn ends.
 */
import { nextTick } from 'node:process';
import type { ConfirmChannel } from 'amqplib';
import { type Publishable, PublishFrames } from './amqp-publish-frames.js';
import { toProperties } from './cloud-events.js';

/** Of the message that was sent as the `tag`th on this channel, from 1, or of all up to it. */
export type Confirmed = (tag: number, isMultiple: boolean, isTaken: boolean) => void;

export interface Sending {
  /** Throws a `RangeError`, and sends nothing, where the message cannot be said in AMQP. On a channel that is ending it goes nowhere. */
  send(message: Publishable): void;
}

export function sendingOn(channel: ConfirmChannel, confirmed: Confirmed): Sending {
  return isAsWeKnowIt(channel) ? new FrameSending(channel, confirmed) : new ClientSending(channel, confirmed);
}

/** What we use of the inside of amqplib 2.3. */
export interface KnownChannel extends Pick<ConfirmChannel, 'on'> {
  readonly ch: number;
  readonly connection: {
    readonly frameMax: number;
    readonly channels: readonly ({ readonly channel: unknown; readonly buffer: { write(bytes: Buffer): boolean } } | null | undefined)[];
    sentSinceLastCheck: boolean;
  };
}

export function isAsWeKnowIt(channel: unknown): channel is KnownChannel {
  const inside = channel as KnownChannel & Pick<ConfirmChannel, 'listenerCount'> & { readonly publish: object };
  const { ch, connection } = inside;
  const way = connection?.channels?.[ch];
  return (
    typeof ch === 'number' &&
    typeof connection?.frameMax === 'number' &&
    typeof connection.sentSinceLastCheck === 'boolean' &&
    way != null &&
    way.channel === channel &&
    typeof way.buffer?.write === 'function' &&
    inside.listenerCount('ack') > 0 &&
    inside.listenerCount('nack') > 0 &&
    // What instruments amqplib marks what it wraps.
    !('__wrapped' in inside.publish)
  );
}

interface Confirmation {
  readonly deliveryTag: number;
  readonly multiple: boolean;
}

class FrameSending implements Sending {
  readonly #frames: PublishFrames;

  constructor(
    private readonly channel: KnownChannel,
    confirmed: Confirmed,
  ) {
    this.#frames = new PublishFrames(channel.ch, channel.connection.frameMax);
    // Not among the events that its types know.
    const on = channel.on.bind(channel) as (event: string, listener: (confirmation: Confirmation) => void) => void;
    on('ack', ({ deliveryTag, multiple }) => confirmed(deliveryTag, multiple, true));
    on('nack', ({ deliveryTag, multiple }) => confirmed(deliveryTag, multiple, false));
  }

  send(message: Publishable): void {
    const isFirst = this.#frames.isEmpty;
    this.#frames.append(message);
    // Behind all that the confirms which are being read make others publish.
    if (isFirst) nextTick(() => this.#flush());
  }

  #flush(): void {
    const pieces = this.#frames.take();
    const { ch, connection } = this.channel;
    const way = connection.channels[ch];
    // The channel has ended; another one may have its number.
    if (way?.channel !== this.channel) return;
    connection.sentSinceLastCheck = true;
    for (const piece of pieces) way.buffer.write(piece);
  }
}

/** What amqplib says when the broker answered with basic.nack; every other error there is the end of the channel. */
const NACKED = 'message nacked';

class ClientSending implements Sending {
  #sent = 0;

  constructor(
    private readonly channel: ConfirmChannel,
    private readonly confirmed: Confirmed,
  ) {}

  send({ envelope, address, isMandatory }: Publishable): void {
    const { exchange, routingKey, copies } = address;
    const { buffer, byteOffset, byteLength } = envelope.body;
    const options = { ...toProperties(envelope), mandatory: isMandatory, ...(copies !== undefined && { CC: copies }) };
    const tag = this.#sent + 1;
    const confirmed = (error: Error | null): void => {
      // The channel ended: whether it arrived nobody knows.
      if (error === null || error.message === NACKED) this.confirmed(tag, false, error === null);
    };
    try {
      this.channel.publish(exchange, routingKey, Buffer.from(buffer, byteOffset, byteLength), options, confirmed);
      this.#sent = tag;
    } catch (error) {
      if (error instanceof RangeError) throw error;
      // The channel is ending.
    }
  }
}

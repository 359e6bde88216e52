/**
 * Takes the usual deliveries of a connection out of what amqplib has read and not yet looked at, before it makes objects of their frames; everything else
 * amqplib reads as ever. Only where amqplib is as we know it inside, and nobody has wrapped its `consume` to look on (docs/decisions/amqp-client.md).
 */
import type { Channel, ChannelModel } from 'amqplib';
import { type ConsumerOfChannel, DeliveryReader } from './amqp-deliveries.js';

/** What we use of the inside of amqplib 2.3. */
interface KnownConnection {
  /** Read from the socket, and not yet a frame. */
  rest: Buffer;
  /** Looks at `rest`, and reads on, calling itself, while that is no whole frame. */
  recvFrame(): unknown;
  readonly channels: readonly ({ readonly channel: unknown } | null | undefined)[];
}

export interface Receiving {
  /** From now on, until the channel ends. What came before, and what is unusual, still comes to the consumer of amqplib. */
  consume(channel: Channel, tag: string, onDelivery: ConsumerOfChannel['onDelivery']): void;
}

/** Nothing where amqplib is another inside. */
export function receivingOn(connection: ChannelModel): Receiving | undefined {
  const inside = (connection as { readonly connection?: unknown }).connection;
  return isKnownInside(inside) ? new FrameReceiving(inside) : undefined;
}

export function isKnownInside(connection: unknown): connection is KnownConnection {
  if (typeof connection !== 'object' || connection === null) return false;
  const { rest, recvFrame, channels } = connection as Partial<KnownConnection>;
  return Buffer.isBuffer(rest) && typeof recvFrame === 'function' && recvFrame.length === 0 && Array.isArray(channels);
}

class FrameReceiving implements Receiving {
  readonly #reader = new DeliveryReader();

  constructor(connection: KnownConnection) {
    const readFrame = connection.recvFrame.bind(connection);
    connection.recvFrame = () => {
      const taken = this.#reader.read(connection.rest);
      if (taken > 0) connection.rest = connection.rest.subarray(taken);
      return readFrame();
    };
  }

  consume(channel: Channel, tag: string, onDelivery: ConsumerOfChannel['onDelivery']): void {
    const { ch, consume } = channel as unknown as { readonly ch?: unknown; readonly consume: object };
    // What instruments amqplib marks what it wraps.
    if (typeof ch !== 'number' || '__wrapped' in consume) return;
    this.#reader.consume(ch, { tag: Buffer.from(tag), onDelivery });
    channel.once('close', () => this.#reader.forget(ch));
  }
}

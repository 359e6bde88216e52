/**
 * Takes the usual deliveries of a connection out of what amqplib has read and not yet looked at, before it makes objects of their frames; everything else
 * amqplib reads as ever. What becomes of them is said straight to the socket. Only where amqplib is as we know it inside, and nobody has wrapped its
 * `consume` to look on (docs/decisions/amqp-client.md).
 */
import type { Channel, ChannelModel, Message } from 'amqplib';
import { type ConsumerOfChannel, DeliveryReader } from './amqp-deliveries.js';

/** What we use of the inside of amqplib 2.3. */
interface KnownConnection {
  /** Read from the socket, and not yet a frame. */
  rest: Buffer;
  /** Looks at `rest`, and reads on, calling itself, while that is no whole frame. */
  recvFrame(): unknown;
  readonly channels: readonly ({ readonly channel: unknown } | null | undefined)[];
  /** To the socket, before what channels still have to say. */
  sendBytes(bytes: Buffer): void;
}

/** What is said of deliveries, in the order in which it is said. */
export type Settling = Pick<Channel, 'ack' | 'nack'>;

export interface Receiving {
  /** From now on, until the channel ends. What came before, and what is unusual, still comes to the consumer of amqplib. */
  consume(channel: Channel, tag: string, onDelivery: ConsumerOfChannel['onDelivery']): void;
  /** Of all deliveries of this channel, or of none: through the channel itself it would come later. */
  settling(channel: Channel): Settling;
}

/** Nothing where amqplib is another inside. */
export function receivingOn(connection: ChannelModel): Receiving | undefined {
  const inside = (connection as { readonly connection?: unknown }).connection;
  return isKnownInside(inside) ? new FrameReceiving(inside) : undefined;
}

export function isKnownInside(connection: unknown): connection is KnownConnection {
  if (typeof connection !== 'object' || connection === null) return false;
  const { rest, recvFrame, sendBytes, channels } = connection as { readonly [Name in keyof KnownConnection]?: unknown };
  return Buffer.isBuffer(rest) && isFunctionOf(0, recvFrame) && isFunctionOf(1, sendBytes) && Array.isArray(channels);
}

function isFunctionOf(parameters: number, value: unknown): boolean {
  return typeof value === 'function' && value.length === parameters;
}

class FrameReceiving implements Receiving {
  readonly #reader = new DeliveryReader();

  constructor(private readonly connection: KnownConnection) {
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

  settling(channel: Channel): Settling {
    const { ch } = channel as unknown as { readonly ch?: unknown };
    return typeof ch === 'number' ? new FrameSettling(this.connection, channel, ch) : channel;
  }
}

const FRAME_END = 0xce;
const ACK = 80;
const NACK = 120;

/** A way through the channel costs as much as all the rest of a delivery that comes alone. */
class FrameSettling implements Settling {
  constructor(
    private readonly connection: KnownConnection,
    private readonly channel: Channel,
    private readonly number: number,
  ) {}

  ack({ fields: { deliveryTag } }: Message, isAllUpTo = false): void {
    this.#say(ACK, deliveryTag, isAllUpTo ? 1 : 0);
  }

  nack({ fields: { deliveryTag } }: Message, isAllUpTo = false, isRequeued = true): void {
    this.#say(NACK, deliveryTag, (isAllUpTo ? 1 : 0) + (isRequeued ? 2 : 0));
  }

  #say(method: number, deliveryTag: number, bits: number): void {
    // The channel has ended; another one may have its number.
    if (this.connection.channels[this.number]?.channel !== this.channel) return;
    const frame = Buffer.from([1, 0, 0, 0, 0, 0, 13, 0, 60, 0, method, 0, 0, 0, 0, 0, 0, 0, 0, bits, FRAME_END]);
    frame.writeUInt16BE(this.number, 1);
    frame.writeUInt32BE(Math.floor(deliveryTag / 0x1_0000_0000), 11);
    frame.writeUInt32BE(deliveryTag >>> 0, 15);
    this.connection.sendBytes(frame);
  }
}

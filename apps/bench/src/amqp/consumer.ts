/**
 * The consuming half of the load: counts what is delivered, acknowledges in ranges, and looks at the stamped messages only.
 *
 * Every stamped message must come back with the number it was published under, or order was lost and the run is void.
 */
import { CHANNEL, type AmqpConnection } from './connection.js';
import { STAMP_EVERY, stampOf } from './publisher.js';
import { Samples } from '../statistics.js';
import { Method, methodFrame, readU64, u64, u8, writeU64 } from './wire.js';

/** Class and method, then the tag: where the tag stands in an ack frame. */
const TAG_OFFSET = 7 + 4;

export interface ConsumerOptions {
  /** Acknowledges all so far after each so many messages; undefined consumes without acknowledgement. */
  readonly ackEvery?: number;
}

export class Consumer {
  readonly latencyMs = new Samples();
  private readonly ack = methodFrame(CHANNEL, Method.basicAck, u64(0), u8(1));
  private readonly acks: Buffer[] = [];
  private deliveredCount = 0;
  private lastTag = 0;
  private lastAckedTag = 0;
  private untilAck: number;

  constructor(
    private readonly connection: AmqpConnection,
    private readonly options: ConsumerOptions,
  ) {
    this.untilAck = options.ackEvery ?? Number.POSITIVE_INFINITY;
    connection.traffic.onDeliver = (bytes, offset) => this.takeDeliver(bytes, offset);
    connection.traffic.onBody = (bytes, offset) => this.takeBody(bytes, offset);
  }

  get delivered(): number {
    return this.deliveredCount;
  }

  /** Sends the acknowledgements that have gathered, in one write. Call it after each chunk. */
  flush(): void {
    if (this.acks.length === 0) return;
    this.connection.write(this.acks.length === 1 ? (this.acks[0] as Buffer) : Buffer.concat(this.acks));
    this.acks.length = 0;
  }

  /** Acknowledges the rest, at the end. */
  ackRest(): void {
    if (this.options.ackEvery !== undefined && this.lastTag > this.lastAckedTag) this.gatherAck();
    this.flush();
  }

  private takeDeliver(bytes: Buffer, offset: number): void {
    this.deliveredCount++;
    this.lastTag = readU64(bytes, offset + 1 + (bytes[offset] as number));
    if (--this.untilAck === 0) this.gatherAck();
  }

  private gatherAck(): void {
    const ack = Buffer.from(this.ack);
    writeU64(ack, TAG_OFFSET, this.lastTag);
    this.acks.push(ack);
    this.lastAckedTag = this.lastTag;
    this.untilAck = this.options.ackEvery as number;
  }

  private takeBody(bytes: Buffer, offset: number): void {
    const n = this.deliveredCount - 1;
    if (n % STAMP_EVERY !== 0) return;
    const stampedNumber = bytes.readUInt32BE(offset + 8);
    if (stampedNumber !== stampOf(n)) throw new Error(`message ${stampedNumber} came in place ${n}: lost, doubled or out of order`);
    this.latencyMs.add(performance.now() - bytes.readDoubleBE(offset));
  }
}

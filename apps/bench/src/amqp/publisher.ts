/**
 * The publishing half of the load: writes publishes that were encoded beforehand, as fast as two bounds allow.
 *
 * A ring of encoded triples (method, header, body) is written over and over, many at a time: messages that differ, by their keys
 * say, take turns. One message in STAMP_EVERY carries its number and the moment it was written, or was due to be; stamping it in place is safe because a slot is used again only after the socket took its bytes.
 * So what it costs per message is little more than copying the bytes into the socket.
 */
import { ConfirmWindow } from './confirm-window.js';
import { CHANNEL, type AmqpConnection } from './connection.js';
import { Samples } from '../statistics.js';
import { publishTriple, type PublishedMessage } from './wire.js';

export const STAMP_EVERY = 16;
/** Room for a stamp: the moment (8 bytes) and the message's number (4). */
export const BODY_BYTES_MIN = 12;
/** A message's number as it is stamped into four bytes. */
export function stampOf(n: number): number {
  return n % 4_294_967_296;
}
const RING_MESSAGES_MIN = 8192;
/** What stands in a body that carries no stamp; no moment begins with it. */
export const UNSTAMPED = 0x2e;
const WRITE_MESSAGES_MAX = 512;
/** Writes in one turn of the loop; more would keep the reading half waiting. */
const WRITES_PER_TURN_MAX = 4;
const UNWRITTEN_BYTES_MAX = 524_288;

/** What one message is, but for its body. */
export type MessageKind = Omit<PublishedMessage, 'body' | 'isPersistent'>;

export interface PublisherOptions {
  /** They take turns. As many as a multiple of STAMP_EVERY, or fewer than a few hundred. */
  readonly kinds: readonly MessageKind[];
  readonly bodyBytes: number;
  readonly isPersistent: boolean;
  /** Publishes without a confirm at most; undefined publishes without asking for confirms. */
  readonly confirmsInFlightMax?: number;
  /** The publisher stops while it returns 0 or less: what else bounds it, such as the depth of the queue. */
  readonly room: () => number;
  /** When message `n` was due, in an open loop; its times count from then on, however late it is written. */
  readonly dueAt?: (n: number) => number;
}

export class Publisher {
  readonly confirmLatencyMs = new Samples();
  private readonly ring: Buffer;
  private readonly ringMessages: number;
  /** Where each triple of the ring begins, and where the last one ends. */
  private readonly starts: Uint32Array;
  private readonly confirms: ConfirmWindow | undefined;
  private readonly writtenAt: Float64Array;
  private publishedCount = 0;
  private flushedCount = 0;
  private now = 0;
  private isTurnAsked = false;
  private limit = 0;

  constructor(
    private readonly connection: AmqpConnection,
    private readonly options: PublisherOptions,
  ) {
    const { kinds, bodyBytes, isPersistent } = options;
    if (bodyBytes < BODY_BYTES_MIN) throw new Error(`a body needs ${BODY_BYTES_MIN} bytes for its stamp`);
    const body = Buffer.alloc(bodyBytes, UNSTAMPED);
    const triples = kinds.map((kind) => publishTriple(CHANNEL, { ...kind, body, isPersistent }));
    const turns = Math.ceil(RING_MESSAGES_MIN / kinds.length / STAMP_EVERY) * STAMP_EVERY;
    this.ringMessages =
      kinds.length % STAMP_EVERY === 0 ? kinds.length * Math.ceil(RING_MESSAGES_MIN / kinds.length) : kinds.length * turns;
    this.starts = new Uint32Array(this.ringMessages + 1);
    for (let n = 0; n < this.ringMessages; n++) this.starts[n + 1] = this.starts[n]! + triples[n % kinds.length]!.length;
    const all = Buffer.concat(triples);
    this.ring = Buffer.alloc(this.starts[this.ringMessages]!, all);
    this.writtenAt = new Float64Array(this.ringMessages / STAMP_EVERY);
    this.confirms = options.confirmsInFlightMax === undefined ? undefined : new ConfirmWindow(options.confirmsInFlightMax);
    connection.traffic.onConfirm = (tag, isMultiple, isRejected) => this.takeConfirm(tag, isMultiple, isRejected);
  }

  get published(): number {
    return this.publishedCount;
  }

  get confirmed(): number {
    return this.confirms?.confirmed ?? 0;
  }

  /** Publishes until `count` messages in all are out. Call `pump` when something made room. */
  run(count = Number.POSITIVE_INFINITY): void {
    this.limit = count;
    this.pump();
  }

  /** Publishes nothing more. */
  stop(): void {
    this.limit = 0;
  }

  /** Writes what the bounds allow now, a few writes at most, and asks for another turn if there is more. */
  pump(): void {
    if (this.limit <= this.publishedCount) return;
    this.now = performance.now();
    for (let writes = 0; writes < WRITES_PER_TURN_MAX; writes++) {
      const messages = this.room();
      if (messages <= 0) return;
      this.writeMessages(messages);
    }
    this.askForTurn();
  }

  private room(): number {
    if (this.connection.unwrittenBytes > UNWRITTEN_BYTES_MAX) return 0;
    const { ringMessages } = this;
    const next = this.publishedCount % ringMessages;
    let room = Math.min(WRITE_MESSAGES_MAX, this.limit - this.publishedCount, this.options.room());
    room = Math.min(room, ringMessages - next, ringMessages - (this.publishedCount - this.flushedCount));
    if (this.confirms) {
      room = Math.min(room, this.confirms.room, (this.options.confirmsInFlightMax as number) - this.confirms.inFlight);
    }
    return room;
  }

  private writeMessages(messages: number): void {
    const first = this.publishedCount;
    const end = first + messages;
    for (let n = Math.ceil(first / STAMP_EVERY) * STAMP_EVERY; n < end; n += STAMP_EVERY) this.stamp(n);
    const slot = first % this.ringMessages;
    this.publishedCount = end;
    this.confirms?.publish(messages);
    this.connection.write(this.ring.subarray(this.starts[slot], this.starts[slot + messages]), (error) => {
      // A broken socket is told by the connection; going on here would publish into nothing for ever.
      if (error) return this.stop();
      this.flushedCount = end;
      this.askForTurn();
    });
  }

  private stamp(n: number): void {
    const slot = n % this.ringMessages;
    const body = this.starts[slot + 1]! - 1 - this.options.bodyBytes;
    const moment = this.options.dueAt?.(n) ?? this.now;
    this.ring.writeDoubleBE(moment, body);
    this.ring.writeUInt32BE(stampOf(n), body + 8);
    this.writtenAt[slot / STAMP_EVERY] = moment;
  }

  /** Not from within the write's callback: a socket that always has room would keep calling it, and nothing else would run. */
  private askForTurn(): void {
    if (this.isTurnAsked) return;
    this.isTurnAsked = true;
    setImmediate(() => {
      this.isTurnAsked = false;
      this.pump();
    });
  }

  private takeConfirm(tag: number, isMultiple: boolean, isRejected: boolean): void {
    if (isRejected) throw new Error(`the server refused message ${tag}`);
    if (!this.confirms) throw new Error('the server confirmed a message although nobody asked for confirms');
    const now = performance.now();
    this.confirms.confirm(tag, isMultiple, (confirmed) => {
      const n = confirmed - 1;
      if (n % STAMP_EVERY === 0) this.confirmLatencyMs.add(now - (this.writtenAt[(n % this.ringMessages) / STAMP_EVERY] as number));
    });
  }
}

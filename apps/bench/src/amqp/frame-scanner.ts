/**
 * Walks a stream of AMQP frames by their length and tells what a load generator must know: a message came, some were confirmed.
 *
 * The bytes handed out are valid during the call only: the socket reads its next chunk into the same buffer. A frame that a chunk
 * cuts is put together in a second buffer, so each byte is copied at most once. Nothing is allocated per frame.
 */
import { FRAME_BYTES_MAX, FRAME_END, FRAME_OVERHEAD_BYTES, FrameType, Method, readU64 } from './wire.js';

const HEADER_BYTES = 7;

export interface FrameHandler {
  /** The arguments of basic.deliver begin at `offset`: consumer tag, delivery tag, and what else nobody here needs. */
  onDeliver(bytes: Buffer, offset: number): void;
  onBody(bytes: Buffer, offset: number, length: number): void;
  onConfirm(tag: number, isMultiple: boolean, isRejected: boolean): void;
  /** Every other method; `payload` begins with class and method and is a copy. */
  onMethod(id: number, payload: Buffer): void;
}

export class FrameScanner {
  private readonly cut = Buffer.allocUnsafe(FRAME_BYTES_MAX + FRAME_OVERHEAD_BYTES);
  private cutBytes = 0;

  constructor(private readonly handler: FrameHandler) {}

  /** Takes the first `length` bytes of `chunk`. Throws when they cannot be AMQP. */
  push(chunk: Buffer, length: number): void {
    let at = this.cutBytes > 0 ? this.completeCutFrame(chunk, length) : 0;
    while (length - at >= HEADER_BYTES) {
      const end = at + this.frameBytes(chunk, at);
      if (end > length) break;
      this.readFrame(chunk, at, end);
      at = end;
    }
    if (at < length) this.cutBytes += chunk.copy(this.cut, this.cutBytes, at, length);
  }

  /** Where the first whole frame of `chunk` begins. */
  private completeCutFrame(chunk: Buffer, length: number): number {
    let at = 0;
    if (this.cutBytes < HEADER_BYTES) {
      at = Math.min(HEADER_BYTES - this.cutBytes, length);
      this.cutBytes += chunk.copy(this.cut, this.cutBytes, 0, at);
      if (this.cutBytes < HEADER_BYTES) return at;
    }
    const total = this.frameBytes(this.cut, 0);
    const taken = Math.min(total - this.cutBytes, length - at);
    this.cutBytes += chunk.copy(this.cut, this.cutBytes, at, at + taken);
    if (this.cutBytes < total) return length;
    this.cutBytes = 0;
    this.readFrame(this.cut, 0, total);
    return at + taken;
  }

  private frameBytes(bytes: Buffer, at: number): number {
    const total = bytes.readUInt32BE(at + 3) + FRAME_OVERHEAD_BYTES;
    if (total > FRAME_BYTES_MAX) throw new Error(`the server sent a frame of ${total} bytes: more than agreed, or not AMQP`);
    return total;
  }

  private readFrame(bytes: Buffer, at: number, end: number): void {
    if (bytes[end - 1] !== FRAME_END) throw new Error('the server sent a frame without its end octet');
    const type = bytes[at];
    const payload = at + HEADER_BYTES;
    if (type === FrameType.body) this.handler.onBody(bytes, payload, end - 1 - payload);
    else if (type === FrameType.method) this.readMethod(bytes, payload, end - 1);
    else if (type !== FrameType.header && type !== FrameType.heartbeat) throw new Error(`the server sent a frame of unknown type ${type}`);
  }

  private readMethod(bytes: Buffer, payload: number, end: number): void {
    const id = bytes.readUInt32BE(payload);
    if (id === Method.basicDeliver) {
      this.handler.onDeliver(bytes, payload + 4);
    } else if (id === Method.basicAck || id === Method.basicNack) {
      const isMultiple = ((bytes[payload + 12] ?? 0) & 1) === 1;
      this.handler.onConfirm(readU64(bytes, payload + 4), isMultiple, id === Method.basicNack);
    } else {
      this.handler.onMethod(id, Buffer.from(bytes.subarray(payload, end)));
    }
  }
}

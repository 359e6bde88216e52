import { frameEnd, frameOverheadBytes } from '../queues/content.js';

/**
 * Cuts what a socket delivers into frames, without gathering anything that is already whole.
 *
 *   | type u8 | channel u16 | size u32 | payload | CE |
 *
 * A frame that lies in one chunk is read where it stands. One that is split gets a buffer of exactly its size, once, and only
 * after its head was checked against the limit; so a stranger makes us keep at most one frame beside the chunk in hand.
 * The receiver may hold: then nothing more is read until `release`, and the frame at hand is offered again. What is kept is copied, so the
 * chunk may be used again when `push` returns. Wire code: no I/O.
 */
export const frameHeadBytes = 7;

export const frameTypes = { method: 1, header: 2, body: 3, heartbeat: 8 } as const;

/** RabbitMQ forgives a client that counts the frame's own 8 bytes wrongly. */
const forgivenBytes = 8;

export interface FrameReceiver {
  /**
   * A look at what begins at `at`, before it is known to be whole: returns where the receiver wants to go on, or `at` to be
   * given the frame alone. This is the lane for publishes and acknowledgements.
   */
  takeFast(bytes: Buffer, view: DataView, at: number, end: number): number;
  /** A whole frame; its payload is `bytes[start..end)`. False: not now (the receiver has called `hold`), offer it again. */
  takeFrame(type: number, channel: number, bytes: Buffer, start: number, end: number): boolean;
  /** Nothing can be read behind a frame like this one. */
  refuseFrame(reason: 'too-large' | 'no-frame-end', type: number, size: number, payload: Buffer, endOctet: number): void;
}

export class FrameReader {
  /** The whole frame, with its head and its end, as negotiated. */
  frameBytesMax: number;
  private isHeld = false;
  private isStopped = false;
  private isReading = false;
  /** The chunk in hand is somebody else's, and not from the backlog. */
  private isLent = false;
  /** What came while we were held, in order. */
  private readonly backlog: Buffer[] = [];
  private readonly head = Buffer.alloc(frameHeadBytes);
  private headBytes = 0;
  private partial: Buffer | undefined;
  private partialBytes = 0;

  constructor(
    private readonly receiver: FrameReceiver,
    frameBytesMax: number,
  ) {
    this.frameBytesMax = frameBytesMax;
  }

  /** Reads no more until `release`; call it from within `takeFast` or `takeFrame` too, which then must not take. */
  hold(): void {
    this.isHeld = true;
  }

  /** Goes on with what was kept. */
  release(): void {
    this.isHeld = false;
    if (this.isReading) return;
    while (!this.isHeld && !this.isStopped) {
      const bytes = this.backlog.shift();
      if (bytes === undefined) return;
      this.isLent = false;
      this.read(bytes);
    }
  }

  /** Forgets everything, now and later. */
  stop(): void {
    this.isStopped = true;
    this.backlog.length = 0;
    this.partial = undefined;
  }

  push(bytes: Buffer): void {
    if (this.isStopped) return;
    if (this.isHeld || this.backlog.length > 0) {
      this.backlog.push(Buffer.from(bytes));
      return;
    }
    this.isLent = true;
    this.read(bytes);
  }

  private read(bytes: Buffer): void {
    this.isReading = true;
    let at = this.headBytes > 0 || this.partial !== undefined ? this.readSplit(bytes) : 0;
    const end = bytes.length;
    const view = new DataView(bytes.buffer, bytes.byteOffset, end);
    while (at < end && !this.isHeld && !this.isStopped) {
      const next = this.receiver.takeFast(bytes, view, at, end);
      if (next !== at) at = next;
      else if (!this.isHeld) at = this.readFrame(bytes, at, end);
    }
    this.isReading = false;
    if (at < end && this.isHeld && !this.isStopped) this.backlog.unshift(this.kept(bytes, at));
  }

  /** The bytes from `at` on, for later. */
  private kept(bytes: Buffer, at: number): Buffer {
    const rest = bytes.subarray(at);
    return this.isLent ? Buffer.from(rest) : rest;
  }

  /** Takes the frame at `at`, or keeps what there is of it. Returns where to go on. */
  private readFrame(bytes: Buffer, at: number, end: number): number {
    if (end - at < frameHeadBytes) {
      this.headBytes = bytes.copy(this.head, 0, at, end);
      return end;
    }
    const size = bytes.readUInt32BE(at + 3);
    if (this.isTooLarge(size, bytes, at)) return end;
    const frameBytesWhole = size + frameOverheadBytes;
    if (at + frameBytesWhole > end) {
      this.partial = Buffer.allocUnsafe(frameBytesWhole);
      this.partialBytes = bytes.copy(this.partial, 0, at, end);
      return end;
    }
    return this.takeWhole(bytes, at, size) ? at + frameBytesWhole : at;
  }

  /** Completes the frame that an earlier chunk began. Returns where the next one begins. */
  private readSplit(bytes: Buffer): number {
    let at = 0;
    if (this.partial === undefined) {
      at = bytes.copy(this.head, this.headBytes, 0, frameHeadBytes - this.headBytes);
      this.headBytes += at;
      if (this.headBytes < frameHeadBytes) return at;
      this.headBytes = 0;
      const size = this.head.readUInt32BE(3);
      if (this.isTooLarge(size, this.head, 0)) return bytes.length;
      this.partial = Buffer.allocUnsafe(size + frameOverheadBytes);
      this.partialBytes = this.head.copy(this.partial);
    }
    const taken = bytes.copy(this.partial, this.partialBytes, at);
    this.partialBytes += taken;
    if (this.partialBytes < this.partial.length) return at + taken;
    const whole = this.partial;
    this.partial = undefined;
    if (!this.takeWhole(whole, 0, whole.length - frameOverheadBytes)) {
      this.backlog.unshift(whole, this.kept(bytes, at + taken));
      return bytes.length;
    }
    return at + taken;
  }

  private isTooLarge(size: number, bytes: Buffer, at: number): boolean {
    if (size <= this.frameBytesMax - frameOverheadBytes + forgivenBytes) return false;
    this.refuse('too-large', bytes, at, size, Buffer.alloc(0));
    return true;
  }

  private takeWhole(bytes: Buffer, at: number, size: number): boolean {
    const payloadAt = at + frameHeadBytes;
    const payloadEnd = payloadAt + size;
    if (bytes[payloadEnd] === frameEnd) {
      return this.receiver.takeFrame(bytes[at]!, bytes.readUInt16BE(at + 1), bytes, payloadAt, payloadEnd);
    }
    this.refuse('no-frame-end', bytes, at, size, bytes.subarray(payloadAt, payloadEnd));
    return true;
  }

  private refuse(reason: 'too-large' | 'no-frame-end', bytes: Buffer, at: number, size: number, payload: Buffer): void {
    this.receiver.refuseFrame(reason, bytes[at]!, size, payload, bytes[at + frameHeadBytes + size] ?? 0);
    this.stop();
  }
}

/** Whether a frame of this type can be so small. */
export function isKnownFrame(type: number, size: number): boolean {
  if (type === frameTypes.method) return size >= 4;
  return type === frameTypes.header ? size >= 12 : type === frameTypes.body;
}

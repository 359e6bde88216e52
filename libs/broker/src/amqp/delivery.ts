import { contentExchange, contentRoutingKey, frameEnd, frameOverheadBytes, routingEnd } from '../queues/content.js';
import { copyBytes, viewOf } from '../small-copy.js';
import { encodeMethod, methodFrameBytes, type Arguments } from './method-codec.js';
import { blockBytes, type Output } from './output.js';
import { replyCodes } from './replies.js';

/**
 * Writes messages to a client: basic.deliver, basic.get-ok and basic.return with the content behind them.
 *
 *   method head | exchange key | method tail | CE | header frame | body frame …
 *
 * The content comes as an image (queues/content.ts): exchange and key are copied from its front, the rest in one piece behind
 * the method, and two channel numbers are set. Only a body larger than the negotiated frame is cut into several frames.
 * Wire code: no I/O. One writer serves one connection.
 */
const deliverId = 0x003c_003c;

export const ackId = 0x003c_0050;
export const ackFrameBytes = 21;

/** Bytes of basic.deliver's frame beside the consumer tag, exchange and key: head 7, method 4, delivery tag 8, redelivered 1, end 1. */
const deliverFixedBytes = 21;

export class DeliveryWriter {
  /** The most that fits into one frame's payload. */
  payloadBytesMax = 0;
  private source: Buffer = Buffer.alloc(0);
  private sourceView: DataView = viewOf(this.source);

  constructor(private readonly output: Output) {}

  /** basic.deliver. `tagBytes` is the consumer tag as a shortstr; the image is `bytes[start..start + length)`. */
  deliver(
    channel: number,
    tagBytes: Buffer,
    deliveryTag: number,
    isRedelivered: boolean,
    bytes: Buffer,
    start: number,
    length: number,
  ): void {
    const routingBytes = routingEnd(bytes, start) - start;
    const restBytes = length - routingBytes - 1;
    const methodBytes = deliverFixedBytes + tagBytes.length + routingBytes;
    if (methodBytes + restBytes > blockBytes || restBytes > this.payloadBytesMax) {
      this.output.reserve(methodBytes);
      this.deliverHead(channel, tagBytes, deliveryTag, isRedelivered, bytes, start, routingBytes);
      this.largeContent(channel, bytes, start + routingBytes + 2, start + length);
      return;
    }
    const { output } = this;
    output.reserve(methodBytes + restBytes);
    this.deliverHead(channel, tagBytes, deliveryTag, isRedelivered, bytes, start, routingBytes);
    const at = output.used;
    copyBytes(output.bytes, output.view, at, bytes, this.sourceView, start + routingBytes + 2, restBytes - 1);
    patchChannels(output.view, at, at + restBytes - 1, channel);
    output.used = at + restBytes - 1;
  }

  /** basic.get-ok with its message. */
  got(
    channel: number,
    deliveryTag: number,
    redelivered: boolean,
    messageCount: number,
    bytes: Buffer,
    start: number,
    length: number,
  ): void {
    const exchange = contentExchange(bytes, start);
    const routingKey = contentRoutingKey(bytes, start);
    this.withContent(channel, 'basic.get-ok', { deliveryTag, redelivered, exchange, routingKey, messageCount }, bytes, start, length);
  }

  /** basic.return with its message, because it led nowhere. */
  returnUnroutable(channel: number, bytes: Buffer, start: number, length: number): void {
    const exchange = contentExchange(bytes, start);
    const routingKey = contentRoutingKey(bytes, start);
    const { code } = replyCodes['no-route'];
    this.withContent(channel, 'basic.return', { replyCode: code, replyText: 'NO_ROUTE', exchange, routingKey }, bytes, start, length);
  }

  /** basic.ack to a publisher. */
  confirm(channel: number, deliveryTag: number, isMultiple: boolean): void {
    const { output } = this;
    output.reserve(ackFrameBytes);
    const { bytes, view, used } = output;
    bytes[used] = 1;
    view.setUint16(used + 1, channel);
    view.setUint32(used + 3, ackFrameBytes - frameOverheadBytes);
    view.setUint32(used + 7, ackId);
    view.setUint32(used + 11, deliveryTag / 0x1_0000_0000);
    view.setUint32(used + 15, deliveryTag);
    bytes[used + 19] = isMultiple ? 1 : 0;
    bytes[used + 20] = frameEnd;
    output.used = used + ackFrameBytes;
  }

  private withContent<N extends 'basic.get-ok' | 'basic.return'>(
    channel: number,
    name: N,
    values: Arguments<N>,
    bytes: Buffer,
    start: number,
    length: number,
  ): void {
    const { output } = this;
    output.reserve(methodFrameBytes(name, values));
    output.used = encodeMethod(name, values, channel, output.bytes, output.used);
    this.largeContent(channel, bytes, routingEnd(bytes, start) + 2, start + length);
  }

  /** The method's frame with its end. */
  private deliverHead(
    channel: number,
    tagBytes: Buffer,
    deliveryTag: number,
    isRedelivered: boolean,
    bytes: Buffer,
    start: number,
    routingBytes: number,
  ): void {
    if (bytes !== this.source) {
      this.source = bytes;
      this.sourceView = viewOf(bytes);
    }
    const { output } = this;
    const { bytes: into, view } = output;
    let at = output.used;
    into[at] = 1;
    view.setUint16(at + 1, channel);
    view.setUint32(at + 3, deliverFixedBytes - frameOverheadBytes + tagBytes.length + routingBytes);
    view.setUint32(at + 7, deliverId);
    at += 11;
    const tagLength = tagBytes.length;
    for (let index = 0; index < tagLength; index++) into[at + index] = tagBytes[index]!;
    at += tagLength;
    view.setUint32(at, deliveryTag / 0x1_0000_0000);
    view.setUint32(at + 4, deliveryTag);
    into[at + 8] = isRedelivered ? 1 : 0;
    at += 9;
    copyBytes(into, view, at, bytes, this.sourceView, start, routingBytes);
    at += routingBytes;
    into[at] = frameEnd;
    output.used = at + 1;
  }

  /** Header frame and body frames from an image's `bytes[headerAt..end)`, cut to what this connection may be sent. */
  private largeContent(channel: number, bytes: Buffer, headerAt: number, end: number): void {
    const { output } = this;
    const headerEnd = headerAt + bytes.readUInt32BE(headerAt + 3) + frameOverheadBytes;
    const head = Buffer.from(bytes.subarray(headerAt, headerAt + 7));
    head.writeUInt16BE(channel, 1);
    output.write(head, 0, 7);
    output.write(bytes, headerAt + 7, headerEnd);
    if (headerEnd === end) return;
    const bodyEnd = end - 1;
    for (let at = headerEnd + 7; at < bodyEnd;) {
      const size = Math.min(bodyEnd - at, this.payloadBytesMax);
      output.reserve(7);
      output.bytes[output.used] = 3;
      output.view.setUint16(output.used + 1, channel);
      output.view.setUint32(output.used + 3, size);
      output.used += 7;
      output.write(bytes, at, at + size);
      output.reserve(1);
      output.bytes[output.used++] = frameEnd;
      at += size;
    }
  }
}

/** Sets the channel of the header frame at `at` and of the body frame behind it, if there is one before `end`. */
function patchChannels(view: DataView, at: number, end: number, channel: number): void {
  view.setUint16(at + 1, channel);
  const bodyFrameAt = at + view.getUint32(at + 3) + frameOverheadBytes;
  if (bodyFrameAt < end) view.setUint16(bodyFrameAt + 1, channel);
}

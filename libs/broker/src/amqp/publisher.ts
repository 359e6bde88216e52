import { isUtf8 } from 'node:buffer';
import type { Access } from '../queues/access.js';
import { contentExchange, frameEnd, frameOverheadBytes, propertiesEnd, propertiesStart } from '../queues/content.js';
import { withoutHeader, withReplyTo } from '../queues/content-edit.js';
import { expirationFault } from '../queues/expiry.js';
import { extraKeys } from '../queues/extra-keys.js';
import { longValue, MalformedError, nestedValue, valueBytesByTag } from '../queues/field-table.js';
import { checkProperties, findProperty, propertyFlags } from '../queues/properties.js';
import type { Queue } from '../queues/queue.js';
import { noReplyConsumer, replyToName } from '../queues/reply-queues.js';
import { isHeldOnly, nowhere, perMessage, type Route } from '../queues/route.js';
import { ContentMessage } from '../queues/routed-message.js';
import type { Session } from '../queues/session.js';
import type { VirtualHost } from '../queues/virtual-host.js';
import { viewOf } from '../small-copy.js';
import { AmqpError } from './replies.js';
import type { RouteCache } from './route-cache.js';

/**
 * What a channel publishes: method, header and body become one content image (queues/content.ts) and go to the session.
 *
 *   idle → (basic.publish) → header → (content header) → body → (the last body frame) → idle
 *                                                      ↘ refused → (the last body frame) → idle, and the refusal
 *
 * A publish whose frames all lie in one chunk goes through `takeFast`: its bytes are the image, nothing is gathered and nothing is
 * decoded as long as exchange, key and bits are those of a publish before. Any other is gathered, with memory that grows with
 * what has come and not with what was announced.
 */
export const publishId = 0x003c_0028;

/** Class 60 and weight 0, as they begin a content header. */
const basicClass = 0x003c_0000;

/** Frame head, class, weight, body size and flags. */
const headerBytesMin = 21;

const routingBytesMax = 2 * 256 + 1;

/** Properties that mean nothing to the broker: a message that has no others needs no look at them. */
const passedFlags =
  propertyFlags.contentType |
  propertyFlags.contentEncoding |
  propertyFlags.deliveryMode |
  propertyFlags.priority |
  propertyFlags.correlationId |
  propertyFlags.messageId |
  propertyFlags.timestamp |
  propertyFlags.type |
  propertyFlags.appId |
  propertyFlags.clusterId;

/** What is allocated for a body before any of it has come. */
const firstBodyBytes = 131_072;

const bits = { mandatory: 1, immediate: 2 } as const;

/** What a publisher needs of its connection. */
export interface PublisherLine {
  readonly user: string;
  readonly access: Access | undefined;
  /** Whether it may publish in the name of others. */
  readonly isImpersonator: boolean;
  readonly messageBytesMax: number;
  readonly routes: RouteCache;
  /** The most that fits into one frame. */
  readonly payloadBytesMax: number;
  /** Counts memory for unfinished bodies; throws when the connection has too much of it. */
  countUnfinished(bytes: number): void;
  /** basic.return with the image's content. */
  returnMessage(channel: number, bytes: Buffer, start: number, length: number): void;
}

export class Publisher {
  stage: 'idle' | 'header' | 'body' | 'refused' = 'idle';
  /** Where replies to this channel go, since it asked for them. */
  replyQueue: Queue | undefined;
  /** Of the message that `checkContent` saw last: the keys in CC and BCC, and whether it wants its replies here. */
  private extraKeys: readonly string[] | undefined;
  private wantsReplies = false;
  private image = Buffer.alloc(0);
  private imageBytes = 0;
  private wholeBytes = 0;
  private missingBytes = 0;
  private refusedBytes = 0;

  constructor(
    private readonly channel: number,
    private readonly line: PublisherLine,
    private readonly host: VirtualHost,
    private readonly session: Session,
  ) {}

  /**
   * Publishes what begins at `at` if it is a whole, sound publish. Returns where its frames end, or `at` for anything that
   * deserves a closer look. Throws CodedError and AmqpError; `fastEnd` then says where the frames end.
   */
  takeFast(bytes: Buffer, view: DataView, at: number, end: number): number {
    const contentEnd = this.findEnd(bytes, view, at, end);
    if (contentEnd === at) return at;
    const routingBytes = view.getUint32(at + 3) - 6;
    const start = at + 13;
    const route = this.line.routes.find(bytes, view, start, routingBytes);
    if (route === undefined) {
      if (3 + bytes[start]! + (bytes[start + 1 + bytes[start]!] ?? 0) !== routingBytes) return at;
    } else {
      const header = start + routingBytes + 1;
      const mode = plainDeliveryMode(bytes, view, header + headerBytesMin - 2, header + 7 + view.getUint32(header + 3));
      if (mode >= 0 && (route !== nowhere || bytes[start + routingBytes - 1] === 0)) {
        this.fastEnd = contentEnd;
        this.session.publish(route, mode === 2, bytes, start, contentEnd - start);
        return contentEnd;
      }
    }
    this.fastEnd = contentEnd;
    this.publishImage(bytes, view, start, contentEnd - start, routingBytes);
    return contentEnd;
  }

  fastEnd = 0;

  /** basic.publish alone; its arguments, without the reserved word, are `bytes[start..end)`. */
  begin(bytes: Buffer, start: number, end: number): void {
    const keyAt = start + 1 + (bytes[start] ?? 0);
    if (keyAt >= end || keyAt + 2 + bytes[keyAt]! !== end) throw new MalformedError('exchange and routing key do not fill the frame');
    this.stage = 'header';
    this.wholeBytes = end - start;
    this.image = Buffer.from(bytes.subarray(start, end));
  }

  /** The payload of a content header. */
  takeHeader(bytes: Buffer, start: number, end: number): void {
    if (this.stage !== 'header') throw this.unexpected();
    const classId = bytes.readUInt16BE(start);
    if (classId !== 60) {
      throw new AmqpError('unexpected-frame', `expected content header for class 60, got one for class ${classId} instead`);
    }
    if (bytes.readUInt16BE(start + 2) !== 0) throw this.unexpected();
    const bodyBytes = bytes.readUInt32BE(start + 4) * 0x1_0000_0000 + bytes.readUInt32BE(start + 8);
    if (bodyBytes > this.line.messageBytesMax) return this.refuseBody(bodyBytes);
    const routing = this.image;
    const headBytes = routing.length + 1 + frameOverheadBytes + (end - start);
    this.wholeBytes = headBytes + (bodyBytes === 0 ? 0 : frameOverheadBytes + bodyBytes);
    this.allocate(Math.min(this.wholeBytes, headBytes + frameOverheadBytes + firstBodyBytes));
    const { image } = this;
    let at = routing.copy(image);
    image[at++] = frameEnd;
    at = this.frameHead(at, 2, end - start);
    at += bytes.copy(image, at, start, end);
    image[at++] = frameEnd;
    if (bodyBytes > 0) at = this.frameHead(at, 3, bodyBytes);
    this.imageBytes = at;
    this.missingBytes = bodyBytes;
    this.stage = 'body';
    if (bodyBytes === 0) this.finish();
  }

  /** The payload of a body frame. */
  takeBody(bytes: Buffer, start: number, end: number): void {
    if (this.stage !== 'body' && this.stage !== 'refused') throw this.unexpected();
    const length = end - start;
    if (length > this.missingBytes) {
      throw new AmqpError(
        'frame-error',
        `the body is longer than its header announced: ${length} bytes came and ${this.missingBytes} were missing`,
      );
    }
    if (this.stage === 'refused') return this.dropBody(length);
    if (this.imageBytes + length + 1 > this.image.length) this.grow(this.imageBytes + length + 1);
    this.imageBytes += bytes.copy(this.image, this.imageBytes, start, end);
    this.missingBytes -= length;
    if (this.missingBytes > 0) return;
    this.image[this.imageBytes++] = frameEnd;
    this.finish();
  }

  /** What RabbitMQ says to a frame that does not fit to the ones before it. */
  unexpected(): AmqpError {
    if (this.stage === 'idle') return new AmqpError('unexpected-frame', 'expected method frame, got non method frame instead');
    const explanation =
      this.stage === 'header'
        ? 'expected content header for class 60, got non content header frame instead'
        : 'expected content body, got non content body frame instead';
    return new AmqpError('unexpected-frame', explanation);
  }

  /** Forgets what was begun. */
  reset(): void {
    if (this.stage === 'body') this.line.countUnfinished(-this.image.length);
    this.stage = 'idle';
    this.image = Buffer.alloc(0);
  }

  /** Where the frames of the publish at `at` end, if they are all in the chunk and fit together; else `at`. */
  private findEnd(bytes: Buffer, view: DataView, at: number, end: number): number {
    const { channel } = this;
    const { payloadBytesMax } = this.line;
    const methodBytes = view.getUint32(at + 3);
    const header = at + frameOverheadBytes + methodBytes;
    if (methodBytes < 9 || methodBytes > 6 + routingBytesMax || header + headerBytesMin >= end) return at;
    if (bytes[header - 1] !== frameEnd || bytes[header] !== 2 || view.getUint16(header + 1) !== channel) return at;
    if (view.getUint32(header + 7) !== basicClass || view.getUint32(header + 11) !== 0) return at;
    const headerBytes = view.getUint32(header + 3);
    const headerEnd = header + frameOverheadBytes + headerBytes;
    if (headerBytes < 14 || headerBytes > payloadBytesMax || headerEnd > end || bytes[headerEnd - 1] !== frameEnd) return at;
    const bodyBytes = view.getUint32(header + 15);
    if (bodyBytes === 0) return headerEnd;
    const bodyEnd = headerEnd + frameOverheadBytes + bodyBytes;
    if (bodyEnd > end || bodyBytes > payloadBytesMax || bodyBytes > this.line.messageBytesMax) return at;
    if (bytes[headerEnd] !== 3 || view.getUint16(headerEnd + 1) !== channel || view.getUint32(headerEnd + 3) !== bodyBytes) return at;
    return bytes[bodyEnd - 1] === frameEnd ? bodyEnd : at;
  }

  private finish(): void {
    const { image, imageBytes } = this;
    const routingBytes = 3 + image[0]! + image[1 + image[0]!]!;
    this.reset();
    this.publishImage(image, viewOf(image), 0, imageBytes, routingBytes);
  }

  private publishImage(bytes: Buffer, view: DataView, start: number, length: number, routingBytes: number): void {
    const flags = bytes[start + routingBytes - 1]!;
    // The other bits are ours, to mark what we wrote ourselves.
    if (flags > (bits.mandatory | bits.immediate)) bytes[start + routingBytes - 1] = flags & (bits.mandatory | bits.immediate);
    if ((flags & bits.immediate) !== 0) throw new AmqpError('not-implemented', 'immediate=true');
    const route = this.findRoute(bytes, view, start, routingBytes);
    const propertiesAt = propertiesStart(bytes, start);
    const isPersistent = this.checkContent(bytes, start, propertiesAt, propertiesEnd(bytes, start));
    const isMandatory = (flags & bits.mandatory) !== 0;
    if (route === perMessage || (view.getUint16(propertiesAt) & ~passedFlags) !== 0) {
      this.publishAddressed(route, isPersistent, isMandatory, bytes, start, length);
    } else this.send(route, isPersistent, isMandatory, bytes, start, length);
  }

  /** A message that may have more keys than one, or goes where no key alone leads it, or asks for replies. */
  private publishAddressed(found: Route, isPersistent: boolean, isMandatory: boolean, bytes: Buffer, start: number, length: number): void {
    const keys = this.extraKeys;
    let route = found;
    if (keys !== undefined) this.host.checkTopics(this.line.access, contentExchange(bytes, start), keys);
    if (keys !== undefined || route === perMessage) {
      route = this.host.routeMessage(contentExchange(bytes, start), new ContentMessage(bytes, start, keys));
    }
    // A message that is held goes by all of its keys later.
    let image = keys === undefined || isHeldOnly(route) ? undefined : withoutHeader(bytes, start, length, 'BCC');
    if (this.wantsReplies) {
      const { name } = this.replyQueue!;
      image = image === undefined ? withReplyTo(bytes, start, length, name) : withReplyTo(image, 0, image.length, name);
    }
    if (image === undefined) this.send(route, isPersistent, isMandatory, bytes, start, length);
    else this.send(route, isPersistent, isMandatory, image, 0, image.length);
  }

  private send(route: Route, isPersistent: boolean, isMandatory: boolean, bytes: Buffer, start: number, length: number): void {
    if (isMandatory && route === nowhere && !this.session.isTransactional) this.line.returnMessage(this.channel, bytes, start, length);
    const isExpiring = (bytes.readUInt16BE(propertiesStart(bytes, start)) & propertyFlags.expiration) !== 0;
    this.session.publish(route, isPersistent, bytes, start, length, isExpiring);
  }

  private findRoute(bytes: Buffer, view: DataView, start: number, routingBytes: number): Route {
    const { routes } = this.line;
    const known = routes.find(bytes, view, start, routingBytes);
    if (known !== undefined) return known;
    const keyAt = start + 1 + bytes[start]!;
    const exchange = bytes.subarray(start + 1, keyAt);
    const key = bytes.subarray(keyAt + 1, start + routingBytes - 1);
    // What is not UTF-8 would not come out as it went in: it grows when it is written again.
    if (!isUtf8(exchange) || !isUtf8(key)) throw new MalformedError('Malformed UTF-8 in shortstr');
    const route = this.host.routeFor(this.line.access, exchange.toString('utf8'), key.toString('utf8'));
    // A route that is another for each message is not remembered, so that none of them takes the fast way.
    if (route !== perMessage) routes.keep(bytes, view, start, routingBytes, route);
    return route;
  }

  /** Refuses what is wrong or not built; says whether the message is persistent. */
  private checkContent(bytes: Buffer, start: number, flagsAt: number, end: number): boolean {
    checkProperties(bytes, flagsAt, end);
    this.extraKeys = undefined;
    this.wantsReplies = false;
    const flags = bytes.readUInt16BE(flagsAt);
    if ((flags & ~passedFlags) !== 0) {
      this.wantsReplies = shortString(bytes, findProperty(bytes, flagsAt, 'replyTo')) === replyToName;
      if (this.wantsReplies && (this.replyQueue === undefined || this.replyQueue.isDeleted)) throw noReplyConsumer();
      checkExpiration(shortString(bytes, findProperty(bytes, flagsAt, 'expiration')));
      this.extraKeys = extraKeys(bytes, start);
      this.checkUser(shortString(bytes, findProperty(bytes, flagsAt, 'userId')));
    }
    const modeAt = findProperty(bytes, flagsAt, 'deliveryMode');
    return modeAt >= 0 && bytes[modeAt] === 2;
  }

  private checkUser(userId: string | undefined): void {
    const { user } = this.line;
    if (userId === undefined || userId === user || this.line.isImpersonator) return;
    throw new AmqpError('precondition-failed', `user_id property set to '${userId}' but authenticated user was '${user}'`);
  }

  /**
   * A body past the limit is thrown away as it comes and refused when it is over, as RabbitMQ does: clients that meet the refusal in
   * the middle open the channel again before they have answered it.
   */
  private refuseBody(bodyBytes: number): void {
    this.stage = 'refused';
    this.refusedBytes = bodyBytes;
    this.missingBytes = bodyBytes;
    this.image = Buffer.alloc(0);
  }

  private dropBody(length: number): void {
    this.missingBytes -= length;
    if (this.missingBytes > 0) return;
    this.reset();
    const max = this.line.messageBytesMax;
    throw new AmqpError('precondition-failed', `message size ${this.refusedBytes} is larger than configured max size ${max}`);
  }

  private allocate(length: number): void {
    this.line.countUnfinished(length);
    this.image = Buffer.allocUnsafe(length);
  }

  private grow(needed: number): void {
    const { image } = this;
    const length = Math.min(this.wholeBytes, Math.max(needed, image.length * 2));
    this.line.countUnfinished(length - image.length);
    this.image = Buffer.allocUnsafe(length);
    image.copy(this.image, 0, 0, this.imageBytes);
  }

  private frameHead(at: number, type: number, size: number): number {
    const { image } = this;
    image[at] = type;
    image.writeUInt16BE(this.channel, at + 1);
    return image.writeUInt32BE(size, at + 3);
  }
}

/**
 * The delivery mode (0 when absent) of properties that need no other look; -1 for those that do, or that are not sound. What
 * stands behind the end of the chunk reads as undefined and makes `at` a NaN, which is not the end.
 */
function plainDeliveryMode(bytes: Buffer, view: DataView, flagsAt: number, end: number): number {
  const flags = view.getUint16(flagsAt);
  if ((flags & ~(passedFlags | propertyFlags.headers)) !== 0) return -1;
  let at = flagsAt + 2;
  let mode = 0;
  if ((flags & propertyFlags.contentType) !== 0) at += 1 + bytes[at]!;
  if ((flags & propertyFlags.contentEncoding) !== 0) at += 1 + bytes[at]!;
  if ((flags & propertyFlags.headers) !== 0) at = plainHeadersEnd(bytes, view, at, end);
  if ((flags & propertyFlags.deliveryMode) !== 0) mode = bytes[at++]!;
  if ((flags & propertyFlags.priority) !== 0) at++;
  if ((flags & propertyFlags.correlationId) !== 0) at += 1 + bytes[at]!;
  if ((flags & propertyFlags.messageId) !== 0) at += 1 + bytes[at]!;
  if ((flags & propertyFlags.timestamp) !== 0) at += 8;
  if ((flags & propertyFlags.type) !== 0) at += 1 + bytes[at]!;
  if ((flags & propertyFlags.appId) !== 0) at += 1 + bytes[at]!;
  if ((flags & propertyFlags.clusterId) !== 0) at += 1 + bytes[at]!;
  return at === end ? mode : -1;
}

const letterC = 0x43;

/** Where a sound table of simple values ends; NaN for one with values inside values, with an end beyond `end`, or with a field CC or BCC. */
function plainHeadersEnd(bytes: Buffer, view: DataView, start: number, end: number): number {
  if (!(start + 4 <= end)) return NaN;
  const tableEnd = start + 4 + view.getUint32(start);
  if (tableEnd > end) return NaN;
  let at = start + 4;
  while (at < tableEnd) {
    const nameBytes = bytes[at]!;
    const tagAt = at + 1 + nameBytes;
    if (tagAt >= tableEnd || (nameBytes <= 3 && bytes[tagAt - 1] === letterC && bytes[tagAt - 2] === letterC)) return NaN;
    const size = valueBytesByTag[bytes[tagAt]!]!;
    if (size < nestedValue) at = tagAt + 1 + size;
    else if (size === longValue && tagAt + 5 <= tableEnd) at = tagAt + 5 + view.getUint32(tagAt + 1);
    else return NaN;
  }
  return at === tableEnd ? tableEnd : NaN;
}

function shortString(bytes: Buffer, at: number): string | undefined {
  return at < 0 ? undefined : bytes.toString('utf8', at + 1, at + 1 + bytes[at]!);
}

function checkExpiration(text: string | undefined): void {
  const fault = text === undefined ? undefined : expirationFault(text);
  if (fault !== undefined) throw new AmqpError('precondition-failed', `invalid expiration '${text}': ${fault}`);
}

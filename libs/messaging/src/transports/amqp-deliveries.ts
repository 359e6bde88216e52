/**
 * Deliveries out of the bytes of a connection:
 *
 *   | basic.deliver: tags, exchange, routing key | content header: properties, headers | body |
 *
 * Takes the usual ones only: whole in the bytes at hand, in one frame of body, handed out for the first time, of texts, and from a publisher of the framework.
 * Everything else is left to amqplib. Messages that follow each other have the same names and mostly the same values, so a text is compared with the one that
 * stood there last time before it is made anew: all in all a quarter of what amqplib takes for it. No I/O.
 */
import type { Envelope } from '../envelope.js';
import { isOfTrail } from '../trail.js';
import type { UnreadableEnvelope } from '../transport.js';
import { SLOT_HEADER } from './lanes/slots.js';
import { Outside } from './outside.js';

/** Where the deliveries of one consumer go. */
export interface ConsumerOfChannel {
  readonly tag: Buffer;
  readonly onDelivery: (envelope: Envelope | UnreadableEnvelope, deliveryTag: number) => void;
}

const FRAME_END = 0xce;
const FRAME_HEAD = 7;
const FRAME_OVERHEAD = 8;
const DELIVER = 0x003c_003c;
const BASIC = 0x003c_0000;
const LONG_STRING = 'S'.charCodeAt(0);
const ASCII_MAX = 0x7f;
const SHORT_TEXT = 64;
/** Headers whose names are remembered by their place. */
const PLACES_MAX = 64;
const BEGINNINGS_MAX = 8;
const ID = 'cloudEvents_id';
const SUBJECT = 'cloudEvents_subject';
const PARTITION_KEY = 'cloudEvents_partitionkey';
/** In the content header. The usual ones are content type and headers. */
const flag = { usual: 0xa000, contentEncoding: 0x4000, deliveryMode: 0x1000, priority: 0x0800, correlationId: 0x0400, replyTo: 0x0200 };

/** They stand behind the headers, and are asked for only where those do not say the same. */
const laterProperties = ['messageId', 'type', 'appId', 'timestamp'];

/** A header by its name, and what it said last. */
interface KnownHeader {
  readonly name: string;
  /** Its length, itself, and the tag of a text. */
  readonly piece: Piece;
  readonly isOfTrail: boolean;
  last: string;
}

export class DeliveryReader {
  readonly #consumers = new Map<number, readonly ConsumerOfChannel[]>();
  /** By their place in the table of headers. */
  readonly #headers: KnownHeader[] = [];
  /** Of the last types of messages. */
  readonly #beginnings: Beginning[] = [];
  #view: DataView | undefined;
  #contentType = '';
  /** Where the text ended that was read last. */
  #end = 0;

  consume(channel: number, consumer: ConsumerOfChannel): void {
    this.#consumers.set(channel, [...(this.#consumers.get(channel) ?? []), consumer]);
  }

  /** The channel has ended. */
  forget(channel: number): void {
    this.#consumers.delete(channel);
  }

  /** Hands out the deliveries that `bytes` begin with; returns where the first thing stands that is not one of them. */
  read(bytes: Buffer): number {
    let at = 0;
    for (let next = this.#readOne(bytes, 0); next > at; next = this.#readOne(bytes, at)) at = next;
    return at;
  }

  /** Returns where the next frame is, or `start` where this is nothing for us. */
  #readOne(bytes: Buffer, start: number): number {
    // Method, header and the end of a frame: less is no delivery.
    if (start + 40 > bytes.length || bytes[start] !== 1 || long(bytes, start + FRAME_HEAD) !== DELIVER) return start;
    const channel = (bytes[start + 1]! << 8) | bytes[start + 2]!;
    const consumers = this.#consumers.get(channel);
    if (consumers === undefined) return start;
    const headerAt = start + FRAME_OVERHEAD + long(bytes, start + 3);
    if (headerAt + 22 > bytes.length || bytes[headerAt] !== 2 || long(bytes, headerAt + FRAME_HEAD) !== BASIC) return start;
    const headerEnd = headerAt + FRAME_HEAD + long(bytes, headerAt + 3);
    const bodySize = long(bytes, headerAt + 15);
    const bodyAt = headerEnd + 1 + FRAME_HEAD;
    const end = bodySize === 0 ? headerEnd + 1 : bodyAt + bodySize + 1;
    if (end > bytes.length || long(bytes, headerAt + 11) !== 0 || bytes[end - 1] !== FRAME_END || bytes[headerEnd] !== FRAME_END)
      return start;
    if (bodySize > 0 && (bytes[headerEnd + 1] !== 3 || long(bytes, headerEnd + 4) !== bodySize)) return start;
    const tagEnd = start + 12 + bytes[start + 11]!;
    const isRedelivered = bytes[tagEnd + 8] !== 0;
    if (isRedelivered) return start;
    const consumer = consumers.find(({ tag }) => isEqual(bytes, start + 12, tagEnd, tag));
    if (consumer === undefined) return start;
    const envelope = this.#readEnvelope(bytes, headerAt + 19, headerEnd, bytes.subarray(bodyAt, bodyAt + bodySize));
    if (envelope === undefined) return start;
    consumer.onDelivery(envelope, long(bytes, tagEnd) * 0x1_0000_0000 + long(bytes, tagEnd + 4));
    return end;
  }

  #readEnvelope(bytes: Buffer, flagsAt: number, end: number, body: Buffer): Envelope | UnreadableEnvelope | undefined {
    const flags = (bytes[flagsAt]! << 8) | bytes[flagsAt + 1]!;
    if ((flags & flag.usual) !== flag.usual || (flags & flag.contentEncoding) !== 0) return undefined;
    this.#contentType = this.#shortText(bytes, flagsAt + 2, this.#contentType);
    const outside = this.#readHeaders(bytes, this.#end);
    if (outside === undefined || laterProperties.some((name) => outside.wants(name))) return undefined;
    outside.property('contentType', this.#contentType);
    if ((flags & flag.deliveryMode) !== 0) this.#end += 1;
    if ((flags & flag.priority) !== 0) this.#end += 1;
    if ((flags & flag.correlationId) !== 0) outside.property('correlationId', this.#shortText(bytes, this.#end, ''));
    if ((flags & flag.replyTo) !== 0) outside.property('replyTo', this.#shortText(bytes, this.#end, ''));
    return this.#end > end ? undefined : outside.envelope({ properties: {}, routingKey: '', body });
  }

  /** Nothing where something in it is no text, or can only be understood with the rest of the table. */
  #readHeaders(bytes: Buffer, tableAt: number): Outside | undefined {
    const outside = new Outside();
    const start = tableAt + 4;
    const end = start + long(bytes, tableAt);
    const view = this.#viewOf(bytes);
    if (end + 8 > view.byteLength) return undefined;
    const beginning = this.#beginningAt(view, start, end);
    let at = start;
    let place = 0;
    if (beginning !== undefined) {
      for (const { name, value } of beginning.entries) outside.header(name, value);
      at += beginning.piece.length;
      place = beginning.entries.length;
    }
    let subject = '';
    for (; at < end; place++) {
      const header = this.#headerAt(place, bytes, view, at, end);
      if (header === undefined || header.isOfTrail) return undefined;
      const { name } = header;
      if (beginning === undefined && name === ID) this.#remember(bytes.subarray(start, at), place);
      const valueAt = at + header.piece.length + 4;
      at = valueAt + view.getUint32(valueAt - 4);
      if (at > end) return undefined;
      if (name === SLOT_HEADER) continue;
      // The one is new in every message, and the other repeats another.
      const last = name === ID ? '' : name === PARTITION_KEY ? subject : header.last;
      header.last = textOf(bytes, valueAt, at, last);
      if (name === SUBJECT) subject = header.last;
      outside.header(name, header.last);
    }
    this.#end = end;
    return outside;
  }

  /** How the headers of a message before began, where these begin the same. */
  #beginningAt(view: DataView, start: number, end: number): Beginning | undefined {
    const last = this.#beginnings[0];
    if (last === undefined) return undefined;
    if (last.piece.isAt(view, start, end)) return last;
    const at = this.#beginnings.findIndex(({ piece }) => piece.isAt(view, start, end));
    if (at < 0) return undefined;
    const found = this.#beginnings[at]!;
    this.#beginnings[at] = last;
    this.#beginnings[0] = found;
    return found;
  }

  #remember(bytes: Buffer, places: number): void {
    const entries = this.#headers.slice(0, places).map(({ name, last }) => ({ name, value: last }));
    // Its place in the table is known by how many stand before it.
    if (entries.length !== places || places === 0) return;
    this.#beginnings.unshift({ piece: new Piece(Buffer.from(bytes)), entries });
    this.#beginnings.length = Math.min(this.#beginnings.length, BEGINNINGS_MAX);
  }

  #viewOf(bytes: Buffer): DataView {
    if (this.#view?.buffer !== bytes.buffer || this.#view.byteOffset !== bytes.byteOffset)
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    return this.#view;
  }

  /** Nothing for one that is no text. */
  #headerAt(place: number, bytes: Buffer, view: DataView, at: number, end: number): KnownHeader | undefined {
    const known = this.#headers[place];
    if (known !== undefined && known.piece.isAt(view, at, end)) return known;
    const nameEnd = at + 1 + bytes[at]!;
    if (bytes[nameEnd] !== LONG_STRING) return undefined;
    const name = bytes.toString('utf8', at + 1, nameEnd);
    const piece = new Piece(Buffer.from(bytes.subarray(at, nameEnd + 1)));
    const header: KnownHeader = { name, piece, isOfTrail: isOfTrail(name), last: '' };
    if (place < PLACES_MAX) this.#headers[place] = header;
    return header;
  }

  #shortText(bytes: Buffer, at: number, last: string): string {
    this.#end = at + 1 + bytes[at]!;
    return textOf(bytes, at + 1, this.#end, last);
  }
}

/** What stands before the id of a message is the same for all messages of its type, where their publisher is of the framework: it is compared as a whole. */
interface Beginning {
  readonly piece: Piece;
  readonly entries: readonly { readonly name: string; readonly value: string }[];
}

/** Bytes that are looked for, four at a time. */
class Piece {
  readonly length: number;
  readonly #words: Int32Array;
  readonly #rest: Buffer;

  constructor(bytes: Buffer) {
    this.length = bytes.length;
    this.#words = Int32Array.from({ length: bytes.length >>> 2 }, (_, index) => bytes.readInt32BE(index * 4));
    this.#rest = bytes.subarray(this.#words.length * 4);
  }

  isAt(view: DataView, start: number, end: number): boolean {
    if (start + this.length > end || end > view.byteLength) return false;
    const words = this.#words;
    let at = start;
    for (let index = 0; index < words.length; index++, at += 4) if (view.getInt32(at) !== words[index]) return false;
    const rest = this.#rest;
    for (let index = 0; index < rest.length; index++, at++) if (view.getUint8(at) !== rest[index]) return false;
    return true;
  }
}

/** `last`, where it is the same. */
function textOf(bytes: Buffer, start: number, end: number, last: string): string {
  if (isText(bytes, start, end, last)) return last;
  if (end - start > SHORT_TEXT) return bytes.toString('utf8', start, end);
  for (let at = start; at < end; at++) if (bytes[at]! > ASCII_MAX) return bytes.toString('utf8', start, end);
  return bytes.toString('latin1', start, end);
}

/** Said of texts in ASCII alone: others are never taken for the same. */
function isText(bytes: Buffer, start: number, end: number, text: string): boolean {
  if (text.length !== end - start) return false;
  for (let at = start, index = 0; at < end; at++, index++) {
    const byte = bytes[at]!;
    if (byte > ASCII_MAX || byte !== text.charCodeAt(index)) return false;
  }
  return true;
}

function isEqual(bytes: Buffer, start: number, end: number, other: Buffer): boolean {
  if (end - start !== other.length) return false;
  for (let at = start, index = 0; at < end; at++, index++) if (bytes[at] !== other[index]) return false;
  return true;
}

function long(bytes: Buffer, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

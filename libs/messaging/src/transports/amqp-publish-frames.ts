/**
 * Messages as the bytes that publish them on a channel, one behind the other, so that what is published in one turn is one piece for the socket:
 *
 *   | basic.publish | content header: properties, headers | body, in frames of what was agreed on |   | basic.publish | …
 *
 * What a client library encodes of a message is for the most part the same for all messages of its type: it is encoded once (`Form`), and of each message
 * only what is its own. That takes a twentieth of what amqplib's encoder takes. Says what `toProperties` says. No I/O.
 */
import type { Envelope } from '../envelope.js';
import { TYPES_REMEMBERED_MAX } from '../limits.js';
import { PERSISTENT, SPEC_VERSION, addExtraHeaders, isPlain, timestampOf } from './cloud-events.js';
import { SLOT_HEADER, slotOf } from './lanes/slots.js';
import type { Address } from './topology.js';

export interface Publishable {
  readonly envelope: Envelope;
  readonly address: Address;
  /** Refused where no queue takes it. */
  readonly isMandatory: boolean;
}

const FRAME_END = 0xce;
const FRAME_OVERHEAD = 8;
const SHORT_BYTES_MAX = 255;
/** Node's own functions cost as much as a loop over so many characters before they begin. */
const SHORT_TEXT = 64;
const BLOCK_BYTES = 64 * 1024;
const LONG_STRING = 'S'.charCodeAt(0);
const LIST = 'A'.charCodeAt(0);
/** Of the content header's flags: content type, headers, delivery mode, message id, type, app id; and what not all have. */
const FLAGS = 0x8000 | 0x2000 | 0x1000 | 0x0080 | 0x0020 | 0x0008;
const TIMESTAMP_FLAG = 0x0040;
const CORRELATION_FLAG = 0x0400;
const REPLY_TO_FLAG = 0x0200;
/** Names, tags and lengths of what every message may have, generously. */
const FIXED_BYTES = 256;

export class PublishFrames {
  readonly #forms = new Map<string, Form>();
  readonly #pieces: Buffer[] = [];
  #block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  #start = 0;
  #end = 0;

  constructor(
    private readonly channel: number,
    private readonly frameBytesMax: number,
  ) {}

  get isEmpty(): boolean {
    return this.#start === this.#end && this.#pieces.length === 0;
  }

  /** Throws a `RangeError`, and adds nothing, where the message cannot be said in AMQP: a name or its headers are too long. */
  append(message: Publishable): void {
    const { envelope } = message;
    const form = this.#formOf(message);
    const extra = message.address.copies === undefined && isPlain(envelope) ? undefined : extraOf(message);
    this.#makeRoom(form.bytesMax + bytesMaxOf(envelope, extra) + this.#bodyFrameBytes(envelope.body.length));
    const end = this.#writeContentHeader(form, envelope, extra);
    this.#end = this.#writeBody(envelope.body, end);
  }

  /** What was added since the last time; its bytes are never written again. */
  take(): readonly Buffer[] {
    if (this.#start < this.#end) this.#pieces.push(this.#block.subarray(this.#start, this.#end));
    this.#start = this.#end;
    return this.#pieces.splice(0);
  }

  /** One is remembered for each type, which is where all of them go in nearly every service. */
  #formOf(message: Publishable): Form {
    const { type } = message.envelope;
    const known = this.#forms.get(type);
    if (known?.fits(message) === true) return known;
    const form = new Form(message, this.channel);
    if (this.#forms.size >= TYPES_REMEMBERED_MAX) this.#forms.clear();
    this.#forms.set(type, form);
    return form;
  }

  #makeRoom(bytes: number): void {
    if (this.#end + bytes <= this.#block.length) return;
    if (this.#start < this.#end) this.#pieces.push(this.#block.subarray(this.#start, this.#end));
    this.#block = Buffer.allocUnsafeSlow(Math.max(bytes, BLOCK_BYTES));
    this.#start = 0;
    this.#end = 0;
  }

  #writeContentHeader(form: Form, envelope: Envelope, extra: Extra | undefined): number {
    const { id, key, time, correlationId, replyTo, body } = envelope;
    const block = this.#block;
    const start = this.#end;
    block.set(form.head, start);
    let at = start + form.head.length;
    at = writeEntry(block, at, idName, id);
    if (key !== undefined) {
      at = writeEntry(block, at, subjectName, key);
      at = writeEntry(block, at, partitionKeyName, key);
      at = writeEntry(block, at, slotName, slotOf(key));
    }
    if (time !== undefined) at = writeEntry(block, at, timeName, time);
    if (extra !== undefined) at = writeExtra(block, at, extra);
    const tableAt = start + form.tableAt;
    writeLong(block, tableAt, at - tableAt - 4);
    block[at++] = PERSISTENT;
    let flags = FLAGS;
    if (correlationId !== undefined) {
      flags |= CORRELATION_FLAG;
      at = writeShort(block, at, correlationId);
    }
    if (replyTo !== undefined) {
      flags |= REPLY_TO_FLAG;
      at = writeShort(block, at, replyTo);
    }
    at = writeShort(block, at, id);
    const timestamp = time === undefined ? undefined : timestampOf(time);
    if (timestamp !== undefined) {
      flags |= TIMESTAMP_FLAG;
      at = writeLong(block, writeLong(block, at, Math.floor(timestamp / 0x1_0000_0000)), timestamp);
    }
    block.set(form.tail, at);
    at += form.tail.length;
    const headerAt = start + form.headerAt;
    const bytes = at - headerAt;
    if (bytes > this.frameBytesMax) {
      throw new RangeError(`its headers take ${bytes} bytes, and at most ${this.frameBytesMax} fit into a frame of this connection`);
    }
    writeLong(block, headerAt + 3, bytes - FRAME_OVERHEAD);
    writeLong(block, headerAt + 15, body.length);
    block[headerAt + 19] = flags >>> 8;
    block[headerAt + 20] = flags & 0xff;
    return at;
  }

  #bodyFrameBytes(length: number): number {
    return length + FRAME_OVERHEAD * Math.ceil(length / (this.frameBytesMax - FRAME_OVERHEAD));
  }

  #writeBody(body: Uint8Array, from: number): number {
    const block = this.#block;
    const most = this.frameBytesMax - FRAME_OVERHEAD;
    let at = from;
    for (let offset = 0; offset < body.length; offset += most) {
      const piece = body.length <= most ? body : body.subarray(offset, offset + most);
      at = writeFrameHead(block, at, 3, this.channel, piece.length);
      block.set(piece, at);
      at += piece.length;
      block[at++] = FRAME_END;
    }
    return at;
  }
}

/** What the messages of one type, from one service, to one place have in common. */
class Form {
  /** From the beginning of basic.publish into the table of headers. */
  readonly head: Buffer;
  /** From behind the timestamp to the end of the content header. */
  readonly tail: Buffer;
  /** Where the content header and the table of headers begin. */
  readonly headerAt: number;
  readonly tableAt: number;
  readonly bytesMax: number;
  readonly #like: Publishable;

  constructor(like: Publishable, channel: number) {
    const { type, source, version, contentType } = like.envelope;
    const { exchange, routingKey } = like.address;
    this.#like = like;
    const bytes = Buffer.alloc(
      FIXED_BYTES + 3 * (exchange.length + routingKey.length + contentType.length + 2 * (type.length + source.length)),
    );
    bytes.set([1, channel >>> 8, channel & 0xff, 0, 0, 0, 0, 0, 60, 0, 40, 0, 0]);
    let at = writeShort(bytes, writeShort(bytes, 13, exchange), routingKey);
    bytes[at++] = like.isMandatory ? 1 : 0;
    writeLong(bytes, 3, at - 7);
    bytes[at++] = FRAME_END;
    this.headerAt = at;
    at = writeFrameHead(bytes, at, 2, channel, 0);
    bytes[at + 1] = 60;
    at = writeShort(bytes, at + 14, contentType);
    this.tableAt = at;
    at = writeEntry(bytes, at + 4, nameBytes('cloudEvents_specversion'), SPEC_VERSION);
    at = writeEntry(bytes, at, nameBytes('cloudEvents_source'), source);
    at = writeEntry(bytes, at, nameBytes('cloudEvents_type'), type);
    if (version !== undefined) at = writeEntry(bytes, at, nameBytes('cloudEvents_dataversion'), String(version));
    this.head = bytes.subarray(0, at);
    const tailAt = at;
    at = writeShort(bytes, writeShort(bytes, at, type), source);
    bytes[at++] = FRAME_END;
    this.tail = bytes.subarray(tailAt, at);
    this.bytesMax = at;
  }

  fits({ envelope, address, isMandatory }: Publishable): boolean {
    const like = this.#like;
    return (
      envelope.type === like.envelope.type &&
      envelope.source === like.envelope.source &&
      envelope.version === like.envelope.version &&
      envelope.contentType === like.envelope.contentType &&
      address.exchange === like.address.exchange &&
      address.routingKey === like.address.routingKey &&
      isMandatory === like.isMandatory
    );
  }
}

/** The name with its length before it and the tag of its value behind it. */
function nameBytes(name: string): Buffer {
  return Buffer.from(`${String.fromCharCode(name.length)}${name}S`, 'latin1');
}

const idName = nameBytes('cloudEvents_id');
const subjectName = nameBytes('cloudEvents_subject');
const partitionKeyName = nameBytes('cloudEvents_partitionkey');
const timeName = nameBytes('cloudEvents_time');
const slotName = nameBytes(SLOT_HEADER);

type Extra = Readonly<Record<string, string | readonly string[]>>;

function extraOf({ envelope, address }: Publishable): Extra {
  const headers: Record<string, string> = {};
  addExtraHeaders(headers, envelope);
  return address.copies === undefined ? headers : { ...headers, CC: [address.copies] };
}

/** An upper bound: a character takes at most three bytes. */
function bytesMaxOf({ id, key, time, correlationId, replyTo }: Envelope, extra: Extra | undefined): number {
  let characters = 2 * id.length + (key === undefined ? 0 : 2 * key.length) + (time === undefined ? 0 : time.length);
  if (correlationId !== undefined) characters += correlationId.length;
  if (replyTo !== undefined) characters += replyTo.length;
  let bytes = FIXED_BYTES;
  if (extra !== undefined) {
    for (const name in extra) {
      const value = extra[name]!;
      characters += name.length;
      bytes += 16;
      if (typeof value === 'string') characters += value.length;
      else for (const item of value) characters += item.length + 5;
    }
  }
  return bytes + 3 * characters;
}

function writeEntry(into: Buffer, from: number, name: Buffer, value: string): number {
  into.set(name, from);
  const at = from + name.length;
  const end = writeText(into, at + 4, value);
  writeLong(into, at, end - at - 4);
  return end;
}

function writeExtra(into: Buffer, from: number, extra: Extra): number {
  let at = from;
  for (const name in extra) {
    const value = extra[name]!;
    at = writeShort(into, at, name);
    if (typeof value === 'string') {
      into[at] = LONG_STRING;
      at = writeLongString(into, at + 1, value);
    } else {
      into[at] = LIST;
      const start = at + 5;
      at = start;
      for (const item of value) {
        into[at] = LONG_STRING;
        at = writeLongString(into, at + 1, item);
      }
      writeLong(into, start - 4, at - start);
    }
  }
  return at;
}

function writeLongString(into: Buffer, at: number, text: string): number {
  const end = writeText(into, at + 4, text);
  writeLong(into, at, end - at - 4);
  return end;
}

function writeShort(into: Buffer, at: number, text: string): number {
  const end = writeText(into, at + 1, text);
  const length = end - at - 1;
  if (length > SHORT_BYTES_MAX)
    throw new RangeError(`'${text.slice(0, 40)}…' is ${length} bytes long, and at most ${SHORT_BYTES_MAX} fit there`);
  into[at] = length;
  return end;
}

function writeText(into: Buffer, at: number, text: string): number {
  const { length } = text;
  if (length > SHORT_TEXT) return at + into.write(text, at, 'utf8');
  for (let index = 0; index < length; index++) {
    const unit = text.charCodeAt(index);
    if (unit > 0x7f) return at + into.write(text, at, 'utf8');
    into[at + index] = unit;
  }
  return at + length;
}

function writeFrameHead(into: Buffer, at: number, type: number, channel: number, size: number): number {
  into[at] = type;
  into[at + 1] = channel >>> 8;
  into[at + 2] = channel & 0xff;
  return writeLong(into, at + 3, size);
}

function writeLong(into: Buffer, at: number, value: number): number {
  into[at] = value >>> 24;
  into[at + 1] = (value >>> 16) & 0xff;
  into[at + 2] = (value >>> 8) & 0xff;
  into[at + 3] = value & 0xff;
  return at + 4;
}

import { CodedError } from '../errors.js';
import type { Arena, Chunk } from '../storage/arena.js';
import type { Journal } from '../storage/journal.js';
import { type DeathReason, deathReasons } from './dead-letter.js';
import { enqueuedAtBytes } from './expiry.js';
import type { Queue } from './queue.js';
import type { Route } from './route.js';

/**
 * What the queues write to the journal, and how it reads.
 *
 *   message     | 1 | queues u32 | (queue id u32, sequence u48) … | content image |
 *   settled     | 2 | queue id u32 | first sequence u48 | count u32 |
 *   delivered   | 3 | queue id u32 | below sequence u48 |
 *   definition  | 4 | JSON |
 *   timed       | 5 | queues u32 | (queue id u32, sequence u48) … | came at u48 | content image |
 *   settling    | 6 | queue id u32 | sequence u48 | message or timed |
 *
 *   returned    | 7 | queue id u32 | sequence u48 | count u32 |
 *   dead        | 8 | queue id u32 | sequence u48 | reason u8 |
 *   begin       | 16 |
 *   end         | 17 |
 *
 * What stands between `begin` and `end` counts as a whole or not at all: see record-replay.ts. A timed message is one that may expire
 * or is held for a while; it came so many milliseconds after 1970. An exchange that holds messages has an id among those of the
 * queues. A settling message takes the place of the one that it names. In quorum queues a message came back so many times, and one that is
 * dead stays until its dead letter has gone. A message that goes to several queues is written once.
 * Numbers are big-endian.
 */
export const recordKind = {
  ...{ message: 1, settled: 2, delivered: 3, definition: 4, timedMessage: 5, settling: 6, returned: 7, dead: 8 },
  ...{ begin: 16, end: 17 },
} as const;

const messageHeadBytes = 5;
/** In front of the message that settles another. */
export const settlingBytes = 11;
const targetBytes = 10;

export class MessageLog {
  /** Where the last message was put. */
  chunk: Chunk | undefined;
  offset = 0;
  private unrecorded: Queue[] = [];
  private settling: { readonly id: number; readonly sequence: number } | undefined;
  private journal: Journal | undefined;

  constructor(private readonly arena: Arena) {}

  /** Where the records go from now on. Before that nothing may be appended: what recovery brings back is in the journal already. */
  useJournal(journal: Journal): void {
    this.journal = journal;
  }

  /** Writes a message for the durable queues of a route, each at its upcoming sequence. `chunk` and `offset` say where it stands. */
  appendMessage(route: Route, image: Buffer, start: number, length: number): void {
    const headBytes = messageHeadBytes + targetBytes * route.kept.length;
    const at = this.reserveMessage(headBytes + length);
    this.chunk = this.journal!.chunk;
    this.offset = this.writeTargets(recordKind.message, route, at);
    this.arena.copy(image, start, this.chunk, this.offset, length);
  }

  /** The same for a message that may expire. */
  appendTimedMessage(route: Route, enqueuedAt: number, image: Buffer, start: number, length: number): void {
    const headBytes = messageHeadBytes + targetBytes * route.kept.length + enqueuedAtBytes;
    const at = this.reserveMessage(headBytes + length);
    this.chunk = this.journal!.chunk;
    const timeAt = this.writeTargets(recordKind.timedMessage, route, at);
    writeUInt48(this.chunk.bytes, timeAt, enqueuedAt);
    this.offset = timeAt + enqueuedAtBytes;
    this.arena.copy(image, start, this.chunk, this.offset, length);
  }

  /**
   * The message that is appended next settles this one in the same record, so that after a crash one of both is there. Behind that
   * append, `settleAlone` says whether none came.
   */
  settleWithNext(id: number, sequence: number): void {
    this.settling = { id, sequence };
  }

  /** Appends the settlement alone, if no message has taken it. */
  settleAlone(): void {
    const { settling } = this;
    this.settling = undefined;
    if (settling !== undefined) this.appendSettled(settling.id, settling.sequence, 1);
  }

  private reserveMessage(length: number): number {
    const { settling } = this;
    if (settling === undefined) return this.journal!.reserve(length);
    this.settling = undefined;
    const at = this.journal!.reserve(settlingBytes + length);
    const { bytes } = this.journal!.chunk;
    bytes[at] = recordKind.settling;
    writeUInt32(bytes, at + 1, settling.id);
    writeUInt48(bytes, at + 5, settling.sequence);
    return at + settlingBytes;
  }

  private writeTargets(kind: number, { kept }: Route, from: number): number {
    const { bytes } = this.journal!.chunk;
    let at = from;
    bytes[at] = kind;
    writeUInt32(bytes, at + 1, kept.length);
    at += messageHeadBytes;
    for (let i = 0; i < kept.length; i++) {
      const queue = kept[i]!;
      writeUInt32(bytes, at, queue.id);
      writeUInt48(bytes, at + 4, queue.upcomingSequence);
      at += targetBytes;
    }
    return at;
  }

  appendSettled(queueId: number, first: number, count: number): void {
    const journal = this.journal!;
    const at = journal.reserve(15);
    const { bytes } = journal.chunk;
    bytes[at] = recordKind.settled;
    writeUInt32(bytes, at + 1, queueId);
    writeUInt48(bytes, at + 5, first);
    writeUInt32(bytes, at + 11, count);
  }

  appendReturned(queueId: number, sequence: number, count: number): void {
    const journal = this.journal!;
    const at = journal.reserve(15);
    const { bytes } = journal.chunk;
    bytes[at] = recordKind.returned;
    writeUInt32(bytes, at + 1, queueId);
    writeUInt48(bytes, at + 5, sequence);
    writeUInt32(bytes, at + 11, count);
  }

  appendDead(queueId: number, sequence: number, reason: DeathReason): void {
    const journal = this.journal!;
    const at = journal.reserve(12);
    const { bytes } = journal.chunk;
    bytes[at] = recordKind.dead;
    writeUInt32(bytes, at + 1, queueId);
    writeUInt48(bytes, at + 5, sequence);
    bytes[at + 11] = deathReasons.indexOf(reason);
  }

  appendDelivered(queueId: number, below: number): void {
    const journal = this.journal!;
    const at = journal.reserve(11);
    const { bytes } = journal.chunk;
    bytes[at] = recordKind.delivered;
    writeUInt32(bytes, at + 1, queueId);
    writeUInt48(bytes, at + 5, below);
  }

  /** What is appended from now on until `end` is there after a crash as a whole or not at all. Call both in one go, with no definition in between. */
  begin(): void {
    this.appendMark(recordKind.begin);
  }

  /** Takes with it what the queues held back. */
  end(): void {
    this.recordQueues();
    this.appendMark(recordKind.end);
  }

  appendDefinition(json: string): void {
    const length = Buffer.byteLength(json);
    const journal = this.journal!;
    const at = journal.reserve(1 + length);
    const { bytes } = journal.chunk;
    bytes[at] = recordKind.definition;
    bytes.write(json, at + 1, length, 'utf8');
  }

  private appendMark(kind: number): void {
    const at = this.journal!.reserve(1);
    this.journal!.chunk.bytes[at] = kind;
  }

  /** `queue` has settlements or deliveries that the next commit must take. */
  queueHasUnrecorded(queue: Queue): void {
    this.unrecorded.push(queue);
  }

  get hasUnrecorded(): boolean {
    return this.unrecorded.length > 0;
  }

  /** A commit begins: the queues append what they held back. */
  recordQueues(): void {
    const queues = this.unrecorded;
    this.unrecorded = [];
    for (const queue of queues) queue.record(this);
  }
}

/** Takes the records back after a crash. */
export interface RecordVisitor {
  message(queueId: number, sequence: number, chunk: Chunk, offset: number, length: number, isTimed: boolean): void;
  settled(queueId: number, first: number, count: number): void;
  delivered(queueId: number, below: number): void;
  returned(queueId: number, sequence: number, count: number): void;
  dead(queueId: number, sequence: number, reason: DeathReason): void;
  definition(json: string): void;
}

/** Throws a CodedError for a kind that is not known: what it says must not be passed over. */
export function readRecord(chunk: Chunk, offset: number, length: number, visitor: RecordVisitor): void {
  const { bytes } = chunk;
  switch (bytes[offset]) {
    case recordKind.message:
    case recordKind.timedMessage: {
      const targets = bytes.readUInt32BE(offset + 1);
      const isTimed = bytes[offset] === recordKind.timedMessage;
      const image = offset + messageHeadBytes + targets * targetBytes + (isTimed ? enqueuedAtBytes : 0);
      for (let i = 0; i < targets; i++) {
        const at = offset + messageHeadBytes + i * targetBytes;
        visitor.message(bytes.readUInt32BE(at), bytes.readUIntBE(at + 4, 6), chunk, image, offset + length - image, isTimed);
      }
      return;
    }
    case recordKind.settling:
      visitor.settled(bytes.readUInt32BE(offset + 1), bytes.readUIntBE(offset + 5, 6), 1);
      return readRecord(chunk, offset + settlingBytes, length - settlingBytes, visitor);
    case recordKind.settled:
      return visitor.settled(bytes.readUInt32BE(offset + 1), bytes.readUIntBE(offset + 5, 6), bytes.readUInt32BE(offset + 11));
    case recordKind.returned:
      return visitor.returned(bytes.readUInt32BE(offset + 1), bytes.readUIntBE(offset + 5, 6), bytes.readUInt32BE(offset + 11));
    case recordKind.dead:
      return visitor.dead(bytes.readUInt32BE(offset + 1), bytes.readUIntBE(offset + 5, 6), deathReasons[bytes[offset + 11]!]!);
    case recordKind.delivered:
      return visitor.delivered(bytes.readUInt32BE(offset + 1), bytes.readUIntBE(offset + 5, 6));
    case recordKind.definition:
      return visitor.definition(bytes.toString('utf8', offset + 1, offset + length));
    default:
      throw new CodedError(
        'data-folder-unusable',
        `A newer version of Dovecote wrote a record of kind ${bytes[offset]}: open it with that version`,
      );
  }
}

function writeUInt32(bytes: Buffer, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

function writeUInt48(bytes: Buffer, at: number, value: number): void {
  const high = Math.floor(value / 0x1_0000_0000);
  bytes[at] = high >>> 8;
  bytes[at + 1] = high;
  writeUInt32(bytes, at + 2, value >>> 0);
}

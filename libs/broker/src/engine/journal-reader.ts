import type { Ground } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import { defaultLimits } from '../limits.js';
import type { Checkpoint, Definition } from '../queues/definitions.js';
import type { ExchangeType } from '../queues/exchange-type.js';
import { Gate } from '../queues/gate.js';
import { MessageLog, readRecord, type RecordVisitor } from '../queues/message-log.js';
import { recordFault } from '../queues/record-check.js';
import { Turn } from '../queues/turn.js';
import { VirtualHost } from '../queues/virtual-host.js';
import { Arena, type Chunk } from '../storage/arena.js';
import { LivingMessages } from './living-messages.js';

/**
 * Takes the records of a journal as a broker would, keeps the definitions and of each message one bit, and says what no broker of
 * ours would have written.
 *
 * Definitions go to a virtual host, the same that a broker uses: what it refuses is refused here. Only `check-folder.ts` uses it.
 */
export class JournalReader implements RecordVisitor {
  /** Why the definitions cannot be used. */
  refusal: CodedError | undefined;
  wasClosed = false;
  private readonly host: VirtualHost;
  private readonly living = new Map<number, LivingMessages>();
  private readonly recordCounts = new Map<string, number>();
  private path = '';
  private records = 0;
  private hasCheckpoint = false;
  /** Of the record that is being read. */
  private offset = 0;
  private isLiving = false;

  constructor(
    ground: Ground,
    exchangeTypes: readonly ExchangeType[],
    /** `offset` counts from the beginning of the piece. */
    private readonly note: (offset: number, what: string, advice: string) => void,
  ) {
    const { clock, random } = ground;
    const arena = new Arena();
    const parts = { arena, turn: new Turn(clock), gate: new Gate(), random, clock, limits: defaultLimits };
    this.host = new VirtualHost('/', { ...parts, log: new MessageLog(arena), exchangeTypes });
  }

  /** The records that follow stand in this file. */
  beginPiece(path: string): void {
    this.records = this.recordCounts.get(path) ?? 0;
    this.path = path;
  }

  recordsOf(path: string): number {
    return this.recordCounts.get(path) ?? 0;
  }

  get queueCounts(): readonly { readonly name: string; readonly messages: number }[] {
    const counts = [...this.host.queues].map(({ id, name }) => ({ name, messages: this.living.get(id)?.count ?? 0 }));
    return counts.sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  /** Throws what a broker would refuse to open with. */
  read(chunk: Chunk, offset: number, length: number): void {
    this.recordCounts.set(this.path, ++this.records);
    this.offset = offset;
    const fault = recordFault(chunk.bytes, offset, length);
    if (fault !== undefined) return this.note(offset, fault, unexpected);
    try {
      readRecord(chunk, offset, length, this);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.refusal = error instanceof CodedError ? error : new CodedError('data-folder-unusable', `A definition cannot be used: ${reason}`);
      this.note(offset, this.refusal.message, error instanceof CodedError ? otherBroker : unexpected);
      throw this.refusal;
    }
  }

  /** Whether somebody still needs this record; asked once for each, the youngest first. */
  claim(bytes: Buffer, offset: number, length: number): boolean {
    this.isLiving = false;
    if (recordFault(bytes, offset, length) === undefined) readRecord({ bytes } as Chunk, offset, length, this.claimer);
    return this.isLiving;
  }

  message(queueId: number, sequence: number): void {
    this.wasClosed = false;
    const messages = this.messagesOf(queueId, 'A message went to');
    if (messages === undefined) return;
    if (sequence < messages.next) {
      this.note(this.offset, `Message ${sequence} of ${this.nameOf(queueId)} comes after message ${messages.next - 1}`, unexpected);
    } else messages.next = sequence + 1;
    if (!messages.add(sequence)) this.note(this.offset, `Message ${sequence} of ${this.nameOf(queueId)} is there twice`, unexpected);
  }

  settled(queueId: number, first: number, count: number): void {
    this.wasClosed = false;
    const messages = this.messagesOf(queueId, 'Messages are settled in');
    if (messages === undefined) return;
    if (first + count > Math.max(messages.next, messages.nextAtBeginning)) {
      const what = `Messages ${first} to ${first + count - 1} of ${this.nameOf(queueId)} are settled, and the last that came is ${messages.next - 1}`;
      this.note(this.offset, what, unexpected);
    }
    messages.removeRange(first, count);
  }

  delivered(queueId: number): void {
    this.messagesOf(queueId, 'Deliveries are recorded in');
  }

  definition(json: string): void {
    const definition = JSON.parse(json) as Definition;
    this.wasClosed = definition.do === 'close';
    const before = definition.do === 'checkpoint' && this.hasCheckpoint ? this.host.checkpoint() : undefined;
    this.host.definition(json);
    if (definition.do !== 'checkpoint') return;
    this.hasCheckpoint = true;
    if (before !== undefined) return this.compare(before, definition);
    for (const { queue, nextSequence } of definition.queues) {
      const messages = this.messagesOf(queue.id, 'A checkpoint counts');
      if (messages !== undefined) messages.nextAtBeginning = nextSequence;
    }
  }

  private readonly claimer: RecordVisitor = {
    message: (queueId, sequence) => {
      if (this.living.get(queueId)?.remove(sequence) === true) this.isLiving = true;
    },
    settled: () => undefined,
    delivered: () => undefined,
    definition: () => undefined,
  };

  /** A later checkpoint repeats what the records before it made. */
  private compare(made: Checkpoint, said: Checkpoint): void {
    const texts = (list: readonly unknown[]): ReadonlySet<string> => new Set(list.map((item) => JSON.stringify(item)));
    const lists: readonly (readonly [string, readonly unknown[], readonly unknown[]])[] = [
      ['exchange', made.exchanges, said.exchanges],
      ['queue', made.queues.map(({ queue }) => queue), said.queues.map(({ queue }) => queue)],
      ['binding', made.bindings, said.bindings],
    ];
    for (const [kind, ours, theirs] of lists) {
      const [had, has] = [texts(ours), texts(theirs)];
      for (const text of has)
        if (!had.has(text)) this.note(this.offset, `A checkpoint has a ${kind} that nothing declared: ${text}`, unexpected);
      for (const text of had) if (!has.has(text)) this.note(this.offset, `A checkpoint lacks a declared ${kind}: ${text}`, unexpected);
    }
    for (const { queue, nextSequence } of said.queues) {
      const next = this.living.get(queue.id)?.next ?? 1;
      if (nextSequence < next) {
        this.note(
          this.offset,
          `A checkpoint counts ${this.nameOf(queue.id)} up to ${nextSequence - 1}, and message ${next - 1} came before it`,
          unexpected,
        );
      }
    }
  }

  private messagesOf(queueId: number, what: string): LivingMessages | undefined {
    if (this.host.findQueueById(queueId) === undefined) {
      this.living.delete(queueId);
      this.note(this.offset, `${what} queue ${queueId}, which is not declared then`, unexpected);
      return undefined;
    }
    let messages = this.living.get(queueId);
    if (messages === undefined) this.living.set(queueId, (messages = new LivingMessages()));
    return messages;
  }

  private nameOf(queueId: number): string {
    return `queue '${this.host.findQueueById(queueId)?.name ?? queueId}'`;
  }
}

const unexpected = 'No version of Dovecote writes that: please report it, with a copy of the folder';
const otherBroker = 'Open the folder with the broker that wrote it';

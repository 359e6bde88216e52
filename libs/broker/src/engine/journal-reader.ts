import type { Ground } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import { defaultLimits } from '../limits.js';
import { FoundBatches, journaledFault } from '../log/journaled-batches.js';
import type { Checkpoint } from '../queues/definitions.js';
import type { ExchangeType } from '../queues/exchange-type.js';
import { Gate } from '../queues/gate.js';
import { MessageLog, readRecord, recordKind, type RecordVisitor } from '../queues/message-log.js';
import { recordFault } from '../queues/record-check.js';
import { RecordReplay } from '../queues/record-replay.js';
import { Turn } from '../queues/turn.js';
import type { Arena, Chunk } from '../storage/arena.js';
import { AccessControl } from './access-control.js';
import { LivingMessages } from './living-messages.js';
import { VirtualHosts, type WholeCheckpoint } from './virtual-hosts.js';

/** Where a record stands. */
export interface Place {
  readonly path: string;
  readonly byte: number;
}

/**
 * Takes the records of a journal as a broker would, keeps the definitions and of each message one bit, and says what no broker of
 * ours would have written.
 *
 * Definitions go to virtual hosts, the same that a broker uses: what it refuses is refused here. Only `check-folder.ts` uses it.
 */
export class JournalReader implements RecordVisitor {
  /** Why the definitions cannot be used. */
  refusal: CodedError | undefined;
  wasClosed = false;
  private readonly hosts: VirtualHosts;
  private readonly living = new Map<number, LivingMessages>();
  private readonly recordCounts = new Map<string, number>();
  private readonly replay: RecordReplay;
  /** Where the chunks begin that hold records: those of a transaction are read when its end has come. */
  private readonly pieces = new WeakMap<Chunk, Place>();
  private piece: Place = { path: '', byte: 0 };
  private records = 0;
  private hasCheckpoint = false;
  /** Of the record that is being read. */
  private place: Place = this.piece;
  private isLiving = false;

  constructor(
    ground: Ground,
    arena: Arena,
    exchangeTypes: readonly ExchangeType[],
    /** Takes what there is of the partitioned log. */
    private readonly found: FoundBatches,
    private readonly tell: (place: Place, what: string, advice: string) => void,
  ) {
    const { clock, random } = ground;
    this.replay = new RecordReplay(arena, (chunk, offset, length) => this.readCounting(chunk, offset, length));
    const parts = { arena, turn: new Turn(clock), gate: new Gate(), random, clock, limits: defaultLimits };
    this.hosts = new VirtualHosts({ ...parts, log: new MessageLog(arena), exchangeTypes }, new AccessControl(random));
  }

  /** The records that follow stand in this file. */
  beginPiece(path: string, byte: number): void {
    this.records = this.recordCounts.get(path) ?? 0;
    this.piece = { path, byte };
  }

  recordsOf(path: string): number {
    return this.recordCounts.get(path) ?? 0;
  }

  get queueCounts(): readonly { readonly name: string; readonly messages: number; readonly virtualHost?: string }[] {
    const counts = this.hosts.all.flatMap(({ name: virtualHost, queues }) =>
      [...queues].map(({ id, name }) => ({
        name,
        messages: this.living.get(id)?.count ?? 0,
        ...(virtualHost === '/' ? {} : { virtualHost }),
      })),
    );
    return counts.sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  /** Throws what a broker would refuse to open with. */
  read(chunk: Chunk, offset: number, length: number): void {
    const { path, byte } = this.piece;
    this.recordCounts.set(path, ++this.records);
    this.place = { path, byte: byte + offset };
    if (!this.pieces.has(chunk)) this.pieces.set(chunk, this.piece);
    const isOfLog = length > 0 && FoundBatches.has(chunk.bytes[offset]);
    const fault = isOfLog ? journaledFault(chunk.bytes, offset, length) : recordFault(chunk.bytes, offset, length);
    if (fault === undefined) this.replay.take(chunk, offset, length);
    else this.note(fault);
  }

  /** A record that counts, because it stands in no transaction or in one that has ended. */
  private readCounting(chunk: Chunk, offset: number, length: number): void {
    if (FoundBatches.has(chunk.bytes[offset])) {
      this.wasClosed = false;
      return this.found.take(chunk, offset, length);
    }
    const { path, byte } = this.pieces.get(chunk)!;
    this.place = { path, byte: byte + offset };
    try {
      this.isMoved = chunk.bytes[offset] === recordKind.moved;
      readRecord(chunk, offset, length, this);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.refusal = error instanceof CodedError ? error : new CodedError('data-folder-unusable', `A definition cannot be used: ${reason}`);
      this.note(this.refusal.message, error instanceof CodedError ? otherBroker : unexpected);
      throw this.refusal;
    }
  }

  private note(what: string, advice = unexpected): void {
    this.tell(this.place, what, advice);
  }

  /** Whether somebody still needs this record; asked once for each, the youngest first. */
  claim(bytes: Buffer, offset: number, length: number): boolean {
    this.isLiving = false;
    const kind = bytes[offset];
    const isMessage =
      kind === recordKind.message || kind === recordKind.timedMessage || kind === recordKind.settling || kind === recordKind.moved;
    if (isMessage && recordFault(bytes, offset, length) === undefined) readRecord({ bytes } as Chunk, offset, length, this.claimer);
    return this.isLiving;
  }

  message(queueId: number, sequence: number): void {
    this.wasClosed = false;
    const messages = this.messagesOf(queueId, 'A message went to');
    if (messages === undefined) return;
    // Written again so that its file could go, it comes late, and where that file did not go yet it is there twice.
    if (this.isMoved) {
      messages.next = Math.max(messages.next, sequence + 1);
      return void messages.add(sequence);
    }
    if (sequence < messages.next) {
      this.note(`Message ${sequence} of ${this.nameOf(queueId)} comes after message ${messages.next - 1}`);
    } else messages.next = sequence + 1;
    if (!messages.add(sequence)) this.note(`Message ${sequence} of ${this.nameOf(queueId)} is there twice`);
  }

  settled(queueId: number, first: number, count: number): void {
    this.wasClosed = false;
    const messages = this.messagesOf(queueId, 'Messages are settled in');
    if (messages === undefined) return;
    if (first + count > Math.max(messages.next, messages.nextAtBeginning)) {
      const what = `Messages ${first} to ${first + count - 1} of ${this.nameOf(queueId)} are settled, and the last that came is ${messages.next - 1}`;
      this.note(what);
    }
    messages.removeRange(first, count);
  }

  returned(queueId: number): void {
    this.wasClosed = false;
    this.messagesOf(queueId, 'What came back is counted in');
  }

  dead(queueId: number): void {
    this.wasClosed = false;
    this.messagesOf(queueId, 'A message is dead in');
  }

  delivered(queueId: number): void {
    this.messagesOf(queueId, 'Deliveries are recorded in');
  }

  definition(json: string): void {
    const definition = JSON.parse(json) as WholeCheckpoint | { readonly do: 'close' };
    this.wasClosed = definition.do === 'close';
    const before = definition.do === 'checkpoint' && this.hasCheckpoint ? contents(this.hosts.checkpoint()) : new Map<string, Contents>();
    this.hosts.definition(json);
    if (definition.do !== 'checkpoint') return;
    this.hasCheckpoint = true;
    for (const [name, said] of contents(definition)) {
      const made = before.get(name);
      if (made === undefined) this.begin(said);
      else this.compare(made, said);
    }
  }

  /** What is known of these queues is what the checkpoint says. */
  private begin(said: Contents): void {
    for (const { id, nextSequence } of countsOf(said)) {
      const messages = this.messagesOf(id, 'A checkpoint counts');
      if (messages !== undefined) messages.nextAtBeginning = nextSequence;
    }
  }

  /** The record that is read now is of a message that was written before. */
  private isMoved = false;
  private readonly claimer: RecordVisitor = {
    message: (queueId, sequence) => {
      if (this.living.get(queueId)?.remove(sequence) === true) this.isLiving = true;
    },
    settled: () => undefined,
    delivered: () => undefined,
    returned: () => undefined,
    dead: () => undefined,
    definition: () => undefined,
  };

  /** A later checkpoint repeats what the records before it made. */
  private compare(made: Contents, said: Contents): void {
    const texts = (list: readonly unknown[]): ReadonlySet<string> => new Set(list.map((item) => JSON.stringify(item)));
    const lists: readonly (readonly [string, readonly unknown[], readonly unknown[]])[] = [
      ['exchange', made.exchanges, said.exchanges],
      ['queue', made.queues.map(({ queue }) => queue), said.queues.map(({ queue }) => queue)],
      ['binding', made.bindings, said.bindings],
    ];
    for (const [kind, ours, theirs] of lists) {
      const [had, has] = [texts(ours), texts(theirs)];
      for (const text of has) if (!had.has(text)) this.note(`A checkpoint has a ${kind} that nothing declared: ${text}`);
      for (const text of had) if (!has.has(text)) this.note(`A checkpoint lacks a declared ${kind}: ${text}`);
    }
    for (const { id, nextSequence } of countsOf(said)) {
      const next = this.living.get(id)?.next ?? 1;
      if (nextSequence < next) {
        this.note(`A checkpoint counts ${this.nameOf(id)} up to ${nextSequence - 1}, and message ${next - 1} came before it`);
      }
    }
  }

  private messagesOf(queueId: number, what: string): LivingMessages | undefined {
    if (this.hosts.whatHas(queueId) === undefined) {
      this.living.delete(queueId);
      this.note(`${what} queue ${queueId}, which is not declared then`);
      return undefined;
    }
    let messages = this.living.get(queueId);
    if (messages === undefined) this.living.set(queueId, (messages = new LivingMessages()));
    return messages;
  }

  private nameOf(queueId: number): string {
    return this.hosts.whatHas(queueId) ?? `queue '${queueId}'`;
  }
}

type Contents = Omit<Checkpoint, 'do' | 'nextQueueId'>;

/** Of each virtual host. */
function contents(checkpoint: WholeCheckpoint): ReadonlyMap<string, Contents> {
  const others = checkpoint.virtualHosts ?? [];
  return new Map([
    ['/', checkpoint],
    ...others.flatMap(({ settings, checkpoint: own }) => (own === undefined ? [] : [[settings.name, own] as const])),
  ]);
}

/** How far a checkpoint counts messages, by the number of what has them. */
function countsOf({ queues, held = [] }: Contents): readonly { readonly id: number; readonly nextSequence: number }[] {
  return [...queues.map(({ queue: { id }, nextSequence }) => ({ id, nextSequence })), ...held];
}

const unexpected = 'No version of Dovecote writes that: please report it, with a copy of the folder';
const otherBroker = 'Open the folder with the broker that wrote it';

/**
 * One partition while this member reads it: what was fetched and waits, what handlers have, and how far all of it is done.
 *
 *   … done, done │ handed out, done, handed out │ fetched │ not fetched yet
 *               └─ committable                            └─ nextOffset
 *
 * Handlers end in any order, and only what has everything before it done can be committed: a crash repeats the rest, and loses nothing. Keeps nothing
 * across restarts but through its commits.
 */
import { Fifo } from '../../fifo.js';
import type { Lane } from '../../transport.js';
import type { FetchedPartition, IncomingRecord, TopicPartition } from './kafka-client.js';

/** How a member finds a partition that it is given. */
export interface LaneStart {
  readonly topicId: string;
  readonly leader: number;
  /** What was committed, where reading goes on. */
  readonly offset: number;
  /** What stands before this offset may have been handed out before. */
  readonly knownUpTo: number;
  /** How often a member began at `offset` and ended without a word. */
  readonly starts: number;
  /** How many records a member may have had in hand when it ended. */
  readonly inHandMax: number;
}

/** So many members ended without having got further, before the records they had in hand are handed out one by one. */
const ENDS_UNSUSPECTED_MAX = 1;

export class PartitionLane implements TopicPartition, Lane {
  readonly id: string;
  readonly topic: string;
  readonly partition: number;
  readonly topicId: string;
  leader: number;
  /** Where the next fetch begins. */
  nextOffset: number;
  committed: number;
  /** Nothing more is handed out: the partition goes, or is gone, to somebody else. */
  isClosing = false;
  isGone = false;
  isPaused = false;
  onResume: (() => void) | undefined;
  /** Whether the group still counts on who reads it. */
  isReaderAlive: () => boolean = () => true;
  /** The same, as the group's coordinator says. */
  isConfirmed: () => Promise<boolean> = () => Promise.resolve(true);
  readonly #start: LaneStart;
  readonly #fetched = new Fifo<IncomingRecord>();
  readonly #open = new Fifo<LanePlace>();
  #outstanding = 0;
  #taken = 0;
  #idle: (() => void)[] = [];

  constructor({ topic, partition }: TopicPartition, start: LaneStart) {
    this.id = `${topic}/${partition}`;
    this.topic = topic;
    this.partition = partition;
    this.topicId = start.topicId;
    this.leader = start.leader;
    this.nextOffset = start.offset;
    this.committed = start.offset;
    this.#start = start;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    this.onResume?.();
  }

  get isDoubtful(): boolean {
    return !this.isGone && !this.isReaderAlive();
  }

  get canHandOut(): boolean {
    return !this.isClosing && !this.isPaused && this.#fetched.length > 0;
  }

  /** What `take` would give. */
  get next(): IncomingRecord | undefined {
    return this.#fetched.peek();
  }

  get wantsMore(): boolean {
    return !this.isClosing && !this.isPaused && this.#fetched.length === 0;
  }

  get outstanding(): number {
    return this.#outstanding;
  }

  /** The offset from which a successor goes on. */
  get committable(): number {
    return this.#open.peek()?.offset ?? this.#fetched.peek()?.offset ?? this.nextOffset;
  }

  get isUncommitted(): boolean {
    return this.committable > this.committed;
  }

  /** It begins with a record with which an earlier member began, and ended without a word: until that is committed as done. */
  get isSuspect(): boolean {
    const { starts, offset, knownUpTo } = this.#start;
    return starts > 0 && offset < knownUpTo && this.committed === offset;
  }

  /**
   * Members ended here again and again, and what ended them need not be the first of what they had in hand: handed out one by one, each when what was before
   * it is committed, it comes to be the first.
   */
  get isOneByOne(): boolean {
    const { starts, inHandMax } = this.#start;
    return starts > ENDS_UNSUSPECTED_MAX && this.#taken < inHandMax && this.isKnown(this.#fetched.peek()?.offset ?? this.nextOffset);
  }

  /** How often the record at `offset` was handed out, this time included, as far as that is known: exact for the one at which reading began. */
  deliveries(offset: number): number {
    if (offset === this.#start.offset) return this.#start.starts + 1;
    return this.isKnown(offset) ? 2 : 1;
  }

  isKnown(offset: number): boolean {
    return offset < this.#start.knownUpTo;
  }

  /** Members that ended without a word at the offset committed now, this one counted: not those that made progress. */
  get starts(): number {
    return this.committed === this.#start.offset ? this.#start.starts + 1 : 0;
  }

  receive({ records, nextOffset }: Pick<FetchedPartition, 'records' | 'nextOffset'>): void {
    if (this.isClosing) return;
    for (const record of records) this.#fetched.push(record);
    this.nextOffset = Math.max(this.nextOffset, nextOffset);
  }

  /** The next record, which is out until its place is left. */
  take(): { readonly record: IncomingRecord; readonly place: LanePlace } | undefined {
    const record = this.#fetched.shift();
    if (record === undefined) return undefined;
    this.#taken += 1;
    const place = new LanePlace(record.offset);
    this.#open.push(place);
    this.#outstanding += 1;
    return { record, place };
  }

  /** What was out at `place` is done with. */
  leave(place: LanePlace): void {
    place.isDone = true;
    this.#outstanding -= 1;
    while (this.#open.peek()?.isDone === true) this.#open.shift();
    if (this.#outstanding === 0) this.#tellIdle();
  }

  /** What was out at `place` is not done: whoever reads on begins with it. */
  giveBack(): void {
    this.#outstanding -= 1;
    if (this.#outstanding === 0) this.#tellIdle();
  }

  /** Hands out nothing more; resolves when nothing is out. */
  async drain(): Promise<void> {
    this.#forgetFetched();
    if (this.#outstanding > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** What is still out is somebody else's from now on. */
  close(): void {
    this.#forgetFetched();
    this.isGone = true;
    this.#tellIdle();
  }

  #tellIdle(): void {
    for (const idle of this.#idle.splice(0)) idle();
  }

  #forgetFetched(): void {
    this.isClosing = true;
    this.nextOffset = this.#fetched.peek()?.offset ?? this.nextOffset;
    this.#fetched.drain();
  }
}

/** Where a record stands among those that are out. */
export class LanePlace {
  isDone = false;
  constructor(readonly offset: number) {}
}

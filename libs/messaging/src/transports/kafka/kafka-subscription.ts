/**
 * A service's subscription on Kafka: the topics of its sources, found anew as topics come, its inbox and its quarantine, read as one consumer group.
 *
 * What stands in a topic and nobody here asked for is passed over. Where the group begins with a topic that it never read: at what comes from now on, and
 * with all of it where the topic came into being after a pattern asked for it, or is the group's own. Keeps nothing but through its commits.
 */
import { MessagingError } from '../../errors.js';
import type { Incoming, Lane, Source, SubscriptionRequest, TransportConsumer, TransportSubscription } from '../../transport.js';
import { isPattern } from '../../type-pattern.js';
import { GroupReader, type GroupReaderSettings, type GroupReading } from './group-reader.js';
import type { IncomingRecord, KafkaClient } from './kafka-client.js';
import { fromRecord, kindAndType } from './kafka-events.js';
import { boxTopic, boxTopics, foundTopics, literalTopics, parkedTopic, sourceFinder } from './kafka-topics.js';
import type { LanePlace, PartitionLane } from './partition-lane.js';
import type { TopicMaker } from './topic-maker.js';

export class KafkaSubscription implements TransportSubscription, GroupReading {
  readonly outstandingMax: number;
  readonly note: { readonly topic: string; readonly text: string };
  readonly #reader: GroupReader;
  readonly #inbox: string;
  readonly #quarantine: string;
  readonly #literals: readonly string[];
  readonly #ordered = new Set<PartitionLane>();
  /** What is out of sources with a prefetch of their own. */
  readonly #out: ReadonlyMap<Source, Map<LanePlace, PartitionLane>>;
  readonly #find: ReturnType<typeof sourceFinder>;
  #isStarted = false;
  /** A handler asks for an order, or one did, and something may be parked still. */
  #hasLanes = false;

  constructor(
    private readonly client: KafkaClient,
    settings: Omit<GroupReaderSettings, 'group'>,
    private readonly topicMaker: TopicMaker,
    private readonly request: SubscriptionRequest,
    private readonly consumer: TransportConsumer,
  ) {
    const { group, sources, prefetch } = request;
    this.#inbox = boxTopic({ group, box: 'inbox' });
    this.#quarantine = boxTopic({ group, box: 'quarantine' });
    this.#literals = literalTopics(request);
    this.#find = sourceFinder(sources);
    this.#out = new Map(sources.filter((source) => source.prefetch !== undefined).map((source) => [source, new Map()]));
    this.outstandingMax = prefetch;
    // So that a topic which appears while nobody is there is read from its beginning by whoever comes back.
    const patterns = sources.filter(({ pattern }) => isPattern(pattern)).map(({ kind, pattern }) => `${kind} ${pattern}`);
    this.note = { topic: this.#inbox, text: JSON.stringify(patterns) };
    this.#reader = new GroupReader(client, { ...settings, group }, this);
  }

  async start(): Promise<void> {
    const { group } = this.request;
    await this.topicMaker.ensure([...this.#literals, ...boxTopics(group)]);
    this.#hasLanes = this.request.sources.some(({ order }) => order === 'key') || (await this.#wasParked(parkedTopic(group)));
    await this.#reader.start();
    this.#isStarted = true;
  }

  stop(): Promise<void> {
    this.#reader.stop();
    return Promise.resolve();
  }

  close(): Promise<void> {
    return this.#reader.close();
  }

  abandon(): void {
    this.#reader.abandon();
  }

  async topics(): Promise<readonly string[]> {
    const boxes = [this.#inbox, this.#quarantine];
    if (!this.request.sources.some(({ pattern }) => isPattern(pattern))) return [...this.#literals, ...boxes];
    return [...new Set([...this.#literals, ...boxes, ...foundTopics(this.request, (await this.client.topics()).keys())])].toSorted();
  }

  beginsAtOldest(topic: string, note: string | undefined): boolean {
    if (topic === this.#inbox || topic === this.#quarantine || topic.startsWith('dovecote.commands.')) return true;
    if (this.#literals.includes(topic)) return false;
    return this.#isStarted || note === this.note.text;
  }

  laneOutstandingMax(topic: string): number {
    return topic === this.#quarantine ? 1 : Number.POSITIVE_INFINITY;
  }

  /** What was fetched ahead and has no room waits in its partition, and everything behind it there; the others go on. */
  hasRoom(record: IncomingRecord, lane: PartitionLane): boolean {
    if (this.#out.size === 0 || this.#isOwn(lane)) return true;
    const { kind, type } = kindAndType(lane.topic, record);
    const source = this.#find(kind, type, lane.topic);
    const out = source && this.#out.get(source);
    if (source?.prefetch === undefined || out === undefined || out.size < source.prefetch) return true;
    // What went to another member with its partition is not here any more.
    for (const [place, from] of out) if (place.isDone || from.isGone) out.delete(place);
    return out.size < source.prefetch;
  }

  take(record: IncomingRecord, lane: PartitionLane, place: LanePlace): void {
    const envelope = fromRecord(lane.topic, lane.partition, record);
    const isOwn = this.#isOwn(lane);
    const kind = 'problem' in envelope ? 'event' : envelope.kind;
    const source = isOwn ? undefined : this.#find(kind, envelope.type, lane.topic);
    if (!isOwn && source === undefined) {
      this.#reader.settle(lane, place);
      return;
    }
    if (source !== undefined) this.#out.get(source)?.set(place, lane);
    const order = source?.order === 'key' ? lane : undefined;
    this.consumer.onMessage(
      new KafkaIncoming(this.#reader, this.consumer, lane, place, record, envelope, lane.topic === this.#quarantine, order),
    );
  }

  async assigned(lane: PartitionLane): Promise<void> {
    if (!this.#hasLanes || this.#isOwn(lane)) return;
    this.#ordered.add(lane);
    await this.consumer.assigned(lane);
  }

  async #wasParked(topic: string): Promise<boolean> {
    return (await this.client.topics([topic])).has(topic);
  }

  async revoked(lane: PartitionLane, isLost: boolean): Promise<void> {
    if (this.#ordered.delete(lane)) await this.consumer.revoked(lane, isLost);
  }

  #isOwn({ topic }: PartitionLane): boolean {
    return topic === this.#inbox || topic === this.#quarantine;
  }
}

class KafkaIncoming implements Incoming {
  #isSettled = false;

  constructor(
    private readonly reader: GroupReader,
    private readonly consumer: TransportConsumer,
    private readonly from: PartitionLane,
    private readonly place: LanePlace,
    private readonly record: IncomingRecord,
    readonly envelope: Incoming['envelope'],
    readonly isQuarantined: boolean,
    readonly lane: Lane | undefined,
    private readonly isRepeated = false,
  ) {}

  get isRedelivered(): boolean {
    return this.isRepeated || this.from.isKnown(this.record.offset);
  }

  get deliveries(): number {
    return Math.max(this.from.deliveries(this.record.offset), this.isRepeated ? 2 : 1);
  }

  get isTakenBack(): boolean {
    return this.from.isGone;
  }

  get origin(): string {
    return `${this.from.topic}, partition ${this.from.partition}, offset ${this.record.offset}`;
  }

  acknowledge(): void {
    if (this.#settle()) this.reader.settle(this.from, this.place);
  }

  /** A log has nothing to give back: the same record is handed out again here, as long as the partition stays here. */
  release(): void {
    if (!this.#settle()) return;
    const { reader, consumer, from, place, record, envelope, isQuarantined, lane } = this;
    if (from.isClosing) return reader.giveBack(from);
    reader.again(from, () =>
      consumer.onMessage(new KafkaIncoming(reader, consumer, from, place, record, envelope, isQuarantined, lane, true)),
    );
  }

  #settle(): boolean {
    if (this.#isSettled || this.from.isGone) return false;
    this.#isSettled = true;
    return true;
  }
}

export function alreadySubscribed(): MessagingError {
  return new MessagingError('unsupported', 'This transport has a subscription already.');
}

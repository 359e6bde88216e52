/**
 * How a log keeps a message for a time: topics `dovecote.delay.<ms>`, in each of which every record waits equally long, so that they come due in the order in
 * which they stand. A message goes through the longest that fits into what is left of its delay, and so on, then to where it was meant for.
 *
 *   orders ◀─ dovecote.delay.100 ◀─ dovecote.delay.400 ◀─ … ◀─ published with a delay
 *
 * Whoever subscribes or publishes with a delay also carries on what is due, as a member of one group for all: a message waits for nobody in particular. It
 * is acknowledged in one topic when it stands in the next: it may arrive twice after a crash, never not at all.
 */
import type { Timer } from '@dovecote/ground';
import { MessagingError, reasonOf } from '../../errors.js';
import { GroupReader, type GroupReaderSettings, type GroupReading } from './group-reader.js';
import type { IncomingRecord, KafkaClient, OutgoingRecord } from './kafka-client.js';
import type { KafkaPublishing } from './kafka-publishing.js';
import { DELAY_PREFIX, delayTopic } from './kafka-topics.js';
import type { LanePlace, PartitionLane } from './partition-lane.js';
import type { TopicMaker } from './topic-maker.js';

/** From a tenth of a second to a day: what is longer goes through the last one again and again. */
const TIERS_MS = Array.from({ length: 11 }, (_, level) => 100 * 4 ** level);
export const delayTopics: readonly string[] = TIERS_MS.map(delayTopic);
/** Three years, as over AMQP. */
const DELAY_MS_MAX = 100 * (2 ** 30 - 1);
/** Timers of one topic that run at once. */
const WAITING_MAX = 1_000;
const TRY_AGAIN_MS = 1_000;
const GROUP = 'dovecote.delay';

const THEN = 'dovecote-then';
const DUE_AT = 'dovecote-due-at';
const HOP_ENDS_AT = 'dovecote-hop-ends-at';

/** The record on its first way: what stands in `record.topic` is where it is meant to arrive. Throws a `MessagingError` for a delay that is none. */
export function delayed(record: OutgoingRecord, delayMs: number, nowMs: number): OutgoingRecord {
  if (!(delayMs > 0 && delayMs <= DELAY_MS_MAX)) {
    throw new MessagingError('invalid-publish', `A delay is from 1 ms to ${DELAY_MS_MAX} ms (three years), not ${delayMs} ms.`);
  }
  return onItsWay(record, record.topic, nowMs + delayMs, nowMs);
}

function onItsWay(record: OutgoingRecord, then: string, dueAtMs: number, nowMs: number): OutgoingRecord {
  const leftMs = dueAtMs - nowMs;
  const tierMs = TIERS_MS.findLast((ms) => ms <= leftMs) ?? TIERS_MS[0]!;
  const headers = {
    ...record.headers,
    [THEN]: then,
    [DUE_AT]: String(dueAtMs),
    [HOP_ENDS_AT]: String(Math.min(dueAtMs, nowMs + tierMs)),
  };
  return { ...record, topic: delayTopic(tierMs), headers };
}

export class DelayForwarder implements GroupReading {
  readonly outstandingMax = Number.POSITIVE_INFINITY;
  readonly note = undefined;
  readonly #reader: GroupReader;
  readonly #waiting = new Set<Timer>();

  constructor(
    client: KafkaClient,
    private readonly settings: Omit<GroupReaderSettings, 'group'>,
    private readonly topicMaker: TopicMaker,
    private readonly publishing: KafkaPublishing,
  ) {
    this.#reader = new GroupReader(client, { ...settings, group: GROUP }, this);
  }

  async start(): Promise<void> {
    await this.topicMaker.ensure(delayTopics);
    await this.#reader.start();
  }

  async close(): Promise<void> {
    this.#forget();
    await this.#reader.close();
  }

  abandon(): void {
    this.#forget();
    this.#reader.abandon();
  }

  topics(): Promise<readonly string[]> {
    return Promise.resolve(delayTopics);
  }

  beginsAtOldest(): boolean {
    return true;
  }

  laneOutstandingMax(): number {
    return WAITING_MAX;
  }

  hasRoom(): boolean {
    return true;
  }

  assigned(): Promise<void> {
    return Promise.resolve();
  }

  revoked(): Promise<void> {
    return Promise.resolve();
  }

  take(record: IncomingRecord, lane: PartitionLane, place: LanePlace): void {
    this.#wait(numberOf(record.headers.get(HOP_ENDS_AT)) - this.settings.clock.now(), lane, () => void this.#carryOn(record, lane, place));
  }

  async #carryOn({ key, value, headers }: IncomingRecord, lane: PartitionLane, place: LanePlace): Promise<void> {
    if (lane.isGone) return;
    const { [THEN]: then, [DUE_AT]: due, [HOP_ENDS_AT]: _hop, ...own } = Object.fromEntries(headers);
    const nowMs = this.settings.clock.now();
    if (then === undefined || then.startsWith(DELAY_PREFIX)) {
      this.settings.log.error(
        `${lane.id} ${place.offset} does not say where it is meant for: it is passed over. Somebody else wrote to this topic.`,
      );
      this.#reader.settle(lane, place);
      return;
    }
    const record: OutgoingRecord = { topic: then, key: key ?? undefined, value: value ?? undefined, headers: own };
    const next = numberOf(due) <= nowMs ? record : onItsWay(record, then, numberOf(due), nowMs);
    try {
      await this.publishing.send(next, `what waited for ${then}`, Number.POSITIVE_INFINITY);
      this.#reader.settle(lane, place);
    } catch (error) {
      if (error instanceof MessagingError && error.code === 'closed') return;
      this.settings.log.error(
        `What waited for ${then} could not be carried on (${reasonOf(error)}): it is tried again, and nothing is lost.`,
      );
      this.#wait(TRY_AGAIN_MS, lane, () => void this.#carryOn({ key, value, headers, offset: place.offset, timestampMs: 0 }, lane, place));
    }
  }

  #wait(ms: number, lane: PartitionLane, then: () => void): void {
    const timer = this.settings.clock.after(Math.max(0, ms), () => {
      this.#waiting.delete(timer);
      if (!lane.isGone) then();
    });
    this.#waiting.add(timer);
  }

  #forget(): void {
    for (const timer of this.#waiting) timer.cancel();
    this.#waiting.clear();
  }
}

/** What others wrote there is due. */
function numberOf(text: string | undefined): number {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : 0;
}

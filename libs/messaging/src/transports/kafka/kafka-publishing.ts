/**
 * What is published to Kafka and not confirmed yet: batches by themselves, because everything that came while one was on its way goes with the next, and
 * stays in order. Kept in memory across reconnects and sent again, under the same ids, until the cluster confirms it or its deadline is over.
 *
 * One batch at a time: two on their way could change places when the first has to be sent again.
 */
import type { Clock, Timer } from '@dovecote/ground';
import type { Backoff } from '../../backoff.js';
import type { Envelope } from '../../envelope.js';
import { MessagingError, reasonOf } from '../../errors.js';
import { Fifo } from '../../fifo.js';
import type { Log } from '../../log.js';
import type { Route } from '../../transport.js';
import { type KafkaClient, KafkaFailure, type OutgoingRecord, kafkaCodes } from './kafka-client.js';
import { toRecord } from './kafka-events.js';
import { delayed } from './delay-tiers.js';
import { destinationOf, replyPlace } from './kafka-topics.js';
import type { TopicMaker } from './topic-maker.js';

export interface KafkaPublishingSettings {
  readonly clock: Clock;
  readonly backoff: Backoff;
  readonly log: Log;
  /** For sentences. */
  readonly shown: string;
  /** How long a batch waits for more; not at all when not given. */
  readonly lingerMs?: number | undefined;
  readonly batchBytesMax?: number | undefined;
}

interface Unconfirmed {
  readonly record: OutgoingRecord;
  /** As a sentence calls it. */
  readonly what: string;
  readonly deadlineMs: number;
  readonly resolve: () => void;
  readonly reject: (error: MessagingError) => void;
}

/** Below what brokers take in one batch (`message.max.bytes`, 1 MiB), with room for headers. */
export const BATCH_BYTES_MAX = 768 * 1024;
const BATCH_RECORDS_MAX = 10_000;

export class KafkaPublishing {
  readonly #waiting = new Fifo<Unconfirmed>();
  #isSending = false;
  #isClosed = false;
  #failures = 0;
  /** So many of those that wait are sent by themselves: one of them was refused, and nobody said which. */
  #alone = 0;
  /** Ends the wait for more of a batch, which has so many bytes by now. */
  #lingering: Timer | undefined;
  #lingeringBytes = 0;
  readonly #bytesMax: number;

  constructor(
    private readonly client: KafkaClient,
    private readonly topicMaker: TopicMaker,
    private readonly settings: KafkaPublishingSettings,
  ) {
    this.#bytesMax = settings.batchBytesMax ?? BATCH_BYTES_MAX;
  }

  publish(envelope: Envelope, deadlineMs: number, route: Route | undefined): Promise<void> {
    try {
      return this.send(this.#recordOf(envelope, route), `${envelope.type} ${envelope.id}`, deadlineMs);
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  send(record: OutgoingRecord, what: string, deadlineMs: number): Promise<void> {
    if (this.#isClosed) return Promise.reject(closedError());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ record, what, deadlineMs, resolve, reject });
      if (!this.#isSending) this.#sendSoon();
      if (this.#lingering !== undefined) this.#fill(record);
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#lingering?.cancel();
    for (const { reject } of this.#waiting.drain()) reject(closedError());
  }

  #recordOf(envelope: Envelope, route: Route | undefined): OutgoingRecord {
    if (envelope.kind === 'reply') {
      const place = replyPlace(envelope.replyTo);
      if (place === undefined) throw new MessagingError('invalid-publish', `An answer to ${envelope.replyTo} cannot go over Kafka.`);
      return { ...toRecord(envelope, place.topic), partition: place.partition };
    }
    // A dead letter is found by its id, and gone when a record without a value stands under it.
    const key = route?.to?.box === 'dead-letters' ? envelope.id : envelope.key;
    const record = toRecord(envelope, destinationOf(envelope, route), key);
    return route?.delayMs === undefined ? record : delayed(record, route.delayMs, this.settings.clock.now());
  }

  /** What is published in this turn goes together, or while it lingers. */
  #sendSoon(): void {
    this.#isSending = true;
    const { lingerMs = 0, clock } = this.settings;
    if (lingerMs === 0) {
      queueMicrotask(() => void this.#sendAll());
      return;
    }
    this.#lingeringBytes = 0;
    this.#lingering = clock.after(lingerMs, () => this.#endLingering());
  }

  #fill(record: OutgoingRecord): void {
    this.#lingeringBytes += sizeOf(record);
    if (this.#lingeringBytes >= this.#bytesMax) this.#endLingering();
  }

  #endLingering(): void {
    if (this.#lingering === undefined) return;
    this.#lingering.cancel();
    this.#lingering = undefined;
    void this.#sendAll();
  }

  async #sendAll(): Promise<void> {
    for (;;) {
      this.#forgetExpired();
      const batch = this.#nextBatch();
      if (batch.length === 0) break;
      await this.#send(batch);
    }
    this.#isSending = false;
  }

  async #send(batch: readonly Unconfirmed[]): Promise<void> {
    try {
      await this.topicMaker.ensure([...new Set(batch.map(({ record }) => record.topic))]);
      await this.client.produce(batch.map(({ record }) => record));
      this.#failures = 0;
      for (const { resolve } of batch) resolve();
    } catch (error) {
      await this.#failed(batch, error);
    }
  }

  async #failed(batch: readonly Unconfirmed[], error: unknown): Promise<void> {
    const [first] = batch;
    if (this.#isClosed) {
      for (const { reject } of batch) reject(closedError());
    } else if (isRefusal(error)) {
      // Which of them it was is not said: each is sent by itself, and the one to blame is told.
      if (batch.length === 1) return first?.reject(refusedError(first.what, error));
      this.#alone = batch.length;
      this.#putBack(batch);
    } else {
      this.topicMaker.forget();
      this.#failures += 1;
      const delayMs = this.settings.backoff.delayMs(this.#failures);
      this.settings.log.warn(
        `The Kafka cluster at ${this.settings.shown} did not confirm ${batch.length} messages (${reasonOf(error)}). They are sent again in ${delayMs} ms.`,
      );
      await new Promise<void>((resolve) => this.settings.clock.after(delayMs, resolve));
      this.#putBack(batch);
      if (this.#isClosed) this.close();
    }
  }

  #putBack(batch: readonly Unconfirmed[]): void {
    const later = this.#waiting.drain();
    for (const one of [...batch, ...later]) this.#waiting.push(one);
  }

  #nextBatch(): Unconfirmed[] {
    const batch: Unconfirmed[] = [];
    let bytes = 0;
    const most = this.#alone > 0 ? 1 : BATCH_RECORDS_MAX;
    if (this.#alone > 0) this.#alone -= 1;
    for (let next = this.#waiting.peek(); next !== undefined && batch.length < most; next = this.#waiting.peek()) {
      const size = sizeOf(next.record);
      if (batch.length > 0 && bytes + size > this.#bytesMax) break;
      bytes += size;
      batch.push(next);
      this.#waiting.shift();
    }
    return batch;
  }

  #forgetExpired(): void {
    const nowMs = this.settings.clock.monotonicMs();
    for (let next = this.#waiting.peek(); next !== undefined && next.deadlineMs <= nowMs; next = this.#waiting.peek()) {
      this.#waiting.shift();
      next.reject(new MessagingError('publish-timeout', `${next.what} was not confirmed in time.`));
    }
  }
}

const refusals: ReadonlySet<number | undefined> = new Set<number>([
  kafkaCodes.messageTooLarge,
  kafkaCodes.recordListTooLarge,
  kafkaCodes.invalidTopic,
  kafkaCodes.topicAuthorizationFailed,
  kafkaCodes.clusterAuthorizationFailed,
  kafkaCodes.invalidRecord,
]);

/** With room for its headers. */
function sizeOf({ value }: OutgoingRecord): number {
  return (value?.length ?? 0) + 512;
}

function isRefusal(error: unknown): boolean {
  return error instanceof MessagingError || (error instanceof KafkaFailure && refusals.has(error.code));
}

function refusedError(what: string, error: unknown): MessagingError {
  const code = error instanceof KafkaFailure ? error.code : undefined;
  if (code === kafkaCodes.messageTooLarge || code === kafkaCodes.recordListTooLarge) {
    const sentence = `The broker did not take ${what}, which has more bytes than its topic takes (max.message.bytes): raise that, or let large payloads stay in a claim store (claimCheck).`;
    return new MessagingError('too-large', sentence, { cause: error });
  }
  return new MessagingError('publish-refused', `The broker did not take ${what}: ${reasonOf(error)}.`, { cause: error });
}

export function closedError(): MessagingError {
  return new MessagingError('closed', 'The connection to the broker is closed: the service has shut down.');
}

/**
 * Hears what is released of that which a member parked as dead: as long as there is some, it reads on in the partitions of the parked topic. In memory;
 * whoever has the lane next finds in them what was not heard here.
 */
import type { Clock } from '@dovecote/ground';
import type { Backoff } from '../../backoff.js';
import { reasonOf } from '../../errors.js';
import type { Log } from '../../log.js';
import { type IncomingRecord, type KafkaClient, type KafkaFetcher, KafkaFailure, kafkaCodes } from './kafka-client.js';

export interface ReleaseWatchSettings {
  readonly clock: Clock;
  readonly backoff: Backoff;
  readonly log: Log;
}

interface Expected {
  readonly partition: number;
  /** What stands before it was about an earlier death. */
  readonly fromOffset: number;
  readonly hear: (record: IncomingRecord) => void;
}

const FETCH_WAIT_MS = 2_000;

export class ReleaseWatch {
  readonly #expected = new Map<string, Expected>();
  readonly #reading = new Set<number>();
  #isClosed = false;

  constructor(
    private readonly client: KafkaClient,
    private readonly topic: string,
    private readonly settings: ReleaseWatchSettings,
  ) {}

  /** Calls `hear` once, with the first record under `recordKey` from `fromOffset` on. Where it is expected already, that stays. */
  expect(recordKey: string, expected: Expected): void {
    if (this.#isClosed || this.#expected.has(recordKey)) return;
    this.#expected.set(recordKey, expected);
    if (!this.#reading.has(expected.partition)) void this.#read(expected.partition);
  }

  isExpected(recordKey: string): boolean {
    return this.#expected.has(recordKey);
  }

  forget(isForgotten: (recordKey: string) => boolean): void {
    for (const recordKey of this.#expected.keys()) if (isForgotten(recordKey)) this.#expected.delete(recordKey);
  }

  close(): void {
    this.#isClosed = true;
    this.#expected.clear();
  }

  async #read(partition: number): Promise<void> {
    this.#reading.add(partition);
    const fetcher = this.client.fetcher();
    let offset = Math.min(...this.#of(partition).map(({ fromOffset }) => fromOffset));
    for (let failures = 0; this.#of(partition).length > 0;) {
      try {
        offset = await this.#readOn(fetcher, partition, offset);
        failures = 0;
      } catch (error) {
        failures += 1;
        await this.#pause(failures, error);
      }
    }
    this.#reading.delete(partition);
    await fetcher.close().catch(() => undefined);
  }

  async #readOn(fetcher: KafkaFetcher, partition: number, offset: number): Promise<number> {
    const { topic } = this;
    const shape = (await this.client.topics([topic])).get(topic);
    const leader = shape?.partitions[partition]?.leader ?? -1;
    if (shape === undefined || leader < 0) throw new KafkaFailure(`${topic} ${partition} has no leader now`, kafkaCodes.leaderNotAvailable);
    for (let next = offset; ;) {
      const [part] = await fetcher.fetch(leader, [{ topic, partition, topicId: shape.id, offset: next }], FETCH_WAIT_MS);
      if (part === undefined || part.code !== kafkaCodes.none)
        throw new KafkaFailure(`${topic} ${partition} cannot be read (${part?.code})`, part?.code);
      for (const record of part.records) this.#hear(record);
      next = part.nextOffset;
      if (this.#of(partition).length === 0) return next;
    }
  }

  #hear(record: IncomingRecord): void {
    const recordKey = record.key?.toString() ?? '';
    const expected = this.#expected.get(recordKey);
    if (expected === undefined || record.value === null || record.offset < expected.fromOffset) return;
    this.#expected.delete(recordKey);
    expected.hear(record);
  }

  #of(partition: number): Expected[] {
    return [...this.#expected.values()].filter((expected) => expected.partition === partition);
  }

  async #pause(failures: number, error: unknown): Promise<void> {
    if (this.#isClosed) return;
    const { clock, backoff, log } = this.settings;
    const delayMs = backoff.delayMs(failures);
    // What has a code passes with the next answer about the cluster.
    const isUsual = error instanceof KafkaFailure && error.code !== undefined;
    if (!isUsual && (failures & (failures - 1)) === 0)
      log.warn(`Whether dead letters were resolved cannot be read (${reasonOf(error)}). Trying again in ${delayMs} ms.`);
    await new Promise<void>((resolve) => clock.after(delayMs, resolve));
  }
}

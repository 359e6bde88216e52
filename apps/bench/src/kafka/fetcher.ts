/**
 * The fetching half of the load on one connection: one fetch of one partition after the other, as consumers do. Records are counted and never looked into.
 */
import type { KafkaConnection } from './connection.js';
import type { FetchedRecords } from './response-scanner.js';
import { type FetchShape, fetchRequest, i64 } from './wire.js';

export interface FetcherOptions extends FetchShape {
  readonly topic: string;
  readonly partition: number;
  /** Begins anew at offset 0 when it has come here. */
  readonly turnsAt?: number;
  /** Each answer that holds records, before the next fetch is written. */
  readonly onRecords?: (fetched: FetchedRecords) => void;
}

export class Fetcher {
  records = 0;
  bytes = 0;
  offset = 0;
  private isRunning = false;
  private isWaiting = false;
  private readonly request: { readonly bytes: Buffer; readonly offsetAt: number };

  constructor(
    private readonly connection: KafkaConnection,
    private readonly options: FetcherOptions,
  ) {
    const { topic, partition } = options;
    this.request = fetchRequest(topic, partition, options);
    const take = (fetched: FetchedRecords): void => this.take(fetched);
    connection.expect(() => ({ kind: 'fetch', topic, offset: this.offset, take }));
  }

  start(): void {
    this.isRunning = true;
    this.fetch();
  }

  /** Fetches nothing more, and waits for the answer that is under way. */
  async finish(): Promise<void> {
    this.isRunning = false;
    await this.connection.socket.until('the last fetch was answered', () => !this.isWaiting);
  }

  private fetch(): void {
    const { bytes, offsetAt } = this.request;
    // The last one was answered, so that its bytes have left.
    i64(this.offset).copy(bytes, offsetAt);
    this.isWaiting = true;
    this.connection.socket.write(bytes);
  }

  private take(fetched: FetchedRecords): void {
    const { turnsAt, onRecords } = this.options;
    this.isWaiting = false;
    this.records += fetched.records;
    this.bytes += fetched.bytes;
    this.offset = turnsAt !== undefined && fetched.nextOffset >= turnsAt ? 0 : fetched.nextOffset;
    if (fetched.records > 0) onRecords?.(fetched);
    if (this.isRunning) this.fetch();
  }
}

/**
 * Takes apart what a server sends, over any split into chunks, without gathering what is large: of the records of a fetch only the heads of the batches
 * are looked at. What the heads say must go on where the one before it ended, or records were lost, doubled or out of order, and the run is void.
 */
import { fetchErrorsAt, fetchHeadBytes, readI64 } from './wire.js';

export interface FetchedRecords {
  readonly records: number;
  readonly bytes: number;
  /** Behind the last record. */
  readonly nextOffset: number;
}

/** What one answer is, asked when it begins. */
export type Expected =
  /** Gathered whole and handed out without its size. */
  | { readonly kind: 'small'; take(bytes: Buffer, at: number, length: number): void }
  /** The answer to a fetch of one partition from `offset` on. */
  | { readonly kind: 'fetch'; readonly topic: string; readonly offset: number; take(fetched: FetchedRecords): void };

const batchHeadBytes = 61;
/** Answers above this are of no kind that is gathered. */
const smallBytesMax = 4 * 1024 * 1024;

type Step = 'size' | 'small' | 'fetch head' | 'records length' | 'batch head' | 'skip batch' | 'skip rest';

export class ResponseScanner {
  private step: Step = 'size';
  /** Bytes of the run that is being gathered, where it began in an earlier chunk. */
  private carried = Buffer.allocUnsafeSlow(1024);
  private carriedBytes = 0;
  private wanted = 4;
  private leftOfAnswer = 0;
  private leftOfRecords = 0;
  private skipping = 0;
  private expected: Expected | undefined;
  private records = 0;
  private bytes = 0;
  private nextOffset = 0;

  constructor(private readonly next: () => Expected) {}

  push(chunk: Buffer, length: number): void {
    let at = 0;
    while (at < length) {
      if (this.skipping > 0) {
        const skipped = Math.min(this.skipping, length - at);
        this.skipping -= skipped;
        at += skipped;
        if (this.skipping === 0) this.skipped();
        continue;
      }
      const { wanted, carriedBytes } = this;
      if (carriedBytes === 0 && length - at >= wanted) {
        at += wanted;
        this.take(chunk, at - wanted);
        continue;
      }
      const taken = Math.min(wanted - carriedBytes, length - at);
      this.makeRoom(wanted);
      chunk.copy(this.carried, carriedBytes, at, at + taken);
      at += taken;
      this.carriedBytes += taken;
      if (this.carriedBytes < wanted) return;
      this.carriedBytes = 0;
      this.take(this.carried, 0);
    }
  }

  /** The run that was wanted stands at `at`, whole. */
  private take(bytes: Buffer, at: number): void {
    const { expected, wanted } = this;
    if (this.step !== 'size') this.leftOfAnswer -= wanted;
    switch (this.step) {
      case 'size':
        return this.begin(bytes.readInt32BE(at));
      case 'small':
        this.want('size', 4);
        if (expected?.kind === 'small') expected.take(bytes, at, wanted);
        return undefined;
      case 'fetch head':
        this.takeFetchHead(bytes, at);
        return this.want('records length', 1);
      case 'records length':
        return this.takeRecordsLength(bytes[at]!);
      case 'batch head':
        return this.takeBatchHead(bytes, at);
      default:
        throw new Error(`nothing is gathered in step ${this.step}`);
    }
  }

  private begin(size: number): void {
    this.expected = this.next();
    this.leftOfAnswer = size;
    if (size < 4 || (this.expected.kind === 'small' && size > smallBytesMax)) throw new Error(`the server sent an answer of ${size} bytes`);
    if (this.expected.kind === 'small') return this.want('small', size);
    this.records = 0;
    this.bytes = 0;
    this.nextOffset = this.expected.offset;
    this.leftOfRecords = 0;
    this.lengthShift = 1;
    return this.want('fetch head', fetchHeadBytes(this.expected.topic));
  }

  private lengthShift = 1;

  private takeFetchHead(bytes: Buffer, at: number): void {
    if (this.expected?.kind !== 'fetch') return;
    for (const place of fetchErrorsAt(this.expected.topic)) {
      const error = bytes.readInt16BE(at + place);
      if (error !== 0) throw new Error(`the server refused a fetch of ${this.expected.topic}: error ${error}`);
    }
  }

  /** Plus one, seven bits a byte, the lowest first. */
  private takeRecordsLength(byte: number): void {
    this.leftOfRecords += (byte & 0x7f) * this.lengthShift;
    this.lengthShift *= 0x80;
    if (byte >= 0x80) return this.want('records length', 1);
    this.leftOfRecords = Math.max(0, this.leftOfRecords - 1);
    return this.nextBatch();
  }

  private nextBatch(): void {
    // A server may cut the last batch off in the middle; there is nothing to be had of it then.
    if (this.leftOfRecords >= batchHeadBytes) return this.want('batch head', batchHeadBytes);
    return this.skip('skip rest', this.leftOfAnswer);
  }

  private takeBatchHead(bytes: Buffer, at: number): void {
    const baseOffset = readI64(bytes, at);
    const length = bytes.readInt32BE(at + 8) + 12;
    const count = bytes.readInt32BE(at + 57);
    if (length > this.leftOfRecords) return this.skip('skip rest', this.leftOfAnswer);
    // The first batch is the one that holds the offset; it may begin before it.
    const isFirst = this.bytes === 0;
    if (isFirst ? baseOffset > this.nextOffset : baseOffset !== this.nextOffset) {
      throw new Error(`records from ${baseOffset} on came where ${this.nextOffset} was to come: lost, doubled or out of order`);
    }
    this.records += count - (this.nextOffset - baseOffset);
    this.nextOffset = baseOffset + count;
    this.bytes += length;
    this.leftOfRecords -= length;
    return this.skip('skip batch', length - batchHeadBytes);
  }

  private skip(step: Step, bytes: number): void {
    this.step = step;
    this.skipping = bytes;
    this.leftOfAnswer -= bytes;
    if (bytes === 0) this.skipped();
  }

  private skipped(): void {
    if (this.step === 'skip batch') return this.nextBatch();
    const { expected, records, bytes, nextOffset } = this;
    this.want('size', 4);
    if (expected?.kind === 'fetch') expected.take({ records, bytes, nextOffset });
    return undefined;
  }

  private want(step: Step, bytes: number): void {
    this.step = step;
    this.wanted = bytes;
  }

  private makeRoom(bytes: number): void {
    if (bytes <= this.carried.length) return;
    const larger = Buffer.allocUnsafeSlow(bytes);
    this.carried.copy(larger, 0, 0, this.carriedBytes);
    this.carried = larger;
  }
}

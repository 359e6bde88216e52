/**
 * The producing half of the load on one connection: writes requests that were encoded beforehand, a bounded number of them in flight, and looks at where each
 * was appended. A batch without a producer id may be sent again and again, so what a request costs is little more than copying its bytes into the socket.
 */
import type { KafkaConnection } from './connection.js';
import { Samples } from '../statistics.js';
import { produceRequest, readProduceAnswer } from './wire.js';

export interface ProducerOptions {
  readonly topic: string;
  /** They take turns. */
  readonly partitions: readonly number[];
  readonly batch: Buffer;
  readonly recordsEach: number;
  /** Requests without an answer at most. */
  readonly inFlightMax: number;
  /** Requests that may be written now, beside that bound; undefined is as many as it allows. */
  readonly room?: () => number;
  /** When request `n` was due, in an open loop: its time counts from then on. */
  readonly dueAt?: (n: number) => number;
}

export class Producer {
  /** From when a request was written, or was due, to its answer. */
  readonly answerMs = new Samples();
  answered = 0;
  private written = 0;
  private limit = 0;
  /** All requests of a turn, and the first ones again: whatever comes next stands in one piece. */
  private readonly run: Buffer;
  private readonly starts: number[] = [0];
  private readonly nextOffsets: Float64Array;
  private readonly writtenAt: Float64Array;

  constructor(
    private readonly connection: KafkaConnection,
    private readonly options: ProducerOptions,
  ) {
    const { topic, partitions, batch, inFlightMax } = options;
    const turn = partitions.map((partition) => produceRequest(topic, partition, batch));
    const pieces = Array.from({ length: turn.length + inFlightMax }, (_, n) => turn[n % turn.length]!);
    for (const piece of pieces) this.starts.push(this.starts.at(-1)! + piece.length);
    this.run = Buffer.concat(pieces);
    this.nextOffsets = new Float64Array(partitions.length);
    this.writtenAt = new Float64Array(inFlightMax);
    const expected = { kind: 'small', take: (bytes: Buffer, at: number) => this.takeAnswer(bytes, at) } as const;
    connection.expect(() => expected);
    connection.onChunkEnd = () => this.pump();
  }

  get records(): number {
    return this.answered * this.options.recordsEach;
  }

  /** Each of its partitions was written to. */
  get hasBeenRound(): boolean {
    return this.answered >= this.options.partitions.length;
  }

  get inFlight(): number {
    return this.written - this.answered;
  }

  /** Writes requests until so many are out in all. */
  start(count = Number.POSITIVE_INFINITY): void {
    this.limit = count;
    this.pump();
  }

  /** Writes nothing more, and waits for what is under way. */
  async finish(): Promise<void> {
    this.limit = 0;
    await this.connection.socket.until('everything produced was answered', () => this.inFlight === 0);
  }

  pump(): void {
    const { inFlightMax, partitions, room, dueAt } = this.options;
    const count = Math.min(this.limit - this.written, inFlightMax - this.inFlight, room?.() ?? Number.POSITIVE_INFINITY);
    if (count <= 0) return;
    const first = this.written % partitions.length;
    const now = performance.now();
    for (let n = this.written; n < this.written + count; n++) this.writtenAt[n % inFlightMax] = dueAt?.(n) ?? now;
    this.written += count;
    this.connection.socket.write(this.run.subarray(this.starts[first]!, this.starts[first + count]!));
  }

  private takeAnswer(bytes: Buffer, at: number): void {
    const { topic, partitions, recordsEach, inFlightMax } = this.options;
    const turn = this.answered % partitions.length;
    const offset = readProduceAnswer(bytes, at, topic);
    if (offset !== this.nextOffsets[turn]) {
      throw new Error(`records of partition ${partitions[turn]} were appended at ${offset} instead of ${this.nextOffsets[turn]}`);
    }
    this.nextOffsets[turn] = offset + recordsEach;
    this.answerMs.add(performance.now() - this.writtenAt[this.answered % inFlightMax]!);
    this.answered++;
  }
}

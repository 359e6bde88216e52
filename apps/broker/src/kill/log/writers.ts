/**
 * Who writes in a kill test of the log: one in the process of the broker, whose appends are never repeated, and idempotent producers over its socket,
 * which know nothing but what they were told and repeat what was not answered. They end with the process that they write to.
 */
import { Connection, initProducerIdV5, NumericMap, produceV11 } from '@platformatic/kafka';
import type { SeededRandom } from '@dovecote/ground/testing';
import type { AppendOptions } from '@dovecote/broker';
import { Ended, type EmbeddingProcess, type ReadRecord } from './embedding-process.js';
import type { FoundRecord, LineLedger } from './line-ledger.js';

/** What all of them tell. */
export interface Hearer {
  acknowledged(): void;
  /** What may not be refused was. */
  refused(reason: string): void;
  readonly isStopping: boolean;
}

const appendsInFlight = 4;
/** More are not told apart from what is out of order. */
const batchesInFlight = 5;
const valueBytesMax = 400;
/** One in so many is large, on its way past the journal. */
const largeEvery = 250;
const largeBytes = 300_000;
const codecs = ['uncompressed', 'uncompressed', 'gzip', 'snappy', 'lz4'] as const satisfies readonly AppendOptions['compression'][];

/** Writes to its lines, some records at a time, until the process ends or it is to stop. */
export async function appendAgainAndAgain(
  process: EmbeddingProcess,
  topic: string,
  lines: readonly string[],
  { ledger, random, hearer }: { readonly ledger: LineLedger; readonly random: SeededRandom; readonly hearer: Hearer },
): Promise<void> {
  const append = async (): Promise<void> => {
    const own = Array.from({ length: 1 + random.below(20) }, () => {
      const partition = random.below(lines.length);
      const number = ledger.append(lines[partition]!);
      return { line: lines[partition]!, number, partition, value: valueOf(lines[partition]!, number, random) };
    });
    const records = own.map(({ partition, value }) => ({ partition, value }));
    const runs = await process.ask('append', topic, records, { compression: codecs[random.below(codecs.length)]! });
    for (const { partition, baseOffset, recordCount } of runs) {
      own
        .filter((record) => record.partition === partition)
        .slice(0, recordCount)
        .forEach((record, index) => {
          ledger.acknowledge(record.line, record.number, baseOffset + index);
          own.splice(own.indexOf(record), 1);
        });
    }
    if (own.length > 0) hearer.refused(`an append to ${topic} did not say where ${own.length} of its records are`);
    hearer.acknowledged();
  };
  await untilEnded(
    hearer,
    Array.from({ length: appendsInFlight }, () => append),
  );
}

/** Does these until the process ends or it is to stop, one of each at a time. */
export async function untilEnded(hearer: Hearer, tasks: readonly (() => Promise<void>)[]): Promise<void> {
  await Promise.all(
    tasks.map(async (task) => {
      try {
        while (!hearer.isStopping) await task();
      } catch (error) {
        if (!(error instanceof Ended)) hearer.refused(String(error));
      }
    }),
  );
}

interface Batch {
  readonly first: number;
  readonly values: readonly string[];
}

/** One line, in the same words through all lives of the process. */
export class IdempotentProducer {
  private producerId: bigint | undefined;
  private readonly unanswered: Batch[] = [];

  constructor(
    private readonly place: { readonly topic: string; readonly partition: number; readonly line: string },
    private readonly ledger: LineLedger,
    private readonly random: SeededRandom,
    private readonly hearer: Hearer,
  ) {}

  async run(port: number): Promise<void> {
    const client = new Connection(this.place.line);
    client.on('error', () => undefined); // what was asked is refused with it
    try {
      await client.connect('127.0.0.1', port);
      this.producerId ??= (await initProducerIdV5.api.async(client, null, 1000, -1n, -1)).producerId;
      await Promise.all(this.unanswered.map((batch) => this.send(client, batch)));
      const sendNext = async (): Promise<void> => {
        while (!this.hearer.isStopping) await this.send(client, this.next());
      };
      await Promise.all(Array.from({ length: batchesInFlight }, sendNext));
    } catch (error) {
      if (!isCut(error))
        this.hearer.refused(`${this.place.line}: ${String(error)} ${JSON.stringify((error as { errors?: unknown }).errors)}`);
    } finally {
      await client.close().catch(() => undefined);
    }
  }

  private next(): Batch {
    const { ledger, random } = this;
    const { line } = this.place;
    const numbers = Array.from({ length: 1 + random.below(10) }, () => ledger.append(line));
    const batch = { first: numbers[0]!, values: numbers.map((number) => valueOf(line, number, random)) };
    this.unanswered.push(batch);
    return batch;
  }

  private async send(client: Connection, batch: Batch): Promise<void> {
    const { topic, partition, line } = this.place;
    const messages = batch.values.map((value) => ({ topic, partition, value: Buffer.from(value) }));
    const sequences = new NumericMap([[`${topic}:${partition}`, batch.first]]);
    const answer = await produceV11.api.async(client, -1, 1000, messages, {
      compression: 'none',
      producerId: this.producerId!,
      producerEpoch: 0,
      sequences,
    });
    if (typeof answer === 'boolean') throw new Error('a batch was not answered');
    const base = Number(answer.responses[0]!.partitionResponses[0]!.baseOffset);
    batch.values.forEach((_, index) => this.ledger.acknowledge(line, batch.first + index, base + index));
    this.unanswered.splice(this.unanswered.indexOf(batch), 1);
    this.hearer.acknowledged();
  }
}

/** The connection, and not the broker, said no. */
function isCut(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'PLT_KFK_NETWORK';
}

/** `line:number:length:` and a filling that depends on the number, so that other bytes show. */
function valueOf(line: string, number: number, random: SeededRandom): string {
  return writeValue(line, number, random.below(largeEvery) === 0 ? largeBytes : random.below(valueBytesMax));
}

function writeValue(line: string, number: number, length: number): string {
  return `${line}:${number}:${length}:${String.fromCharCode(97 + (number % 26)).repeat(length)}`;
}

export function recordOf({ offset, value }: ReadRecord): FoundRecord {
  const [head, line = '', number, length] = /^(\w+):(\d+):(\d+):/.exec(value) ?? [];
  const isWhole = head !== undefined && value === writeValue(line, Number(number), Number(length));
  return { offset, record: isWhole ? { line, number: Number(number) } : undefined };
}

import type { GroupOptions, TopicPartition } from './broker-log.js';
import { outOfRange, type PartitionCursor } from './partition-cursor.js';

/** What a partition needs of the member that it is assigned to. */
export interface Assignee {
  readonly options: GroupOptions;
  failed(error: unknown, partition: TopicPartition): void;
}

/**
 * One partition in the hands of a member, for as long as one generation of the group: reads a batch, hands it over, waits until that is done.
 * Never more than one batch is out. Nothing of it is kept: where to go on is what the member commits.
 */
export class AssignedPartition {
  readonly place: TopicPartition;
  private readonly controller = new AbortController();
  private isPaused = false;
  private isStopped = false;
  private resumed: (() => void) | undefined;
  private running: Promise<void> | undefined;

  constructor(
    readonly cursor: PartitionCursor,
    private readonly assignee: Assignee,
  ) {
    this.place = { topic: cursor.partition.topic.name, partition: cursor.partition.number };
  }

  start(): void {
    this.running = this.run();
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    this.wake();
  }

  /** Hands nothing over any more. Resolves when what is out is done; never rejects. */
  stop(): Promise<void> {
    this.isStopped = true;
    this.cursor.close();
    this.wake();
    return this.running ?? Promise.resolve();
  }

  /** Somebody else has the partition: who is at work on it should give up. */
  abort(): void {
    this.controller.abort();
  }

  private async run(): Promise<void> {
    while (!this.isStopped) {
      if (this.isPaused) await new Promise<void>((resolve) => (this.resumed = resolve));
      else if ((await this.step()) === 'gone') return;
    }
  }

  private async step(): Promise<'gone' | undefined> {
    const { cursor } = this;
    const from = cursor.position;
    let seeks = cursor.seeks;
    try {
      const batch = await cursor.next();
      if (batch === 'gone') return 'gone';
      if (batch === 'nothing-yet') await cursor.more();
      else if (batch === 'offset-out-of-range') this.startAnew();
      else if (this.isStopped) return undefined;
      else if (this.isPaused && seeks === cursor.seeks) cursor.seek(from);
      else {
        seeks = cursor.seeks;
        await this.assignee.options.receive(batch, this.controller.signal);
      }
    } catch (error) {
      // Where somebody has sought meanwhile, that holds.
      if (seeks === cursor.seeks) cursor.seek(from);
      this.isPaused = true;
      if (!this.isStopped) this.assignee.failed(error, this.place);
    }
    return undefined;
  }

  private startAnew(): void {
    const { cursor, assignee } = this;
    const { partition, position } = cursor;
    cursor.seek(assignee.options.from === 'latest' ? partition.lastStableOffset : partition.logStartOffset);
    assignee.failed(outOfRange(partition, position), this.place);
  }

  private wake(): void {
    const { resumed } = this;
    this.resumed = undefined;
    resumed?.();
  }
}

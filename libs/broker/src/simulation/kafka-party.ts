import { encodeBatch } from '../log/records.js';
import type { CrashClient } from './crash-world.js';

/**
 * A Kafka client beside the others of a simulated world, and all that it was told and saw: partitions on the journal that the queues are on.
 *
 * Each partition has one idempotent producer, which sends again what was not answered. So record n of a partition is at offset n, once, whatever crashes; what was answered
 * or seen is never gone, and neither is an offset that was committed. What this knows goes on from one life of the broker to the next.
 */
export interface KafkaPartyWorld {
  /** A new connection; undefined where it does not come about. */
  connectKafka(): Promise<CrashClient | undefined>;
  /** What the answer is; undefined where none comes, or a refusal. */
  patiently<Answer>(answer: Promise<Answer>): Promise<Answer | undefined>;
  breakPromise(what: string): void;
  pause(ms: number): Promise<void>;
}

interface Batch {
  readonly first: number;
  readonly count: number;
  readonly size: number;
}

class PartitionPage {
  /** Known from its first answer on. */
  producerId = -1;
  /** By record. */
  readonly sizes: number[] = [];
  unanswered: Batch[] = [];
  answered = 0;
  seen = 0;

  constructor(readonly number: number) {}

  valueOf(record: number): string {
    return `${this.number}:${record}:`.padEnd(this.sizes[record]!, '.');
  }
}

const topic = 'feathers';
const group = 'keepers';
/** As many as a broker remembers of a producer. */
const unansweredMax = 5;
const attemptsMax = 20;

export class KafkaParty {
  private readonly pages = [new PartitionPage(0), new PartitionPage(1)];
  /** The highest offset that was committed, as the answer or the group itself said, and the highest that was asked for. */
  private committed = -1;
  private commitAsked = -1;
  private hasTopic = false;
  private client: CrashClient | undefined;

  constructor(private readonly world: KafkaPartyWorld) {}

  async produce(partition: number, count: number, size: number): Promise<void> {
    const client = await this.connected();
    const page = this.pages[partition]!;
    if (client === undefined || page.unanswered.length >= unansweredMax) return;
    const batch: Batch = { first: page.sizes.length, count, size };
    for (let record = 0; record < count; record++) page.sizes.push(size);
    page.unanswered.push(batch);
    this.send(client, page, batch);
  }

  /** Reads everything again, and what is new. */
  async look(): Promise<void> {
    const client = await this.connected();
    if (client !== undefined && !(await this.check(client))) this.lose(client);
  }

  /** Commits how far the first partition was seen; nobody waits for it. */
  async commit(): Promise<void> {
    const client = await this.connected();
    const offset = this.pages[0]!.seen;
    if (client === undefined || offset <= this.committed) return;
    this.commitAsked = offset;
    client.commit(group, topic, offset).then(
      () => {
        if (this.client === client) this.committed = Math.max(this.committed, offset);
      },
      () => this.lose(client),
    );
  }

  /** The broker is gone, and what its memory still says counts no more. */
  leave(): void {
    const { client } = this;
    this.client = undefined;
    client?.leave();
  }

  /** Everything is well again: all that was ever produced is answered, and there. */
  async settle(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      if (attempt === attemptsMax) return this.world.breakPromise(`the partitions of ${topic} do not go on after all`);
      const client = await this.connected();
      await this.world.pause(200);
      const isQuiet = this.pages.every(({ unanswered }) => unanswered.length === 0);
      if (!isQuiet || client === undefined) continue;
      if (await this.check(client)) break;
      this.lose(client);
    }
    for (const { number, seen, sizes } of this.pages)
      if (seen !== sizes.length) this.world.breakPromise(`${topic}-${number} has ${seen} records, ${sizes.length} were answered`);
  }

  private async connected(): Promise<CrashClient | undefined> {
    if (this.client !== undefined) return this.client;
    const client = await this.world.connectKafka();
    if (client === undefined) return undefined;
    this.client = client;
    if (!(await this.begin(client)) || !(await this.check(client))) {
      this.lose(client);
      return undefined;
    }
    for (const page of this.pages) for (const batch of page.unanswered) this.send(client, page, batch);
    return client;
  }

  /** The topic and its producers are there. */
  private async begin(client: CrashClient): Promise<boolean> {
    if (!this.hasTopic) this.hasTopic = (await this.world.patiently(client.makeTopic(topic).then(() => true))) === true;
    for (const page of this.pages) if (page.producerId < 0) page.producerId = (await this.world.patiently(client.newProducer())) ?? -1;
    return this.hasTopic && this.pages.every(({ producerId }) => producerId >= 0);
  }

  private send(client: CrashClient, page: PartitionPage, batch: Batch): void {
    const records = Array.from({ length: batch.count }, (_, index) => {
      return { key: null, value: Buffer.from(page.valueOf(batch.first + index)), timestamp: 1 };
    });
    const bytes = encodeBatch(records, { producerId: page.producerId, producerEpoch: 0, baseSequence: batch.first });
    client.produce(topic, page.number, bytes).then(
      (offset) => {
        if (this.client !== client) return;
        if (offset !== batch.first) this.world.breakPromise(`record ${batch.first} of ${topic}-${page.number} has offset ${offset}`);
        page.answered = Math.max(page.answered, batch.first + batch.count);
        page.unanswered = page.unanswered.filter((each) => each !== batch);
      },
      () => this.lose(client),
    );
  }

  /** What follows a refusal would be out of order: all of it is sent again, over another connection. */
  private lose(client: CrashClient): void {
    if (this.client === client) this.leave();
    else client.leave();
  }

  /** False where it could not be read; what is there is compared with what must be. */
  private async check(client: CrashClient): Promise<boolean> {
    for (const page of this.pages) {
      const { answered, seen } = page;
      const values = await this.world.patiently(client.readAll(topic, page.number).catch((error: Error) => error.message));
      if (this.client !== client || values === undefined) return false;
      const what = `${topic}-${page.number}`;
      if (typeof values === 'string') {
        if (values === unknownTopic) this.world.breakPromise(`${what} was there and is lost`);
        else if (!mayBeTold.test(values)) this.world.breakPromise(`${what} cannot be read: ${values}`);
        return false;
      }
      const wrong = values.findIndex((value, record) => record >= page.sizes.length || value !== page.valueOf(record));
      if (wrong >= 0) this.world.breakPromise(`at offset ${wrong} of ${what} stands ${values[wrong]!.slice(0, 20)}`);
      if (values.length < answered) this.world.breakPromise(`record ${values.length} of ${what} was answered and is lost`);
      if (values.length < seen) this.world.breakPromise(`record ${values.length} of ${what} was seen and is lost`);
      page.seen = Math.max(seen, values.length);
    }
    const promised = this.committed;
    const committed = await this.world.patiently(client.committed(group, topic));
    if (this.client !== client || committed === undefined) return false;
    if (committed < promised) this.world.breakPromise(`offset ${promised} was committed, and ${committed} is left of it`);
    if (committed > this.commitAsked) this.world.breakPromise(`offset ${committed} is committed, and nobody asked for it`);
    this.committed = Math.max(this.committed, committed);
    return true;
  }
}

const unknownTopic = 'refused with 3';
/** A reader is refused by a broker whose disk has failed, and by one that is gone. */
const mayBeTold = /^(?:refused with 56|closed|the client left)$/;

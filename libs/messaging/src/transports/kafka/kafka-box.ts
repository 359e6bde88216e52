/**
 * The dead letters of a service on Kafka: the compacted topic `dovecote.<service>.dead`, by the id of the message. What is acknowledged is taken out by a
 * record without a value. Whoever looks through it is the only one: a group of its own gives its one partition to one member at a time.
 */
import { MessagingError } from '../../errors.js';
import type { Incoming, OpenBox } from '../../transport.js';
import { GroupMember, type GroupMemberSettings } from './group-member.js';
import type { IncomingRecord, KafkaClient } from './kafka-client.js';
import { fromRecord } from './kafka-events.js';
import type { KafkaPublishing } from './kafka-publishing.js';
import { readWholePartition } from './whole-partition.js';

export async function openDeadLetters(
  client: KafkaClient,
  settings: Omit<GroupMemberSettings, 'group'>,
  publishing: KafkaPublishing,
  topic: string,
): Promise<OpenBox> {
  let isOurs = false;
  const gone = (): void => void (isOurs = false);
  const member = new GroupMember(
    client,
    { ...settings, group: `${topic}.readers` },
    {
      assigned: async () => void (isOurs = true),
      revoked: async () => gone(),
      lost: gone,
      failed: gone,
    },
  );
  await member.join([topic]);
  const letters = isOurs ? (await readWholePartition(client, { topic, partition: 0 })).records : [];
  return new KafkaBox(letters, topic, publishing, () => isOurs, member);
}

class KafkaBox implements OpenBox {
  readonly #taken: Promise<void>[] = [];
  #next = 0;

  constructor(
    private readonly letters: readonly IncomingRecord[],
    private readonly topic: string,
    private readonly publishing: KafkaPublishing,
    private readonly isOurs: () => boolean,
    private readonly member: GroupMember,
  ) {}

  get left(): number {
    return this.letters.length - this.#next;
  }

  next(): Promise<Incoming | undefined> {
    const record = this.letters[this.#next];
    if (record === undefined || !this.isOurs()) return Promise.resolve(undefined);
    this.#next += 1;
    return Promise.resolve(this.#incoming(record));
  }

  /** Rejects where something that was acknowledged could not be taken out: it is among the dead letters still. */
  async close(): Promise<void> {
    const outcomes = await Promise.allSettled(this.#taken);
    await this.member.leave();
    const failed = outcomes.find(({ status }) => status === 'rejected') as PromiseRejectedResult | undefined;
    if (failed !== undefined)
      throw failed.reason instanceof MessagingError ? failed.reason : new MessagingError('broker-unreachable', String(failed.reason));
  }

  #incoming(record: IncomingRecord): Incoming {
    let isSettled = false;
    const { topic, publishing, isOurs } = this;
    const taken = this.#taken;
    return {
      envelope: fromRecord(topic, 0, record),
      isRedelivered: false,
      deliveries: 1,
      isQuarantined: false,
      lane: undefined,
      get isTakenBack() {
        return !isOurs();
      },
      acknowledge() {
        if (isSettled || !isOurs()) return;
        isSettled = true;
        const tombstone = { topic, key: record.key ?? Buffer.alloc(0), value: undefined, headers: {} };
        taken.push(publishing.send(tombstone, `the end of a dead letter in ${topic}`, Number.POSITIVE_INFINITY));
      },
      release() {
        isSettled = true;
      },
    };
  }
}

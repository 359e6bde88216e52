/**
 * The dead letters of a service on Kafka: the compacted topic `dovecote.<service>.dead`, by the id of the message. What is acknowledged is taken out by a
 * record without a value. Whoever looks through it is the only one: a group of its own gives its one partition to one member at a time.
 */
import type { Clock } from '@dovecote/ground';
import { withinTime } from '../../deadline.js';
import { MessagingError, reasonOf } from '../../errors.js';
import { MOVE_TIMEOUT_MS } from '../../limits.js';
import type { Incoming, OpenBox } from '../../transport.js';
import { GroupMember, type GroupMemberSettings } from './group-member.js';
import type { IncomingRecord, KafkaClient } from './kafka-client.js';
import { fromRecord } from './kafka-events.js';
import type { KafkaPublishing } from './kafka-publishing.js';
import { readWholePartition } from './whole-partition.js';

const LOOK_TIMEOUT_MS = 30_000;

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
  // A member asks for ever for what a cluster does not answer; who looks into a box wants to know.
  const late = (): Error => new Error(`the cluster did not answer within ${LOOK_TIMEOUT_MS} ms`);
  const answered = <Result>(work: Promise<Result>): Promise<Result> => withinTime(settings.clock, LOOK_TIMEOUT_MS, work, late);
  try {
    await answered(member.join([topic]));
    // Somebody else looks at it now: there is nothing for this one.
    if (!isOurs) return new KafkaBox([], topic, publishing, () => true, settings.clock, member);
    const { records } = await answered(readWholePartition(client, { topic, partition: 0 }));
    return new KafkaBox(records, topic, publishing, () => isOurs, settings.clock, member);
  } catch (error) {
    member.abandon();
    if (error instanceof MessagingError) throw error;
    throw new MessagingError('broker-unreachable', `${topic} cannot be read: ${reasonOf(error)}. Look again.`, { cause: error });
  }
}

class KafkaBox implements OpenBox {
  readonly #taken: Promise<void>[] = [];
  #next = 0;

  constructor(
    private readonly letters: readonly IncomingRecord[],
    private readonly topic: string,
    private readonly publishing: KafkaPublishing,
    private readonly isOurs: () => boolean,
    private readonly clock: Clock,
    private readonly member: GroupMember,
  ) {}

  get left(): number {
    return this.letters.length - this.#next;
  }

  async next(): Promise<Incoming | undefined> {
    if (!this.isOurs()) {
      const sentence = `The group of those who read ${this.topic} gave this one up: what was not taken out is where it was. Look again.`;
      throw new MessagingError('broker-unreachable', sentence);
    }
    const record = this.letters[this.#next];
    if (record === undefined) return undefined;
    this.#next += 1;
    return this.#incoming(record);
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
    const { topic, publishing, isOurs, clock } = this;
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
        taken.push(publishing.send(tombstone, `the end of a dead letter in ${topic}`, clock.monotonicMs() + MOVE_TIMEOUT_MS));
      },
      release() {
        isSettled = true;
      },
    };
  }
}

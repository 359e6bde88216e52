/**
 * Looks at how far the notification service is behind on Kafka, from outside, as any tool does: what stands in the topics beyond what its group has
 * committed, and how many members the group has. What a member holds counts as behind until it is committed. Survives the broker: a look while it is away
 * is no answer, and the next one asks again.
 */
import { Admin, describeGroupsV5 } from '@platformatic/kafka';
import type { BacklogWatch, QueueDepth } from './losses.js';

/** The messaging library reads as the group that is called like the service; the topic of an event is all words of its type but the last. */
const GROUP = 'notifications';
const TOPICS = ['posts', 'groups', 'likes', 'orders', 'payments', 'dovecote.notifications.inbox'];
const NEXT_OFFSET = -1n;
const ANSWER_MS_MAX = 1_000;

export class LagWatch implements BacklogWatch {
  private readonly admin: Admin;

  /** `kafka://host:port,host:port`, without a login. */
  constructor(brokerUrl: string) {
    const bootstrapBrokers = brokerUrl
      .replace(/^kafka:\/\//, '')
      .replace(/\/.*$/, '')
      .split(',');
    this.admin = new Admin({ clientId: 'page', bootstrapBrokers, retries: 0, timeout: ANSWER_MS_MAX });
  }

  async look(): Promise<QueueDepth | undefined> {
    const timeout = new Promise<undefined>((resolve) => {
      setTimeout(() => resolve(undefined), ANSWER_MS_MAX).unref();
    });
    // Broker away, topics not made yet: both are no answer.
    return Promise.race([this.ask().catch(() => undefined), timeout]);
  }

  close(): void {
    void this.admin.close().catch(() => undefined);
  }

  private async ask(): Promise<QueueDepth> {
    // What is committed first: what comes in between makes the lag look longer, and never shorter.
    const [committed, consumers] = await Promise.all([this.admin.listConsumerGroupOffsets({ groups: [GROUP] }), this.countMembers()]);
    const topics = committed[0]?.topics.filter(({ name }) => TOPICS.includes(name)) ?? [];
    const ends = await this.admin.listOffsets({
      topics: topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, timestamp: NEXT_OFFSET })),
      })),
    });
    let ready = 0n;
    for (const { name, partitions } of ends) {
      const begun = topics.find((topic) => topic.name === name)?.partitions ?? [];
      for (const { partitionIndex, offset } of partitions) {
        const from = begun.find((partition) => partition.partitionIndex === partitionIndex)?.committedOffset ?? offset;
        if (offset > from) ready += offset - from;
      }
    }
    return { ready: Number(ready), consumers };
  }

  /** By a request of its own: what the library's own method makes of a member that was not given its partitions yet ends the process. */
  private async countMembers(): Promise<number> {
    for (const connection of (await this.admin.connectToBrokers()).values()) {
      try {
        const { groups } = await describeGroupsV5.api.async(connection, [GROUP], false);
        return groups[0]?.members.length ?? 0;
      } catch {
        // Another node coordinates the group.
      }
    }
    throw new Error('no node coordinates the group now');
  }
}

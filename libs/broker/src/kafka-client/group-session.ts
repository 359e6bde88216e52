import type { Clock, Timer } from '@dovecote/ground';
import type { TopicPartition } from '../embedded/broker-log.js';
import {
  assign,
  assignors,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
  protocolType,
} from '../embedded/consumer-protocol.js';
import { offsetCommit } from '../kafka/apis/08-offset-commit.js';
import { offsetFetch } from '../kafka/apis/09-offset-fetch.js';
import { joinGroup } from '../kafka/apis/11-join-group.js';
import { heartbeat } from '../kafka/apis/12-heartbeat.js';
import { leaveGroup } from '../kafka/apis/13-leave-group.js';
import { syncGroup } from '../kafka/apis/14-sync-group.js';
import { errorCodes } from '../kafka/error-codes.js';
import { checkAnswer, type KafkaClient } from './kafka-client.js';

const sessionTimeoutMs = 30_000;
const rebalanceTimeoutMs = 60_000;
const heartbeatEveryMs = 3000;

const mustJoinAgain: ReadonlySet<number> = new Set([
  errorCodes.rebalanceInProgress,
  errorCodes.illegalGeneration,
  errorCodes.unknownMemberId,
]);

/** A member of a consumer group over a socket, for as long as it wants. What it committed is all that is kept of it. */
export class GroupSession {
  /** The group shares out anew: `join` again. */
  isOver = true;
  private memberId = '';
  private generationId = -1;
  private coordinator = -1;
  private beat: Timer | undefined;

  constructor(
    private readonly client: KafkaClient,
    private readonly clock: Clock,
    readonly group: string,
    private readonly topics: readonly string[],
  ) {}

  /** Resolves to what this member reads, with the offsets that are committed (-1: none). Rejects with a KafkaClientError. */
  async join(): Promise<readonly (TopicPartition & { readonly offset: number })[]> {
    this.beat?.cancel();
    this.coordinator = await this.client.coordinatorOf(this.group);
    for (;;) {
      const shared = await this.joinOnce();
      if (shared === undefined) continue;
      this.isOver = false;
      this.beatLater();
      return this.withOffsets(shared);
    }
  }

  /** Resolves when the coordinator has it. Where the group shares out anew meanwhile, `isOver` says so, and what was read comes again elsewhere. */
  async commit(offsets: readonly (TopicPartition & { readonly offset: number })[]): Promise<void> {
    const { group: groupId, memberId, generationId } = this;
    const topics = byTopic(offsets).map(([name, places]) => ({
      name,
      partitions: places.map(({ partition, offset }) => ({ partitionIndex: partition, committedOffset: offset, committedMetadata: '' })),
    }));
    const answer = await this.client.ask(this.coordinator, offsetCommit, {
      groupId,
      memberId,
      generationIdOrMemberEpoch: generationId,
      topics,
    });
    for (const { errorCode } of answer.topics.flatMap(({ partitions }) => partitions)) {
      if (mustJoinAgain.has(errorCode)) this.isOver = true;
      else checkAnswer(errorCode, `the group '${groupId}'`);
    }
  }

  async leave(): Promise<void> {
    this.beat?.cancel();
    const { group: groupId, memberId } = this;
    if (memberId !== '') await this.client.ask(this.coordinator, leaveGroup, { groupId, memberId, members: [{ memberId }] });
  }

  /** Undefined: not this time. */
  private async joinOnce(): Promise<readonly TopicPartition[] | undefined> {
    const metadata = encodeSubscription(this.topics);
    const { group: groupId, memberId } = this;
    const protocols = assignors.map((name) => ({ name, metadata }));
    const request = { groupId, sessionTimeoutMs, rebalanceTimeoutMs, memberId, protocolType, protocols };
    const joined = await this.client.ask(this.coordinator, joinGroup, request, rebalanceTimeoutMs + 10_000);
    if (joined.errorCode === errorCodes.memberIdRequired) this.memberId = joined.memberId;
    else if (joined.errorCode === errorCodes.unknownMemberId) this.memberId = '';
    else if (!mustJoinAgain.has(joined.errorCode)) checkAnswer(joined.errorCode, `the group '${groupId}'`);
    if (joined.errorCode !== 0) return undefined;
    this.memberId = joined.memberId;
    this.generationId = joined.generationId;
    const { generationId, protocolName } = joined;
    const isLeader = joined.leader === joined.memberId && !joined.skipAssignment;
    const members = joined.members.map((member) => ({ memberId: member.memberId, topics: decodeSubscription(member.metadata) }));
    const shares = isLeader
      ? assign(protocolName, members, await this.countsOf(members.flatMap(({ topics }) => topics)))
      : new Map<string, TopicPartition[]>();
    const assignments = [...shares].map(([id, partitions]) => ({ memberId: id, assignment: encodeAssignment(partitions) }));
    const say = { groupId, generationId, memberId: joined.memberId, protocolType, protocolName, assignments };
    const synced = await this.client.ask(this.coordinator, syncGroup, say, rebalanceTimeoutMs + 10_000);
    if (mustJoinAgain.has(synced.errorCode)) return undefined;
    checkAnswer(synced.errorCode, `the group '${groupId}'`);
    return decodeAssignment(synced.assignment);
  }

  private async countsOf(names: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const topics = await this.client.topics([...new Set(names)]);
    return new Map(topics.map(({ name, partitions }) => [name, partitions.length]));
  }

  private async withOffsets(shared: readonly TopicPartition[]): Promise<readonly (TopicPartition & { readonly offset: number })[]> {
    const committed = await committedOffsets(this.client, this.group, shared);
    return shared.map((place) => ({
      ...place,
      offset: committed.find(({ topic, partition }) => topic === place.topic && partition === place.partition)?.offset ?? -1,
    }));
  }

  private beatLater(): void {
    this.beat = this.clock.after(heartbeatEveryMs, () => {
      const { group: groupId, memberId, generationId } = this;
      this.client.ask(this.coordinator, heartbeat, { groupId, generationId, memberId }).then(
        ({ errorCode }) => {
          if (errorCode === 0) this.beatLater();
          else this.isOver = true;
        },
        () => (this.isOver = true),
      );
    });
  }
}

/** What a group has committed, in these partitions or (undefined) in all; -1 is left out. */
export async function committedOffsets(
  client: KafkaClient,
  group: string,
  places?: readonly TopicPartition[],
): Promise<readonly (TopicPartition & { readonly offset: number; readonly metadata: string })[]> {
  const topics =
    places === undefined
      ? null
      : byTopic(places).map(([name, some]) => ({ name, partitionIndexes: some.map(({ partition }) => partition) }));
  const request = { groupId: group, topics, groups: [{ groupId: group, topics }], requireStable: false };
  const answer = await client.ask(await client.coordinatorOf(group), offsetFetch, request);
  checkAnswer(answer.errorCode, `the group '${group}'`);
  const said = answer.groups[0];
  if (said !== undefined) checkAnswer(said.errorCode, `the group '${group}'`);
  return (said?.topics ?? answer.topics).flatMap(({ name, partitions }) =>
    partitions
      .filter(({ committedOffset }) => committedOffset >= 0)
      .map(({ partitionIndex, committedOffset, metadata }) => ({
        ...{ topic: name, partition: partitionIndex, offset: committedOffset },
        metadata: metadata ?? '',
      })),
  );
}

export function byTopic<T extends TopicPartition>(places: readonly T[]): readonly (readonly [string, readonly T[]])[] {
  const topics = new Map<string, T[]>();
  for (const place of places) {
    const some = topics.get(place.topic);
    if (some === undefined) topics.set(place.topic, [place]);
    else some.push(place);
  }
  return [...topics];
}

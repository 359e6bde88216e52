import type { ErrorName } from '../error-codes.js';
import type { KafkaNode } from '../kafka-node.js';
import type { NewRecord, Topic } from '../../log/log.js';
import { recordsOf } from '../record-batch.js';
import type { Due } from '../deadlines.js';
import { Group, type GroupWorld } from './group.js';
import { inProcessHost } from './member.js';
import {
  type CommittedOffset,
  decodeOffsetsRecord,
  encodeGroup,
  encodeGroupKey,
  encodeOffset,
  encodeOffsetKey,
  offsetsTopicConfigs,
  offsetsTopicName,
  partitionOf,
  type StoredGroup,
} from './offsets-topic.js';
import { subscribedTopics } from './subscription.js';

const expiryEveryMs = 600_000;
const loadBytes = 1024 * 1024;

/** One offset to commit. */
export interface OffsetToCommit {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly leaderEpoch: number;
  readonly metadata: string;
}

/**
 * Every group of the broker, and what is written down of them: `__consumer_offsets`, read back when the broker opens.
 *
 * A committed offset is seen when it is durable, and not before; a group that became stable or empty is written down before anybody
 * is told. What survives a crash is therefore what somebody was told. One coordinator, for all groups.
 */
export class GroupCoordinator implements GroupWorld {
  private readonly groups = new Map<string, Group>();
  /** Not seen yet. */
  private readonly committing = new Set<{ readonly group: Group; readonly offsets: readonly OffsetToCommit[] }>();
  private topic: Topic | undefined;
  private making: Promise<Topic> | undefined;
  private readonly expiry: Due = { dueAt: Infinity, duePlace: -1, due: () => this.expireOffsets() };

  constructor(private readonly node: KafkaNode) {}

  get deadlines(): KafkaNode['deadlines'] {
    return this.node.deadlines;
  }

  get initialRebalanceDelayMs(): number {
    return this.node.settings.initialRebalanceDelayMs;
  }

  get groupMembersMax(): number {
    return this.node.limits.groupMembersMax;
  }

  get all(): Iterable<Group> {
    return this.groups.values();
  }

  now(): number {
    return this.node.clock.now();
  }

  newMemberId(prefix: string): string {
    const hex = this.node.random.bytes(16).toString('hex');
    const uuid = hex.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, '$1-$2-4$3-8$4-$5');
    return `${prefix}-${uuid}`;
  }

  group(id: string): Group | undefined {
    return this.groups.get(id);
  }

  /** The group, made if it was not there; undefined where there are too many. */
  groupOrNew(id: string): Group | undefined {
    let group = this.groups.get(id);
    if (group === undefined) {
      if (this.groups.size >= this.node.limits.groupsMax) {
        this.node.report(`the group ${id} was refused: the limit of ${this.node.limits.groupsMax} groups is reached`);
        return undefined;
      }
      group = new Group(id, this);
      this.groups.set(id, group);
    }
    return group;
  }

  /** Resolves when groups can be written down: the topic is made when the first group needs it. */
  async ready(): Promise<Topic> {
    this.topic ??= this.node.log.topic(offsetsTopicName);
    if (this.topic !== undefined) return this.topic;
    this.making ??= this.node.log
      .createTopic(offsetsTopicName, {
        partitionCount: this.node.settings.offsetsPartitionCount,
        configs: offsetsTopicConfigs,
        isInternal: true,
      })
      .finally(() => (this.making = undefined));
    return (this.topic = await this.making);
  }

  /** Reads back what was written down. Rejects with what the log rejects with. */
  async load(): Promise<void> {
    this.topic = this.node.log.topic(offsetsTopicName);
    const stored = new Map<string, StoredGroup>();
    for (const partition of this.topic?.partitions ?? []) {
      let at = partition.logStartOffset;
      while (at < partition.highWatermark) {
        const outcome = await partition.read(at, { isolation: 'read-committed', bytesMax: loadBytes, atLeastOne: true });
        if (typeof outcome === 'string' || outcome.bytes === 0) break;
        for (const part of outcome.parts) at = this.loadBatches(part, stored);
        outcome.release?.();
      }
    }
    // The process may have ended between the topic and what was committed for it: the next topic of the name must not find that.
    await this.forgetTopics((topic) => this.node.log.topic(topic) === undefined);
    for (const [id, value] of stored) this.restore(id, value);
    for (const [id, group] of this.groups) if (!group.hasOffsets && !stored.has(id)) this.groups.delete(id);
    this.deadlines.set(this.expiry, expiryEveryMs);
  }

  close(): void {
    for (const group of this.groups.values()) group.die();
  }

  /** Writes the group down as it is now. */
  store(group: Group, done: (error: ErrorName | undefined) => void): void {
    const members = [...group.members.values()].map((member) => ({
      memberId: member.id,
      groupInstanceId: member.instanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      rebalanceTimeoutMs: member.rebalanceTimeoutMs,
      sessionTimeoutMs: member.sessionTimeoutMs,
      subscription: member.metadata(group.protocolName),
      assignment: member.assignment,
    }));
    const value = encodeGroup({
      protocolType: group.protocolType ?? '',
      generation: group.generation,
      protocol: group.protocolName,
      leader: group.leaderId,
      stateSince: group.stateSince,
      members,
    });
    this.append(group.id, [{ key: encodeGroupKey(group.id), value }], done);
  }

  /** Commits offsets together; they are seen when `done` is called without an error. */
  commit(group: Group, offsets: readonly OffsetToCommit[], done: (error: ErrorName | undefined) => void): void {
    const committedAt = this.now();
    const values = offsets.map(({ topic, partition, offset, leaderEpoch, metadata }) => ({
      topic,
      partition,
      value: { offset, leaderEpoch, metadata, committedAt },
    }));
    const records = values.map(({ topic, partition, value }) => ({
      key: encodeOffsetKey(group.id, topic, partition),
      value: encodeOffset(value),
    }));
    const commit = { group, offsets };
    this.committing.add(commit);
    this.append(group.id, records, (error) => {
      this.committing.delete(commit);
      if (error === undefined) for (const { topic, partition, value } of values) setOffset(group, topic, partition, value);
      done(error);
    });
  }

  /** Forgets offsets; a group without members and offsets goes with them. */
  forgetOffsets(
    group: Group,
    offsets: readonly { readonly topic: string; readonly partition: number }[],
    done: (error: ErrorName | undefined) => void,
  ): void {
    const records: NewRecord[] = offsets.map(({ topic, partition }) => ({ key: encodeOffsetKey(group.id, topic, partition), value: null }));
    this.append(group.id, records, (error) => {
      if (error === undefined) for (const { topic, partition } of offsets) setOffset(group, topic, partition, undefined);
      done(error);
    });
  }

  /** Takes a group without members away, offsets and all. */
  delete(group: Group, done: (error: ErrorName | undefined) => void): void {
    const records: NewRecord[] = [{ key: encodeGroupKey(group.id), value: null }];
    for (const [topic, partitions] of group.offsets)
      for (const partition of partitions.keys()) records.push({ key: encodeOffsetKey(group.id, topic, partition), value: null });
    group.die();
    this.append(group.id, records, (error) => {
      if (this.groups.get(group.id) === group) this.groups.delete(group.id);
      done(error);
    });
  }

  /** Takes a topic away, and what groups committed for it: both are gone for good when it resolves. Rejects with `no-topic`. */
  async deleteTopic(name: string): Promise<void> {
    let forgotten: Promise<void> | undefined;
    await this.node.log.deleteTopic(name, () => {
      forgotten = this.forgetTopics((topic) => topic === name);
    });
    // Not while no other topic can be deleted: on a full disk that may be what gives space.
    await forgotten;
  }

  /** What is committed for them, and what is about to be. */
  private async forgetTopics(isGone: (topic: string) => boolean): Promise<void> {
    const forget = (group: Group): Promise<void> =>
      new Promise((resolve) => {
        const underWay = [...this.committing].flatMap((commit) => (commit.group === group ? commit.offsets : []));
        const gone = [...listOffsets(group), ...underWay].filter(({ topic }) => isGone(topic));
        this.forgetOffsets(group, gone, (error) => {
          if (error !== undefined) {
            this.node.report(`what the group ${group.id} committed for topics that are gone is taken away when the broker opens again`);
            for (const { topic, partition } of gone) setOffset(group, topic, partition, undefined);
          }
          resolve();
        });
      });
    await Promise.all([...this.groups.values()].map(forget));
  }

  private append(groupId: string, records: readonly NewRecord[], done: (error: ErrorName | undefined) => void): void {
    if (records.length === 0) {
      done(undefined);
      return;
    }
    if (this.topic === undefined) void this.appendToNew(groupId, records, done);
    else this.appendTo(this.topic, groupId, records, done);
  }

  /** The first thing that is ever written down. */
  private async appendToNew(groupId: string, records: readonly NewRecord[], done: (error: ErrorName | undefined) => void): Promise<void> {
    let topic: Topic;
    try {
      topic = await this.ready();
    } catch (error) {
      this.node.report(`groups cannot be written down: ${error instanceof Error ? error.message : String(error)}`);
      done('coordinatorNotAvailable');
      return;
    }
    this.appendTo(topic, groupId, records, done);
  }

  private appendTo(topic: Topic, groupId: string, records: readonly NewRecord[], done: (error: ErrorName | undefined) => void): void {
    const outcome = topic.partitions[partitionOf(groupId, topic.partitions.length)]!.appendRecords(records);
    if (outcome.isAppended) this.node.log.afterCommit((error) => done(error === undefined ? undefined : 'coordinatorNotAvailable'));
    else done(outcome.reason === 'message-too-large' ? 'unknownServerError' : 'coordinatorNotAvailable');
  }

  /** Takes what the batches say; the answer is the offset behind them. */
  private loadBatches(bytes: Buffer, stored: Map<string, StoredGroup>): number {
    for (const { key, value } of recordsOf(bytes)) {
      const record = key === null ? undefined : decodeOffsetsRecord(key, value);
      if (record?.kind === 'offset') setOffset(this.groupLoaded(record.group), record.topic, record.partition, record.value);
      else if (record?.kind === 'group' && record.value === undefined) stored.delete(record.group);
      else if (record?.kind === 'group') stored.set(record.group, keep(record.value!));
    }
    return endOf(bytes);
  }

  private groupLoaded(id: string): Group {
    const group = this.groups.get(id) ?? new Group(id, this);
    this.groups.set(id, group);
    return group;
  }

  private restore(id: string, value: StoredGroup): void {
    const group = this.groupLoaded(id);
    group.generation = value.generation;
    group.protocolType = value.protocolType === '' ? null : value.protocolType;
    group.protocolName = value.protocol;
    group.leaderId = value.leader;
    const members = value.members.map((stored) => ({
      assignment: stored.assignment,
      member: group.newMember(stored.memberId, {
        ...stored,
        rebalanceTimeoutMs: stored.rebalanceTimeoutMs < 0 ? stored.sessionTimeoutMs : stored.rebalanceTimeoutMs,
        protocolType: value.protocolType,
        protocols: [{ name: value.protocol ?? '', metadata: stored.subscription }],
        mustComeBack: false,
        canSkipAssignment: false,
      }),
    }));
    group.restore(members);
    group.stateSince = value.stateSince < 0 ? this.now() : value.stateSince;
    // They ended with the process that they were in. One with a name of its own may come back to it.
    for (const { member } of members) if (member.clientHost === inProcessHost && member.instanceId === null) group.leave(member.id, null);
  }

  /** Kafka's rule: a group that is empty keeps its offsets for a week; so does a simple consumer after its last commit. */
  private expireOffsets(): void {
    this.deadlines.set(this.expiry, expiryEveryMs);
    const before = this.now() - this.node.settings.offsetsRetentionMs;
    for (const group of [...this.groups.values()]) {
      const isSimple = group.protocolType === null;
      const subscribed = group.state === 'Empty' ? undefined : subscribedTopics(group);
      if (group.state !== 'Empty' && (group.state !== 'Stable' || subscribed === undefined)) continue;
      const expired = listOffsets(group).filter(({ topic, value }) => {
        if (group.state === 'Empty') return isSimple ? value.committedAt < before : Math.max(group.stateSince, value.committedAt) < before;
        return value.committedAt < before && !subscribed!.has(topic);
      });
      const isOver = group.state === 'Empty' && expired.length === listOffsets(group).length;
      if (isOver && (expired.length > 0 || group.stateSince < before)) this.delete(group, () => undefined);
      else if (expired.length > 0) this.forgetOffsets(group, expired, () => undefined);
    }
  }
}

export function listOffsets(
  group: Group,
): readonly { readonly topic: string; readonly partition: number; readonly value: CommittedOffset }[] {
  return [...group.offsets].flatMap(([topic, partitions]) => [...partitions].map(([partition, value]) => ({ topic, partition, value })));
}

function setOffset(group: Group, topic: string, partition: number, value: CommittedOffset | undefined): void {
  let partitions = group.offsets.get(topic);
  if (value !== undefined) {
    if (partitions === undefined) group.offsets.set(topic, (partitions = new Map()));
    partitions.set(partition, value);
  } else if (partitions !== undefined) {
    partitions.delete(partition);
    if (partitions.size === 0) group.offsets.delete(topic);
  }
}

/** With bytes of its own: those it was read from are lent, and are others when the next part of the log is read. */
function keep(value: StoredGroup): StoredGroup {
  const members = value.members.map((member) => ({
    ...member,
    subscription: Buffer.from(member.subscription),
    assignment: Buffer.from(member.assignment),
  }));
  return { ...value, members };
}

/** The offset behind the last of these batches. */
function endOf(bytes: Buffer): number {
  let end = 0;
  for (let at = 0; at + 61 <= bytes.length; at += 12 + bytes.readInt32BE(at + 8)) {
    end = Number(bytes.readBigInt64BE(at)) + bytes.readInt32BE(at + 23) + 1;
  }
  return end;
}

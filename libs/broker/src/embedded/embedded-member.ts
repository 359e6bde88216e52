import { CodedError } from '../errors.js';
import type { Due } from '../kafka/deadlines.js';
import type { ErrorName } from '../kafka/error-codes.js';
import { inProcessHost, type JoinReply, type SyncReply } from '../kafka/groups/member.js';
import type { KafkaNode } from '../kafka/kafka-node.js';
import { AssignedPartition, type Assignee } from './assigned-partition.js';
import type { CommittedPlace, GroupMember, GroupOptions, OffsetCommit, TopicPartition } from './broker-log.js';
import {
  assign,
  assignors,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
  protocolType,
} from './consumer-protocol.js';
import { commitTo, tooManyGroups } from './group-offsets.js';
import { PartitionCursor, readBytesMax } from './partition-cursor.js';

const retryAfterMs = 100;

/** Why a generation is over for this member. */
type End = 'rebalance' | 'lost' | 'leaving';

/**
 * A member of a consumer group in this process. It speaks to the coordinator as a client would, without a socket: joins, shares out where it
 * leads, reads, and gives everything back when the group shares out anew.
 *
 *   joining → reading → giving back → joining …         until it leaves, or the broker ends
 *
 * What survives a crash is what it committed. A member that went with its process is not waited for when the broker opens again.
 */
export class EmbeddedMember implements GroupMember, Assignee, Due {
  dueAt = Infinity;
  duePlace = -1;
  id = '';
  generation = -1;
  private readonly sessionTimeoutMs: number;
  private readonly rebalanceTimeoutMs: number;
  private parts: readonly AssignedPartition[] = [];
  /** Where this member leads: how many partitions each topic had when it shared out. */
  private counts: ReadonlyMap<string, number> | undefined;
  private end: End | undefined;
  private ended: (() => void) | undefined;
  private failure: CodedError | undefined;
  private drainMs = Infinity;
  private running: Promise<void> = Promise.resolve();

  constructor(
    private readonly node: KafkaNode,
    readonly group: string,
    readonly options: GroupOptions,
    private readonly gone: () => void,
  ) {
    this.sessionTimeoutMs = options.sessionTimeoutMs ?? 30_000;
    this.rebalanceTimeoutMs = options.rebalanceTimeoutMs ?? 60_000;
  }

  /** Resolves with the first assignment; rejects with why there is none. */
  begin(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.running = this.run(resolve).then(() => {
        this.gone();
        reject(this.failure ?? new CodedError('closed', `The member left the group '${this.group}' before it was in`));
      });
    });
  }

  get assignment(): readonly TopicPartition[] {
    return this.parts.map(({ place }) => place);
  }

  async commit(offsets: readonly OffsetCommit[]): Promise<void> {
    const refused = this.node.groups.group(this.group)?.checkCommit(this.id, this.instanceId, this.generation) ?? undefined;
    const isGone = this.id === '' || this.node.groups.group(this.group) === undefined;
    if (isGone || refused !== undefined)
      throw new CodedError(
        'not-a-member',
        `The partitions of group '${this.group}' are shared out anew: whoever has them now reads from what was committed`,
      );
    await commitTo(this.node, this.group, offsets);
  }

  committed({ topic, partition }: TopicPartition): CommittedPlace | undefined {
    const found = this.node.groups.group(this.group)?.offsets.get(topic)?.get(partition);
    return found && { topic, partition, offset: found.offset, metadata: found.metadata, committedAt: found.committedAt };
  }

  position(partition: TopicPartition): number | undefined {
    return this.find(partition)?.cursor.position;
  }

  seek(partition: TopicPartition, offset: number): void {
    this.find(partition)?.cursor.seek(offset);
  }

  pause(partitions: readonly TopicPartition[]): void {
    for (const partition of partitions) this.find(partition)?.pause();
  }

  resume(partitions: readonly TopicPartition[]): void {
    for (const partition of partitions) this.find(partition)?.resume();
  }

  leave({ drainMs = this.rebalanceTimeoutMs }: { readonly drainMs?: number } = {}): Promise<void> {
    this.drainMs = Math.min(drainMs, this.drainMs);
    this.finish('leaving');
    return this.running;
  }

  /** The broker cannot go on. */
  abort(error: CodedError): void {
    this.failure ??= error;
    for (const part of this.parts) part.abort();
    void this.leave({ drainMs: 0 });
  }

  failed(error: unknown, partition?: TopicPartition): void {
    const { failed } = this.options;
    if (failed !== undefined) {
      failed(error, partition);
      return;
    }
    const where = partition === undefined ? '' : `, partition ${partition.partition} of '${partition.topic}'`;
    this.node.report(`group '${this.group}'${where}: ${error instanceof Error ? error.message : String(error)}`);
  }

  /** A sign of life is due. The leader looks whether there is more to share out. */
  due(): void {
    const said = this.node.groups.group(this.group)?.heartbeat(this.id, this.instanceId, this.generation) ?? 'unknownMemberId';
    if (said !== 'none' && said !== 'rebalanceInProgress') {
      this.finish('lost');
      return;
    }
    if (said === 'rebalanceInProgress' || this.hasMoreToShareOut()) this.finish('rebalance');
    this.node.deadlines.set(this, this.sessionTimeoutMs / 3);
  }

  private get instanceId(): string | null {
    return this.options.instanceId ?? null;
  }

  private find({ topic, partition }: TopicPartition): AssignedPartition | undefined {
    return this.parts.find(({ place }) => place.topic === topic && place.partition === partition);
  }

  /** This generation is over, for a reason that may be followed by a stronger one. */
  private finish(end: End): void {
    const strength: readonly (End | undefined)[] = [undefined, 'rebalance', 'lost', 'leaving'];
    if (strength.indexOf(end) > strength.indexOf(this.end)) this.end = end;
    this.ended?.();
  }

  private untilEnd(): Promise<void> {
    return this.end === undefined ? new Promise((resolve) => (this.ended = resolve)) : Promise.resolve();
  }

  // Its life.

  private async run(isIn: () => void): Promise<void> {
    while (this.end !== 'leaving') {
      const assignment = await this.join();
      if (assignment === undefined) continue;
      this.node.deadlines.set(this, this.sessionTimeoutMs / 3);
      await this.take(assignment);
      isIn();
      await this.untilEnd();
      await this.giveBack();
    }
    this.node.deadlines.cancel(this);
    // Who has a name of its own is expected back.
    if (this.id !== '' && this.instanceId === null) this.node.groups.group(this.group)?.leave(this.id, null);
  }

  /** What this member is to read from now on; undefined where it must try again, or has left meanwhile. */
  private async join(): Promise<readonly TopicPartition[] | undefined> {
    if (this.end === 'lost') this.id = '';
    this.node.deadlines.cancel(this);
    try {
      await this.node.groups.ready();
    } catch (error) {
      return this.giveUp(
        error instanceof CodedError ? error : new CodedError('storage-failed', 'The groups cannot be written down', { cause: error }),
      );
    }
    if (this.end !== 'leaving') this.end = undefined;
    const joined = await this.orLeft<JoinReply>((reply) => this.sayJoin(reply));
    if (joined === undefined) return undefined;
    if (joined.error === 'memberIdRequired') {
      this.id = joined.memberId;
      return undefined;
    }
    if (joined.error !== 'none') return this.refused(joined.error);
    this.id = joined.memberId;
    this.generation = joined.generation;
    const synced = await this.orLeft<SyncReply>((reply) => this.saySync(joined, reply));
    if (synced === undefined) return undefined;
    return synced.error === 'none' ? decodeAssignment(synced.assignment) : this.refused(synced.error);
  }

  private sayJoin(reply: (reply: JoinReply) => void): void {
    const metadata = encodeSubscription(this.options.topics);
    const group = this.node.groups.groupOrNew(this.group);
    if (group === undefined) {
      this.giveUp(tooManyGroups(this.group));
      return;
    }
    group.join(
      {
        memberId: this.id,
        groupInstanceId: this.instanceId,
        clientId: 'in-process',
        clientHost: inProcessHost,
        sessionTimeoutMs: this.sessionTimeoutMs,
        rebalanceTimeoutMs: this.rebalanceTimeoutMs,
        protocolType,
        protocols: assignors.map((name) => ({ name, metadata })),
        mustComeBack: true, // so that its name is known while it waits
        canSkipAssignment: true,
        mustRejoin: () => this.finish('rebalance'),
      },
      reply,
    );
  }

  private saySync(joined: JoinReply, reply: (reply: SyncReply) => void): void {
    const isLeader = joined.leader === joined.memberId && joined.members.length > 0;
    const members = joined.members.map(({ memberId, metadata }) => ({ memberId, topics: decodeSubscription(metadata) }));
    this.counts = isLeader ? this.countsOf(new Set(members.flatMap(({ topics }) => topics))) : undefined;
    const shares =
      isLeader && !joined.skipAssignment ? assign(joined.protocolName, members, this.counts!) : new Map<string, TopicPartition[]>();
    const { memberId, generation, protocolName } = joined;
    this.node.groups.group(this.group)?.syncMember(
      {
        ...{ memberId, generation, protocolType, protocolName },
        groupInstanceId: this.instanceId,
        assignments: [...shares].map(([id, partitions]) => ({ memberId: id, assignment: encodeAssignment(partitions) })),
      },
      reply,
    );
  }

  private countsOf(topics: Iterable<string>): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const name of topics) counts.set(name, this.node.log.topic(name)?.partitions.length ?? 0);
    return counts;
  }

  private hasMoreToShareOut(): boolean {
    for (const [name, count] of this.counts ?? []) if ((this.node.log.topic(name)?.partitions.length ?? 0) !== count) return true;
    return false;
  }

  /** The coordinator said no: what cannot get better ends this member, the rest is tried again in a moment. */
  private async refused(error: ErrorName): Promise<undefined> {
    if (error === 'inconsistentGroupProtocol') {
      const known = assignors.join(', ');
      return this.giveUp(
        new CodedError('invalid-argument', `The members of group '${this.group}' share out in other ways than this one knows (${known})`),
      );
    }
    if (error === 'groupMaxSizeReached')
      return this.giveUp(new CodedError('limit-reached', `The group '${this.group}' has as many members as it may`));
    if (error === 'fencedInstanceId')
      return this.giveUp(new CodedError('not-a-member', `Another member of group '${this.group}' calls itself '${this.instanceId}'`));
    if (error === 'invalidGroupId') return this.giveUp(new CodedError('invalid-argument', `'${this.group}' is no name for a group`));
    if (error === 'unknownMemberId') this.id = '';
    else if (error !== 'rebalanceInProgress') await this.orLeft<void>((reply) => void this.node.clock.after(retryAfterMs, reply));
    return undefined;
  }

  private giveUp(failure: CodedError): undefined {
    if (this.generation >= 0) this.failed(failure);
    this.failure ??= failure;
    this.finish('leaving');
    return undefined;
  }

  /** Waits for an answer, but not longer than this member wants to stay. */
  private async orLeft<T>(ask: (reply: (answer: T) => void) => void): Promise<T | undefined> {
    if (this.end === 'leaving') return undefined;
    return new Promise((resolve) => {
      this.ended = () => {
        if (this.end === 'leaving') resolve(undefined);
      };
      ask(resolve);
    });
  }

  private async take(assignment: readonly TopicPartition[]): Promise<void> {
    const { from, bytesMax = readBytesMax, assigned } = this.options;
    const parts: AssignedPartition[] = [];
    for (const place of assignment) {
      const partition = this.node.log.topic(place.topic)?.partitions[place.partition];
      if (partition === undefined) continue;
      const start = from === 'latest' ? partition.lastStableOffset : partition.logStartOffset;
      parts.push(
        new AssignedPartition(new PartitionCursor(partition, this.committed(place)?.offset ?? start, bytesMax, this.node.clock), this),
      );
    }
    this.parts = parts;
    try {
      await assigned?.(this.assignment, this);
    } catch (error) {
      this.failed(error);
    }
    for (const part of parts) part.start();
  }

  /** Waits for what is being received, within the time that the group gives, and says what is not this member's any more. */
  private async giveBack(): Promise<void> {
    const { parts } = this;
    const isLost = this.end === 'lost';
    const drained = Promise.all(parts.map((part) => part.stop()));
    if (isLost) for (const part of parts) part.abort();
    const limitMs = this.end === 'leaving' ? this.drainMs : Math.min(this.drainMs, this.rebalanceTimeoutMs * 0.8);
    await Promise.race([drained, new Promise<void>((resolve) => this.cutAfter(limitMs, drained, resolve))]);
    for (const part of parts) part.abort();
    try {
      if (parts.length > 0) await this.options.revoked?.(this.assignment, { isLost });
    } catch (error) {
      this.failed(error);
    }
    this.parts = [];
  }

  private cutAfter(limitMs: number, drained: Promise<unknown>, cut: () => void): void {
    const timer = this.node.clock.after(limitMs, cut);
    void drained.then(() => timer.cancel());
  }
}

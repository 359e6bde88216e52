/**
 * Consumer groups under random commands, by seed, on a clock that only the test moves: members join, are late, die in every state, commit and leave. A plain
 * model holds what a consumer may rely on: nobody reads a partition that another one reads, a commit counts only by a member of the generation, and
 * a committed offset is what the last accepted commit said.
 */
import { afterEach, describe, expect, it } from '@jest/globals';
import { SeededRandom } from '@dovecote/ground/testing';
import { offsetCommit } from '../apis/08-offset-commit.js';
import { offsetFetch } from '../apis/09-offset-fetch.js';
import { joinGroup } from '../apis/11-join-group.js';
import { heartbeat } from '../apis/12-heartbeat.js';
import { leaveGroup } from '../apis/13-leave-group.js';
import { syncGroup } from '../apis/14-sync-group.js';
import { describeGroups } from '../apis/15-describe-groups.js';
import { errorCodes } from '../error-codes.js';
import { type KafkaClient, KafkaWorld } from '../kafka-world.js';

const sessionTimeoutMs = 10_000;
/** Shorter than the session: a rebalance goes on without a static member that is still one. */
const rebalanceTimeoutMs = 4000;
const partitionCount = 4;
const seeds = Array.from({ length: 30 }, (_, i) => i + 1);

let world: KafkaWorld;
afterEach(() => world.server.abort());

type Waiting = 'join' | 'sync' | undefined;

/** A consumer that does what it is told, and knows only what it was answered. */
class Consumer {
  client: KafkaClient;
  memberId = '';
  generation = -1;
  waitsFor: Waiting;
  /** What a good client does now. */
  next: 'join' | 'sync' | 'beat' = 'join';
  /** The partitions it reads; undefined while it must not read. */
  owned: readonly number[] | undefined;
  /** For the leader: who takes part. */
  private members: readonly string[] = [];
  private isLeader = false;
  /** When it last said something that was answered: from then on it has a whole session. */
  lastHeardMs = 0;

  constructor(readonly instance: string | null) {
    this.client = world.client();
  }

  get isIdle(): boolean {
    return this.waitsFor === undefined;
  }

  join(): void {
    this.owned = undefined;
    this.waitsFor = 'join';
    this.lastHeardMs = world.clock.monotonicMs();
    this.client.say(joinGroup, 9, {
      groupId: 'g',
      memberId: this.memberId,
      groupInstanceId: this.instance,
      sessionTimeoutMs,
      rebalanceTimeoutMs,
      protocolType: 'consumer',
      protocols: [{ name: 'range', metadata: Buffer.from([0, 0, 0, 0, 0, 1, 0, 1, 116, 255, 255, 255, 255]) }],
    });
  }

  sync(): void {
    this.waitsFor = 'sync';
    this.lastHeardMs = world.clock.monotonicMs();
    const assignments = this.isLeader
      ? this.members.map((memberId, at) => ({
          memberId,
          assignment: Buffer.from(Array.from({ length: partitionCount }, (_, p) => p).filter((p) => p % this.members.length === at)),
        }))
      : [];
    const { memberId, generation: generationId, instance: groupInstanceId } = this;
    const protocol = { protocolType: 'consumer', protocolName: 'range' };
    this.client.say(syncGroup, 5, { groupId: 'g', memberId, generationId, groupInstanceId, ...protocol, assignments });
  }

  /** Takes the answer that it waits for, if it has come. */
  hear(): void {
    if (this.waitsFor === 'join') {
      const answer = this.client.hear(joinGroup, 9);
      if (answer === undefined) return;
      this.waitsFor = undefined;
      if (answer.errorCode === errorCodes.memberIdRequired) this.memberId = answer.memberId;
      else if (answer.errorCode !== 0) this.lost();
      else {
        ({ memberId: this.memberId, generationId: this.generation } = answer);
        this.isLeader = answer.leader === answer.memberId && !answer.skipAssignment;
        this.members = answer.members.map(({ memberId }) => memberId);
        this.next = 'sync';
      }
    } else if (this.waitsFor === 'sync') {
      const answer = this.client.hear(syncGroup, 5);
      if (answer === undefined) return;
      this.waitsFor = undefined;
      this.next = 'join';
      if (answer.errorCode === 0) [this.owned, this.next] = [[...answer.assignment], 'beat'];
      else if (answer.errorCode !== errorCodes.rebalanceInProgress) this.lost();
    }
  }

  lost(): void {
    this.memberId = '';
    this.generation = -1;
    this.next = 'join';
    this.owned = undefined;
  }

  /** As a process that is stopped and started again, or a machine that is cut off. */
  die(): void {
    this.client.server.destroy();
    this.client = world.client();
    this.waitsFor = undefined;
    this.lost();
  }
}

async function run(seed: number): Promise<{ readonly trouble: string[]; readonly sharedSteps: number }> {
  const random = new SeededRandom(`groups ${seed}`);
  world = await KafkaWorld.open();
  await world.log.createTopic('t', { partitionCount });
  const consumers = Array.from({ length: 4 }, (_, i) => new Consumer(i === 0 ? 'static' : null));
  const committed = new Map<number, number>();
  const trouble: string[] = [];
  let sharedSteps = 0;
  const now = (): number => world.clock.monotonicMs();
  const settle = async (): Promise<void> => {
    await world.settle();
    for (const consumer of consumers) consumer.hear();
  };
  const commands: Readonly<Record<string, (consumer: Consumer) => Promise<void> | void>> = {
    act: (consumer) => commands[consumer.next]!(consumer),
    join: (consumer) => consumer.join(),
    sync: (consumer) => (consumer.generation >= 0 ? consumer.sync() : consumer.join()),
    beat: async (consumer) => {
      if (consumer.generation < 0) return;
      const { memberId, generation: generationId, instance: groupInstanceId } = consumer;
      const { errorCode } = await consumer.client.ask(heartbeat, 4, { groupId: 'g', memberId, generationId, groupInstanceId });
      consumer.lastHeardMs = now();
      if (errorCode === errorCodes.rebalanceInProgress) [consumer.owned, consumer.next] = [undefined, 'join'];
      else if (errorCode !== 0) consumer.lost();
    },
    commit: async (consumer) => {
      const partition = random.below(partitionCount);
      const offset = random.below(1000);
      const { memberId, generation, instance } = consumer;
      const topics = [{ name: 't', partitions: [{ partitionIndex: partition, committedOffset: offset, committedMetadata: '' }] }];
      const said = { groupId: 'g', memberId, generationIdOrMemberEpoch: generation, groupInstanceId: instance, topics };
      const { errorCode } = (await consumer.client.ask(offsetCommit, 9, said)).topics[0]!.partitions[0]!;
      if (errorCode === 0) committed.set(partition, offset);
      if (errorCode !== 0) return;
      const newest = Math.max(...consumers.map((other) => other.generation));
      const isAlive = ({ generation: own, owned, lastHeardMs }: Consumer): boolean =>
        own === newest && owned !== undefined && now() - lastHeardMs < rebalanceTimeoutMs;
      if (generation >= 0 && generation < newest) trouble.push(`generation ${generation} committed after ${newest} began`);
      if (generation < 0 && consumers.some(isAlive)) trouble.push('a stranger committed while there were members');
    },
    leave: async (consumer) => {
      if (consumer.memberId === '') return;
      const members = [{ memberId: consumer.memberId, groupInstanceId: consumer.instance }];
      await consumer.client.ask(leaveGroup, 5, { groupId: 'g', memberId: consumer.memberId, members });
      consumer.lost();
    },
    die: (consumer) => consumer.die(),
    late: async () => world.clock.advance(random.below(sessionTimeoutMs)),
    frozen: async () => world.clock.advance(2 * sessionTimeoutMs),
  };
  const names = [
    ...Array.from({ length: 24 }, () => 'act'),
    'join',
    'sync',
    'beat',
    'commit',
    'commit',
    'commit',
    'leave',
    'die',
    'late',
    'frozen',
  ];
  for (let step = 0; step < 300; step++) {
    const consumer = consumers[random.below(consumers.length)]!;
    const name = names[random.below(names.length)]!;
    if (consumer.client.isClosed) consumer.die();
    if (name === 'late' || name === 'frozen' || name === 'die' || consumer.isIdle) await commands[name]!(consumer);
    await settle();
    // Who has not been heard for a session may have been given up without knowing it: it does not count as a reader.
    const readers = consumers.filter(({ owned, lastHeardMs }) => owned !== undefined && now() - lastHeardMs < sessionTimeoutMs);
    const generation = Math.max(...readers.map((reader) => reader.generation), -1);
    const taken = readers.filter((reader) => reader.generation === generation).flatMap(({ owned }) => [...owned!]);
    if (taken.length === partitionCount && readers.length > 1) sharedSteps++;
    if (new Set(taken).size < taken.length) trouble.push(`step ${step}, ${name}: two read the same partition: ${taken.join()}`);
  }
  const asked = [{ name: 't', partitionIndexes: [...committed.keys()] }];
  const watcher = world.client();
  const fetched = await watcher.ask(offsetFetch, 7, { groupId: 'g', topics: asked, groups: [] });
  for (const { partitionIndex, committedOffset } of fetched.topics[0]?.partitions ?? []) {
    if (committedOffset !== committed.get(partitionIndex)) trouble.push(`partition ${partitionIndex}: ${committedOffset} is committed`);
  }
  await world.clock.advance(10 * rebalanceTimeoutMs);
  const [group] = (await world.client().ask(describeGroups, 5, { groups: ['g'], includeAuthorizedOperations: false })).groups;
  if (!['Empty', 'Dead'].includes(group!.groupState) || group!.members.length > 0)
    trouble.push(`all are gone, and it is ${group!.groupState}`);
  return { trouble, sharedSteps };
}

describe('a group under random commands', () => {
  it.each(seeds)('lets nobody read what another one reads, and keeps what was committed: seed %i', async (seed) => {
    expect((await run(seed)).trouble).toEqual([]);
  });

  it('does share its partitions meanwhile', async () => {
    expect((await run(1)).sharedSteps).toBeGreaterThan(5);
  });
});

/** `dovecote groups`: consumer groups, how far behind they are, and setting them to another place, as users of kafka-consumer-groups expect. */
import type { Command } from 'commander';
import type { KafkaClient } from '@dovecote/broker/kafka-client';
import { collect, type ConnectionOptions, type LogContext, logCommand, readCount, readTime, show, withClient } from './log-commands.js';
import { offsetsAt, type PartitionOffset } from './offsets-command.js';
import { UsageError } from './passwords.js';

export function addGroups(program: Command, context: LogContext): void {
  const groups = program.command('groups').description('consumer groups, of this broker or any Kafka cluster');
  addLooking(groups, context);
  addReset(groups, context);
  const remove = logCommand(groups, 'delete <groups...>', 'deletes groups without members, with their offsets');
  remove.action((names: readonly string[]) =>
    withClient(remove, context, async (client) => {
      const { deleteGroups, checkAnswer } = await import('@dovecote/broker/kafka-client');
      for (const group of names) {
        const answer = await client.ask(await client.coordinatorOf(group), deleteGroups, { groupsNames: [group] });
        for (const { errorCode } of answer.results) checkAnswer(errorCode, `the group '${group}'`);
      }
    }),
  );
}

function addLooking(groups: Command, context: LogContext): void {
  const list = logCommand(groups, 'list', 'all groups');
  list.action(() =>
    withClient(list, context, async (client) => {
      const { listGroups, checkAnswer } = await import('@dovecote/broker/kafka-client');
      const found: { group: string; state: string; type: string }[] = [];
      for (const { id } of client.brokers) {
        const answer = await client.ask(id, listGroups, { statesFilter: [], typesFilter: [] });
        checkAnswer(answer.errorCode, 'the groups');
        for (const one of answer.groups) found.push({ group: one.groupId, state: one.groupState, type: one.groupType });
      }
      show(
        list,
        context,
        ['group', 'state', 'type'],
        found.sort((one, other) => (one.group < other.group ? -1 : 1)),
      );
    }),
  );
  const describe = logCommand(groups, 'describe <groups...>', 'what each partition is committed to, the end, and the lag between');
  describe.action((names: readonly string[]) =>
    withClient(describe, context, async (client) => {
      const rows = (await Promise.all(names.map((group) => lagOf(client, group)))).flat();
      show(describe, context, ['group', 'topic', 'partition', 'committed', 'end', 'lag', 'member'], rows);
    }),
  );
  const members = logCommand(groups, 'members <group>', 'who takes part, and what each of them reads');
  members.action((group: string) =>
    withClient(members, context, async (client) => {
      const rows = (await membersOf(client, group)).map(({ partitions, ...member }) => ({
        ...member,
        partitions: partitions.map(({ topic, partition }) => `${topic}/${partition}`),
      }));
      show(members, context, ['member', 'client', 'host', 'instance', 'partitions'], rows);
    }),
  );
}

async function membersOf(client: KafkaClient, group: string) {
  const { decodeAssignment, describeGroups, checkAnswer, errorCodes } = await import('@dovecote/broker/kafka-client');
  const answer = await client.ask(await client.coordinatorOf(group), describeGroups, {
    groups: [group],
    includeAuthorizedOperations: false,
  });
  const [found] = answer.groups;
  if (found === undefined || found.errorCode === errorCodes.groupIdNotFound) return [];
  checkAnswer(found.errorCode, `the group '${group}'`, found.errorMessage);
  return found.members.map(({ memberId, clientId, clientHost, groupInstanceId, memberAssignment }) => ({
    ...{ member: memberId, client: clientId, host: clientHost, instance: groupInstanceId ?? '' },
    partitions: decodeAssignment(memberAssignment),
  }));
}

async function lagOf(client: KafkaClient, group: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const { committedOffsets, KafkaClientError } = await import('@dovecote/broker/kafka-client');
  const [committed, members] = [await committedOffsets(client, group), await membersOf(client, group)];
  const readers = members.flatMap(({ member, partitions }) => partitions.map((place) => ({ ...place, member })));
  const names = new Set([...committed, ...readers].map(({ topic }) => topic));
  if (names.size === 0) throw new KafkaClientError('refused', `The group '${group}' has committed nothing, and nobody takes part in it`);
  const ends = await offsetsAt(client, await client.topics([...names]), 'latest');
  return ends
    .map(({ topic, partition, offset: end }) => {
      const is = (one: { readonly topic: string; readonly partition: number }): boolean =>
        one.topic === topic && one.partition === partition;
      const [at, reader] = [committed.find(is)?.offset, readers.find(is)?.member];
      return { group, topic, partition, committed: at, end, lag: at === undefined ? undefined : Math.max(end - at, 0), member: reader };
    })
    .filter(({ committed: at, member }) => at !== undefined || member !== undefined);
}

interface Reset {
  readonly topic: readonly string[];
  readonly toEarliest?: boolean;
  readonly toLatest?: boolean;
  readonly toOffset?: string;
  readonly toTime?: string;
  readonly shiftBy?: string;
  readonly execute?: boolean;
}

function addReset(groups: Command, context: LogContext): void {
  const reset = logCommand(groups, 'reset <group>', 'says where a group without members would go on, and with --execute sets it there')
    .requiredOption('-t, --topic <name[:partition]>', 'repeatable', collect)
    .option('--to-earliest', 'to the beginning')
    .option('--to-latest', 'to the end')
    .option('--to-offset <offset>', 'to this offset, or the nearest that there is')
    .option('--to-time <time>', 'to the first record of that time or later')
    .option('--shift-by <count>', 'so many on from where it is, or back (negative)')
    .option('--execute', 'does it');
  reset.action((group: string, given: Reset) =>
    withClient(reset, context, async (client) => {
      const { committedOffsets, offsetCommit, byTopic, checkAnswer, errorCodes } = await import('@dovecote/broker/kafka-client');
      const committed = await committedOffsets(client, group);
      const places = await targets(client, given, committed);
      const rows = places.map((place) => ({
        ...{ group, topic: place.topic, partition: place.partition },
        before: committed.find(({ topic, partition }) => topic === place.topic && partition === place.partition)?.offset,
        after: place.offset,
      }));
      if (given.execute === true) {
        const topics = byTopic(places).map(([name, some]) => ({
          name,
          partitions: some.map(({ partition, offset }) => ({ partitionIndex: partition, committedOffset: offset, committedMetadata: '' })),
        }));
        const answer = await client.ask(await client.coordinatorOf(group), offsetCommit, { groupId: group, memberId: '', topics });
        for (const { errorCode } of answer.topics.flatMap(({ partitions }) => partitions))
          checkAnswer(
            errorCode,
            `the group '${group}'`,
            errorCode === errorCodes.unknownMemberId ? 'it has members: stop them first' : undefined,
          );
      }
      show(reset, context, ['group', 'topic', 'partition', 'before', 'after'], rows);
      const isJson = reset.optsWithGlobals<ConnectionOptions>().json === true;
      if (given.execute !== true && !isJson) context.terminal.warn('Nothing was changed: --execute does it');
    }),
  );
}

async function targets(client: KafkaClient, given: Reset, committed: readonly PartitionOffset[]): Promise<readonly PartitionOffset[]> {
  const ways = [given.toEarliest, given.toLatest, given.toOffset, given.toTime, given.shiftBy].filter((way) => way !== undefined);
  if (ways.length !== 1) throw new UsageError('Say one of --to-earliest, --to-latest, --to-offset, --to-time and --shift-by');
  const chosen = given.topic.map((text) => {
    const [, name = '', number] = /^(.*?)(?::(\d+))?$/.exec(text) ?? [];
    return { name, partition: number === undefined ? undefined : Number(number) };
  });
  const topics = await Promise.all([...new Set(chosen.map(({ name }) => name))].map((name) => client.topic(name)));
  const isChosen = ({ topic, partition }: PartitionOffset): boolean =>
    chosen.some((one) => one.name === topic && (one.partition === undefined || one.partition === partition));
  const starts = (await offsetsAt(client, topics, 'earliest')).filter(isChosen);
  const ends = (await offsetsAt(client, topics, 'latest')).filter(isChosen);
  if (given.toEarliest !== undefined) return starts;
  if (given.toLatest !== undefined) return ends;
  if (given.toTime !== undefined) return (await offsetsAt(client, topics, readTime(given.toTime, '--to-time'))).filter(isChosen);
  const within = (offset: number, index: number): number => Math.min(Math.max(offset, starts[index]!.offset), ends[index]!.offset);
  if (given.toOffset !== undefined) {
    const offset = readCount(given.toOffset, '--to-offset');
    return starts.map((place, index) => ({ ...place, offset: within(offset, index) }));
  }
  const shift = /^[+-]?\d{1,15}$/.test(given.shiftBy!) ? Number(given.shiftBy) : NaN;
  if (Number.isNaN(shift)) throw new UsageError(`--shift-by must be a whole number such as -10; "${given.shiftBy}" was given`);
  return starts.map((place, index) => {
    const at = committed.find(({ topic, partition }) => topic === place.topic && partition === place.partition)?.offset;
    return { ...place, offset: within((at ?? place.offset) + shift, index) };
  });
}

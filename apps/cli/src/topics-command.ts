/** `dovecote topics`: what users of kafka-topics and kafka-configs expect, over Kafka's protocol. */
import type { Command } from 'commander';
import type { KafkaClient, TopicDescription } from '@dovecote/broker/kafka-client';
import { collect, type ConnectionOptions, type LogContext, logCommand, readCount, readPairs, show, withClient } from './log-commands.js';
import { table } from './terminal.js';

const topicResource = 2;
const timeoutMs = 30_000;

export function addTopics(program: Command, context: LogContext): void {
  const topics = program.command('topics').description('topics of the partitioned log, of this broker or any Kafka cluster');
  addListing(topics, context);
  addMaking(topics, context);
  addConfigs(topics, context);
}

function addListing(topics: Command, context: LogContext): void {
  const list = logCommand(topics, 'list', 'all topics').option('--internal', 'also those that belong to the broker');
  list.action(({ internal = false }: { internal?: boolean }) =>
    withClient(list, context, async (client) => {
      const found = (await client.topics())
        .filter(({ isInternal }) => internal || !isInternal)
        .sort((one, other) => (one.name < other.name ? -1 : 1));
      show(list, context, ['topic', 'partitions', 'replicas'], found.map(rowOf));
    }),
  );
  const describe = logCommand(topics, 'describe <names...>', 'partitions, leaders, replicas and configs that were set');
  describe.action((names: readonly string[]) =>
    withClient(describe, context, async (client) => {
      const all = await Promise.all(
        names.map(async (name) => ({ ...(await client.topic(name)), configs: await setConfigs(client, name) })),
      );
      if (describe.optsWithGlobals<ConnectionOptions>().json === true) {
        context.terminal.say(`${JSON.stringify(all, null, 2)}\n`);
        return;
      }
      for (const topic of all) {
        const configs = Object.entries(topic.configs).map(([name, value]) => `${name}=${value}`);
        context.terminal.say(
          `${topic.name}  id ${topic.id}  ${topic.partitions.length} partitions  ${configs.join(' ')}\n`.replace(/ +\n/, '\n'),
        );
        context.terminal.say(table(['partition', 'leader', 'replicas', 'inSync'], topic.partitions));
      }
    }),
  );
}

function addMaking(topics: Command, context: LogContext): void {
  const create = logCommand(topics, 'create <names...>', 'makes topics')
    .option('-p, --partitions <count>', "how many; the broker's own number where none is said")
    .option('-r, --replicas <count>', 'how many copies')
    .option('-c, --config <name=value>', 'repeatable: cleanup.policy=compact', collect)
    .option('--if-missing', 'say nothing where it is there already');
  create.action(
    (names: readonly string[], given: { partitions?: string; replicas?: string; config?: readonly string[]; ifMissing?: boolean }) =>
      withClient(create, context, async (client) => {
        const { createTopics, checkAnswer, errorCodes } = await import('@dovecote/broker/kafka-client');
        const numPartitions = given.partitions === undefined ? -1 : readCount(given.partitions, '--partitions', 1);
        const replicationFactor = given.replicas === undefined ? -1 : readCount(given.replicas, '--replicas', 1);
        const configs = Object.entries(readPairs(given.config, '--config')).map(([name, value]) => ({ name, value }));
        const wanted = names.map((name) => ({ name, numPartitions, replicationFactor, assignments: [], configs }));
        const answer = await client.askController(createTopics, { topics: wanted, timeoutMs, validateOnly: false });
        for (const { name, errorCode, errorMessage } of answer.topics) {
          if (given.ifMissing === true && errorCode === errorCodes.topicAlreadyExists) continue;
          checkAnswer(errorCode, `the topic '${name}'`, errorMessage);
        }
      }),
  );
  const remove = logCommand(topics, 'delete <names...>', 'deletes topics with all that is in them');
  remove.action((names: readonly string[]) =>
    withClient(remove, context, async (client) => {
      const { deleteTopics, noTopicId: topicId, checkAnswer } = await import('@dovecote/broker/kafka-client');
      const request = { topics: names.map((name) => ({ name, topicId })), topicNames: names, timeoutMs };
      for (const { name, errorCode, errorMessage } of (await client.askController(deleteTopics, request)).responses)
        checkAnswer(errorCode, `the topic '${name}'`, errorMessage);
    }),
  );
  const grow = logCommand(topics, 'grow <name> <partitions>', 'more partitions, so many in all; keys go to others from then on');
  grow.action((name: string, partitions: string) =>
    withClient(grow, context, async (client) => {
      const { createPartitions, checkAnswer } = await import('@dovecote/broker/kafka-client');
      const wanted = [{ name, count: readCount(partitions, 'the number of partitions', 1), assignments: null }];
      for (const { errorCode, errorMessage } of (
        await client.askController(createPartitions, { topics: wanted, timeoutMs, validateOnly: false })
      ).results)
        checkAnswer(errorCode, `the topic '${name}'`, errorMessage);
    }),
  );
}

function addConfigs(topics: Command, context: LogContext): void {
  const configs = logCommand(topics, 'configs <name>', 'what holds for a topic, or changes it')
    .option('--set <name=value>', 'repeatable', collect)
    .option('--unset <name>', "takes the topic's own value away, repeatable", collect);
  configs.action((name: string, { set, unset = [] }: { set?: readonly string[]; unset?: readonly string[] }) =>
    withClient(configs, context, async (client) => {
      const { incrementalAlterConfigs, checkAnswer } = await import('@dovecote/broker/kafka-client');
      const changes = [
        ...Object.entries(readPairs(set, '--set')).map(([config, value]) => ({ name: config, configOperation: 0, value })),
        ...unset.map((config) => ({ name: config, configOperation: 1, value: null })),
      ];
      if (changes.length === 0) {
        show(configs, context, ['config', 'value', 'source'], await allConfigs(client, name));
        return;
      }
      const resources = [{ resourceType: topicResource, resourceName: name, configs: changes }];
      for (const { errorCode, errorMessage } of (await client.askController(incrementalAlterConfigs, { resources, validateOnly: false }))
        .responses)
        checkAnswer(errorCode, `the topic '${name}'`, errorMessage);
    }),
  );
}

const sources: readonly string[] = ['unknown', 'topic', 'broker', 'brokers', 'broker', 'default'];

async function allConfigs(client: KafkaClient, name: string): Promise<readonly { config: string; value: string | null; source: string }[]> {
  const { describeConfigs, checkAnswer, KafkaClientError } = await import('@dovecote/broker/kafka-client');
  const resources = [{ resourceType: topicResource, resourceName: name, configurationKeys: null }];
  const [answer] = (await client.askController(describeConfigs, { resources })).results;
  if (answer === undefined) throw new KafkaClientError('refused', `Nothing was said about the topic '${name}'`);
  checkAnswer(answer.errorCode, `the topic '${name}'`, answer.errorMessage);
  return answer.configs.map((one) => ({ config: one.name, value: one.value, source: sources[one.configSource] ?? 'unknown' }));
}

async function setConfigs(client: KafkaClient, name: string): Promise<Readonly<Record<string, string | null>>> {
  const own = (await allConfigs(client, name)).filter(({ source }) => source === 'topic');
  return Object.fromEntries(own.map(({ config, value }) => [config, value]));
}

function rowOf({ name, partitions }: TopicDescription): Readonly<Record<string, unknown>> {
  return { topic: name, partitions: partitions.length, replicas: partitions[0]?.replicas.length ?? 0 };
}

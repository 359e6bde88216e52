/** Makes topics that are not there, and waits until they have leaders. Remembers those that are there; keeps nothing else. */
import type { Clock } from '@dovecote/ground';
import { MessagingError } from '../../errors.js';
import type { PlannedThing } from '../../transport.js';
import { type KafkaClient, KafkaFailure, type KafkaTopic, type NewTopic, kafkaCodes } from './kafka-client.js';
import { type TopicSettings, shapeOf } from './topic-shape.js';

/** A topic that was just made may take a moment until every node knows it, and its partitions have leaders. */
const TRIES_MAX = 100;
const TRY_AGAIN_MS = 100;

export class TopicMaker {
  readonly #known = new Set<string>();

  constructor(
    private readonly client: KafkaClient,
    readonly settings: TopicSettings,
    private readonly clock: Clock,
    private readonly shown: string,
    private readonly makesNothing = false,
  ) {}

  /** Rejects with a `MessagingError` where the cluster refuses one. */
  async ensure(all: readonly string[]): Promise<void> {
    const names = all.filter((name) => !this.#known.has(name));
    if (names.length === 0) return;
    for (let tries = 1; tries <= TRIES_MAX; tries += 1) {
      const found = await this.client.topics(names);
      const missing = names.filter((name) => !found.has(name));
      const isLed = [...found.values()].every(({ partitions }) => partitions.every(({ leader }) => leader >= 0));
      if (missing.length === 0 && isLed) {
        for (const name of names) this.#known.add(name);
        return;
      }
      if (tries === 1 && missing.length > 0) await this.#create(missing.map((name) => shapeOf(name, this.settings)));
      else await new Promise<void>((resolve) => this.clock.after(TRY_AGAIN_MS, resolve));
    }
    throw new KafkaFailure(`the topics ${names.join(', ')} have no leaders`, kafkaCodes.leaderNotAvailable);
  }

  /** Rejects with a `MessagingError` that begins with `otherwise` where the topic is not there; makes nothing. */
  async mustHave(name: string, otherwise: string): Promise<void> {
    if (this.#known.has(name) || (await this.client.topics([name])).has(name)) return;
    throw new MessagingError('broker-refused', `${otherwise}: there is no topic ${name} on the Kafka cluster at ${this.shown}.`);
  }

  /** What was there is asked for again. */
  forget(): void {
    this.#known.clear();
  }

  async plan(names: readonly string[]): Promise<readonly PlannedThing[]> {
    const wanted = [...new Set(names)].map((name) => shapeOf(name, this.settings));
    const found = await this.client.topics(wanted.map(({ name }) => name));
    const configs = await this.client.topicConfigs(wanted.filter(({ name }) => found.has(name)));
    return wanted.map((topic) => {
      const there = found.get(topic.name);
      const thing = `topic ${topic.name}`;
      if (there === undefined) return { thing, state: 'absent', detail: wordsOf(topic) };
      const differences = differencesOf(topic, there, configs.get(topic.name) ?? new Map());
      if (differences.length === 0) return { thing, state: 'present', detail: undefined };
      const wayOut = 'it is used as it is: change it with the tools of Kafka, or ask for what it has';
      return { thing, state: 'different', detail: differences.join(', '), wayOut, isUsable: true };
    });
  }

  async #create(topics: readonly NewTopic[]): Promise<void> {
    if (this.makesNothing) {
      const names = topics.map(({ name, partitions }) => `${name} (${partitions} partition${partitions === 1 ? '' : 's'})`).join(', ');
      throw new MessagingError(
        'unfit-topology',
        `There is no topic ${names} on the Kafka cluster at ${this.shown}, and topology 'check' makes nothing. Make what is missing.`,
      );
    }
    for (const { name, code, reason } of await this.client.createTopics(topics)) {
      if (code === kafkaCodes.none || code === kafkaCodes.topicExists) continue;
      throw new MessagingError(
        'broker-refused',
        `The Kafka cluster at ${this.shown} did not make the topic ${name}: ${reason ?? `Kafka's error ${code}`}. Make it by hand, or correct the settings for topics.`,
      );
    }
  }
}

function wordsOf({ partitions, replicationFactor, configs }: NewTopic): string {
  const settings = Object.entries(configs).map(([name, value]) => `${name}=${value}`);
  if (replicationFactor > 0) settings.unshift(`replication factor ${replicationFactor}`);
  return [`${partitions} partition${partitions === 1 ? '' : 's'}`, ...settings].join(', ');
}

/** Only what was asked for is compared. */
function differencesOf(wanted: NewTopic, { partitions }: KafkaTopic, configs: ReadonlyMap<string, string>): readonly string[] {
  const differences: string[] = [];
  if (partitions.length !== wanted.partitions) differences.push(`it has ${partitions.length} partitions, not ${wanted.partitions}`);
  const replicas = partitions[0]?.replicas ?? 0;
  if (wanted.replicationFactor > 0 && replicas !== wanted.replicationFactor)
    differences.push(`its replication factor is ${replicas}, not ${wanted.replicationFactor}`);
  for (const [name, value] of Object.entries(wanted.configs)) {
    const has = configs.get(name);
    if (has !== undefined && has !== value) differences.push(`its ${name} is ${has}, not ${value}`);
  }
  return differences;
}

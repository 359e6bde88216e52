/** Makes topics that are not there, and waits until they have leaders. Remembers those that are there; keeps nothing else. */
import type { Clock } from '@dovecote/ground';
import { MessagingError } from '../../errors.js';
import type { PlannedThing } from '../../transport.js';
import { type KafkaClient, KafkaFailure, type NewTopic, kafkaCodes } from './kafka-client.js';
import { boxTopic } from './kafka-topics.js';

/** How topics are made that are not there yet. */
export interface TopicSettings {
  readonly partitions: number;
  /** -1: what the cluster thinks right. */
  readonly replicationFactor: number;
  readonly configs: Readonly<Record<string, string>>;
}

/** A topic that was just made may take a moment until every node knows it, and its partitions have leaders. */
const TRIES_MAX = 100;
const TRY_AGAIN_MS = 100;

export class TopicMaker {
  readonly #known = new Set<string>();

  constructor(
    private readonly client: KafkaClient,
    private readonly settings: TopicSettings,
    private readonly clock: Clock,
    private readonly shown: string,
  ) {}

  ensure(names: readonly string[]): Promise<void> {
    return this.make(names.map((name) => ({ name, ...this.settings })));
  }

  ensureBoxes(group: string): Promise<void> {
    return this.make(this.boxes(group));
  }

  /** Rejects with a `MessagingError` where the cluster refuses one. */
  async make(topics: readonly NewTopic[]): Promise<void> {
    const wanted = topics.filter(({ name }) => !this.#known.has(name));
    if (wanted.length === 0) return;
    const names = wanted.map(({ name }) => name);
    for (let tries = 1; tries <= TRIES_MAX; tries += 1) {
      const found = await this.client.topics(names);
      const missing = wanted.filter(({ name }) => !found.has(name));
      const isLed = [...found.values()].every(({ partitions }) => partitions.every(({ leader }) => leader >= 0));
      if (missing.length === 0 && isLed) {
        for (const name of names) this.#known.add(name);
        return;
      }
      if (tries === 1 && missing.length > 0) await this.#create(missing);
      else await new Promise<void>((resolve) => this.clock.after(TRY_AGAIN_MS, resolve));
    }
    throw new KafkaFailure(`the topics ${names.join(', ')} have no leaders`, kafkaCodes.leaderNotAvailable);
  }

  /** What was there is asked for again. */
  forget(): void {
    this.#known.clear();
  }

  async plan(names: readonly string[], group: string): Promise<readonly PlannedThing[]> {
    const wanted = [...names.map((name) => ({ name, ...this.settings })), ...this.boxes(group)];
    const found = await this.client.topics(wanted.map(({ name }) => name));
    return wanted.map(({ name, partitions }) => {
      const topic = found.get(name);
      const thing = `topic ${name}`;
      if (topic === undefined) return { thing, state: 'absent', detail: `made with ${partitions} partitions` };
      if (topic.partitions.length === partitions) return { thing, state: 'present', detail: undefined };
      return {
        thing,
        state: 'different',
        detail: `it has ${topic.partitions.length} partitions, and ${partitions} were asked for; it stays as it is`,
      };
    });
  }

  /** What is in quarantine is looked at one by one, and who redrives dead letters must be alone: one partition each. */
  boxes(group: string): readonly NewTopic[] {
    const { replicationFactor, configs } = this.settings;
    return [
      { ...this.settings, name: boxTopic({ group, box: 'inbox' }) },
      { name: boxTopic({ group, box: 'quarantine' }), partitions: 1, replicationFactor, configs },
      {
        name: boxTopic({ group, box: 'dead-letters' }),
        partitions: 1,
        replicationFactor,
        configs: { ...configs, 'cleanup.policy': 'compact' },
      },
    ];
  }

  async #create(topics: readonly NewTopic[]): Promise<void> {
    for (const { name, code, reason } of await this.client.createTopics(topics)) {
      if (code === kafkaCodes.none || code === kafkaCodes.topicExists) continue;
      throw new MessagingError(
        'broker-refused',
        `The Kafka cluster at ${this.shown} did not make the topic ${name}: ${reason ?? `Kafka's error ${code}`}. Make it by hand, or correct the settings for topics.`,
      );
    }
  }
}

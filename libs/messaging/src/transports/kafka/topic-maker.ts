/** Makes topics that are not there, and waits until they have leaders. Remembers those that are there; keeps nothing else. */
import type { Clock } from '@dovecote/ground';
import { MessagingError } from '../../errors.js';
import type { PlannedThing } from '../../transport.js';
import { type KafkaClient, KafkaFailure, type NewTopic, kafkaCodes } from './kafka-client.js';
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
    const found = await this.client.topics(names);
    return names.map((name) => {
      const { partitions } = shapeOf(name, this.settings);
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

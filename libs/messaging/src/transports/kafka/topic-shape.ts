/** How a topic is made that is not there yet: as the settings say, but for those that the framework has for itself. No I/O. */
import type { NewTopic } from './kafka-client.js';
import { DELAY_PREFIX, OWN_PREFIX } from './kafka-topics.js';

export interface TopicSettings {
  readonly partitions: number;
  /** -1: what the cluster thinks right. */
  readonly replicationFactor: number;
  readonly configs: Readonly<Record<string, string>>;
}

/** So long nobody may be there to carry on what waits before retention takes it. */
const ABSENCE_MS = 30 * 24 * 3_600_000;

export function shapeOf(name: string, settings: TopicSettings): NewTopic {
  const { configs } = settings;
  if (!name.startsWith(OWN_PREFIX)) return { name, ...settings };
  if (name.startsWith(DELAY_PREFIX)) {
    const retentionMs = ABSENCE_MS + 2 * Number(name.slice(DELAY_PREFIX.length));
    return { name, ...settings, partitions: 1, configs: { ...configs, 'cleanup.policy': 'delete', 'retention.ms': String(retentionMs) } };
  }
  if (name.endsWith('.parked')) return { name, ...settings, configs: { ...configs, 'cleanup.policy': 'compact' } };
  // Who looks through dead letters must be alone: one partition. Each is found, and ended, by its id.
  if (name.endsWith('.dead')) return { name, ...settings, partitions: 1, configs: { ...configs, 'cleanup.policy': 'compact' } };
  // What is in quarantine is handled one at a time.
  if (name.endsWith('.quarantine')) return { name, ...settings, partitions: 1 };
  return { name, ...settings };
}

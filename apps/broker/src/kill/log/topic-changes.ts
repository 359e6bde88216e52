/**
 * Topics that are made, changed, written to, cut off and deleted, one change after the other, and what must be there of them: as the last change that was
 * acknowledged left it, or as the one that was under way would have.
 */
import type { SeededRandom } from '@dovecote/ground/testing';
import type { TopicView } from '@dovecote/broker';
import type { EmbeddingProcess } from './embedding-process.js';

/** Whose log is asked. */
export type Asked = Pick<EmbeddingProcess, 'ask' | 'topics'>;

/** A topic and the group that reads it alone. */
interface TopicState {
  /** Empty until it is known. */
  readonly id: string;
  readonly configs: Readonly<Record<string, string>>;
  /** Of each partition. */
  readonly bounds: readonly { readonly earliest: number; readonly latest: number }[];
  readonly committed: number | undefined;
}

/** What to ask, and what the topic is like afterwards; undefined where it is gone. */
interface Change {
  readonly name: string;
  readonly after: TopicState | undefined;
  ask(process: Asked): Promise<unknown>;
}

const names = ['scratch-0', 'scratch-1', 'scratch-2', 'scratch-3'];
const kafkaDefaults = { 'retention.ms': '604800000', 'max.message.bytes': '1048588' };
const partitionsMax = 4;

export class TopicChanges {
  count = 0;
  readonly unlike: string[] = [];
  private readonly states = new Map<string, TopicState>();
  private readonly ids = new Set<string>();
  private underWay: Change | undefined;

  constructor(private readonly random: SeededRandom) {}

  /** Changes something and resolves when that is acknowledged. */
  async next(process: Asked): Promise<void> {
    const change = this.choose();
    this.underWay = change;
    const answer = await change.ask(process);
    this.count++;
    this.underWay = undefined;
    this.adopt(change.name, change.after?.id === '' ? { ...change.after, id: (answer as TopicView).id } : change.after);
  }

  /** Another process tells what is there. */
  async find(process: Asked): Promise<void> {
    for (const name of names) {
      const found = await topicIn(process, name);
      const before = this.states.get(name);
      const allowed = this.underWay?.name === name ? [before, this.underWay.after] : [before];
      if (!allowed.some((state) => this.isLike(found, state)))
        this.unlike.push(`${name} is ${JSON.stringify(found)} and not ${allowed.map((state) => JSON.stringify(state)).join(' or ')}`);
      this.adopt(name, found);
    }
    this.underWay = undefined;
  }

  private adopt(name: string, state: TopicState | undefined): void {
    if (state === undefined) this.states.delete(name);
    else this.states.set(name, state);
    if (state !== undefined) this.ids.add(state.id);
  }

  private isLike(found: TopicState | undefined, state: TopicState | undefined): boolean {
    // A new topic has a name that no topic had before.
    const isNew = state?.id === '' && found !== undefined && !this.ids.has(found.id);
    return JSON.stringify(found) === JSON.stringify(isNew ? { ...state, id: found.id } : state);
  }

  private choose(): Change {
    const { random } = this;
    const name = names[random.below(names.length)]!;
    const state = this.states.get(name);
    if (state === undefined) return this.creation(name);
    switch (random.below(10)) {
      case 0:
        return deletion(name);
      case 1:
        return this.alteration(name, state);
      case 2:
        return this.growth(name, state);
      case 3:
        return this.cutting(name, state);
      case 4:
        return forgetting(name, state);
      case 5:
      case 6:
        return this.commit(name, state);
      default:
        return this.appending(name, state);
    }
  }

  private creation(name: string): Change {
    const partitionCount = 1 + this.random.below(2);
    const configs = { 'retention.ms': String(100_000_000 + this.random.below(1_000_000)) };
    const bounds = Array.from({ length: partitionCount }, () => ({ earliest: 0, latest: 0 }));
    return {
      name,
      after: { id: '', configs: { ...kafkaDefaults, ...configs }, bounds, committed: undefined },
      ask: (process) => process.ask('createTopic', name, { partitionCount, configs }),
    };
  }

  /** Sets one and takes the other away. */
  private alteration(name: string, state: TopicState): Change {
    const value = String(200_000_000 + this.random.below(1_000_000));
    const [set, taken] =
      this.random.below(2) === 0 ? (['retention.ms', 'max.message.bytes'] as const) : (['max.message.bytes', 'retention.ms'] as const);
    const configs = { ...state.configs, [set]: value, [taken]: kafkaDefaults[taken] };
    return {
      name,
      after: { ...state, configs },
      ask: (process) => process.ask('alterConfigs', name, { [set]: value, [taken]: null }),
    };
  }

  private growth(name: string, state: TopicState): Change {
    const { bounds } = state;
    if (bounds.length === partitionsMax) return this.alteration(name, state);
    const after = { ...state, bounds: [...bounds, { earliest: 0, latest: 0 }] };
    return { name, after, ask: (process) => process.ask('addPartitions', name, bounds.length + 1) };
  }

  private appending(name: string, state: TopicState): Change {
    const partition = this.random.below(state.bounds.length);
    const records = Array.from({ length: 1 + this.random.below(20) }, (_, number) => ({ value: `${name} ${number}`, partition }));
    const { earliest, latest } = state.bounds[partition]!;
    return {
      name,
      after: { ...state, bounds: state.bounds.with(partition, { earliest, latest: latest + records.length }) },
      ask: (process) => process.ask('append', name, records),
    };
  }

  private cutting(name: string, state: TopicState): Change {
    const partition = this.random.below(state.bounds.length);
    const { earliest, latest } = state.bounds[partition]!;
    const offset = earliest + this.random.below(latest - earliest + 1);
    return {
      name,
      after: { ...state, bounds: state.bounds.with(partition, { earliest: offset, latest }) },
      ask: (process) => process.ask('deleteRecordsBefore', name, partition, offset),
    };
  }

  private commit(name: string, state: TopicState): Change {
    const offset = this.random.below(1_000_000);
    const place = { topic: name, partition: 0, offset, metadata: String(offset) };
    return { name, after: { ...state, committed: offset }, ask: (process) => process.ask('commitOffsets', groupOf(name), [place]) };
  }
}

function forgetting(name: string, state: TopicState): Change {
  return { name, after: { ...state, committed: undefined }, ask: (process) => process.ask('deleteGroup', groupOf(name)) };
}

/** What its group committed goes with it. */
function deletion(name: string): Change {
  return { name, after: undefined, ask: (process) => process.ask('deleteTopic', name) };
}

const groupOf = (topic: string): string => `of-${topic}`;

async function topicIn(process: Asked, name: string): Promise<TopicState | undefined> {
  const view = (await process.topics()).find((topic) => topic.name === name);
  const [place, ...more] = await process.ask('committedOffsets', groupOf(name));
  // What nobody may have left behind is shown as a topic that nobody asked for.
  const committed = more.length > 0 || (place !== undefined && place.metadata !== String(place.offset)) ? -1 : place?.offset;
  if (view === undefined) return committed === undefined ? undefined : { id: 'deleted', configs: {}, bounds: [], committed };
  const all = await process.ask('configs', name);
  const configs = Object.fromEntries(Object.keys(kafkaDefaults).map((config) => [config, all[config]!]));
  const bounds = await Promise.all(Array.from({ length: view.partitionCount }, (_, partition) => process.ask('bounds', name, partition)));
  return { id: view.id, configs, bounds, committed };
}

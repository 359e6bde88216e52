import { Cursor } from './cursor.js';
import { frameOf, type Spoken } from './kafka-world.js';
import type { Read, Struct, Write } from './schema.js';

/**
 * For tests: requests said to a broker, ours or a real Kafka, and what it answered, as lines that can be held against each other.
 *
 * What differs from broker to broker and from run to run stands in the lines under a name: ids, addresses, the time, and the words of a refusal. Everything else is
 * the answer itself, every field of it, and each answer is written again and must give the same bytes. No I/O: the wire is given.
 */
export interface Wire {
  /** Answers with the next frame, without its size; undefined where the connection was closed. */
  exchange(frame: Buffer): Promise<Buffer | undefined>;
}

/** Where the lines of one conversation come together. */
export interface Conversation {
  /** One more connection. */
  readonly connect: () => Promise<Speaker>;
  /** The time by the broker's clock, in milliseconds. */
  readonly nowMs: number;
  /** A name of this conversation alone, for topics and groups: always of the same length. */
  readonly own: (name: string) => string;
}

type Versions = number | readonly [first: number, last: number];

/** One connection of a conversation. */
export class Speaker {
  private correlationId = 0;

  constructor(
    private readonly wire: Wire,
    private readonly lines: Lines,
  ) {}

  /** Says the same in each of these versions; the answer to the last is returned. Throws where the connection was closed. */
  async say<Q extends Struct, A extends Struct>(
    what: string,
    api: Spoken<Q, A>,
    versions: Versions,
    request: Write<Q> | ((version: number) => Write<Q>),
  ): Promise<Read<A>> {
    const [first, last] = typeof versions === 'number' ? [versions, versions] : versions;
    let answer: Read<A> | undefined;
    for (let version = first; version <= last; version++) {
      answer = await this.ask(api, version, typeof request === 'function' ? request(version) : request);
      this.lines.add(`${what}: ${api.name}`, version, answer === undefined ? 'closed' : this.lines.shown(answer));
      if (answer === undefined) break;
    }
    if (answer === undefined) throw new ClosedError(what);
    return answer;
  }

  /** A line about what was asked without one. */
  note(what: string, version: number, answer: object): void {
    this.lines.add(what, version, this.lines.shown(answer));
  }

  /** The same without a line, for what is compared elsewhere; undefined where the connection was closed. */
  async ask<Q extends Struct, A extends Struct>(api: Spoken<Q, A>, version: number, request: Write<Q>): Promise<Read<A> | undefined> {
    const frame = await this.wire.exchange(frameOf(api, version, request, ++this.correlationId));
    if (frame === undefined) return undefined;
    const cursor = Cursor.over(frame);
    if (cursor.int32() !== this.correlationId) throw new Error(`${api.name}: an answer to another request`);
    if (api.codec.isFlexible(version) && api.key !== 18) cursor.skipTags();
    const answer = api.codec.readResponse(version)(cursor);
    if (cursor.left > 0) throw new Error(`${api.name} ${version}: ${cursor.left} bytes behind the answer`);
    return answer;
  }
}

/** The broker closed the connection: what is said next needs another one. */
export class ClosedError extends Error {
  override readonly name = 'ClosedError';
}

/** Lines such as `a topic that is not there: Metadata 0-9 {…}`, consecutive versions with the same answer on one. */
export class Lines {
  private readonly entries: { readonly what: string; readonly first: number; last: number; readonly answer: string }[] = [];
  private readonly names = new Map<string | number, string>();
  private readonly counts = new Map<string, number>();

  /** `own` is what makes the names of this conversation its own. */
  constructor(private readonly own: string) {}

  get text(): readonly string[] {
    return this.entries.map(({ what, first, last, answer }) => `${what} ${first === last ? first : `${first}-${last}`} ${answer}`);
  }

  add(what: string, version: number, answer: string): void {
    const last = this.entries.at(-1);
    if (last !== undefined && last.what === what && last.answer === answer && last.last === version - 1) last.last = version;
    else this.entries.push({ what, first: version, last: version, answer });
  }

  shown(answer: object): string {
    return JSON.stringify(answer, (key, value: unknown) => sorted(this.plain(key, value))).replaceAll(this.own, '');
  }

  private plain(key: string, value: unknown): unknown {
    if (/Message$/.test(key) || unsaid[key] === JSON.stringify(value)) return undefined;
    if (key === 'configs' && Array.isArray(value) && value.length > 10) return setOnes(value as readonly ConfigShown[]);
    if (isBuffer(value)) return this.bytes(Buffer.from(value.data));
    if (typeof value === 'number') {
      if (value >= 0 && key === 'producerId') return this.named('producer', value);
      if (key === 'sessionId' && value > 100) return this.named('session', value);
      if (key === 'port' && value > 0) return 'port';
      if (value > 1_600_000_000_000 && value < 4_000_000_000_000) return 'time';
      if (/^(total|usable)Bytes$/.test(key)) return value > 0 ? 'bytes' : value;
    }
    if (typeof value === 'string') {
      if (/^[A-Za-z0-9_-]{22}$/.test(value) && /[iI]d$/.test(key) && !/^A+$/.test(value)) return this.named(key, value);
      if (/^(memberId|leader)$/.test(key) && value.length > 36) return this.named('member', value);
      if (/^(host|clientHost|logDir)$/.test(key) && value !== '') return key;
    }
    return value;
  }

  /** Batches and what members say to each other; the place that a batch was given is part of it, its time is not. */
  private bytes(bytes: Buffer): string {
    return bytes.length > 60 && bytes[16] === 2
      ? `batches of ${bytes.length} bytes from ${bytes.readBigInt64BE(0)}`
      : bytes.toString('latin1');
  }

  private named(kind: string, value: string | number): string {
    let name = this.names.get(value);
    if (name === undefined) {
      const count = (this.counts.get(kind) ?? 0) + 1;
      this.counts.set(kind, count);
      this.names.set(value, (name = `${kind} ${count}`));
    }
    return name;
  }
}

/** What is not worth a word while it says nothing. */
const unsaid: Readonly<Record<string, string>> = {
  throttleTimeMs: '0',
  nodeEndpoints: '[]',
  currentLeader: '{"leaderId":-1,"leaderEpoch":-1}',
  divergingEpoch: '{"epoch":-1,"endOffset":-1}',
  snapshotId: '{"endOffset":-1,"epoch":-1}',
  preferredReadReplica: '-1',
  topicConfigErrorCode: '0',
  isSensitive: 'false',
  readOnly: 'false',
};

interface ConfigShown {
  readonly name: string;
  readonly value: string | null;
  readonly configSource: number;
}

/** Of all configs those that have not their default, and how many there are. A real Kafka sets min.insync.replicas itself when it is made. */
function setOnes(configs: readonly ConfigShown[]): string {
  const set = configs.filter(({ name, configSource }) => configSource !== 5 && name !== 'min.insync.replicas');
  return [`${configs.length} configs`, ...set.map(({ name, value, configSource }) => `${name}=${value} (${configSource})`)].join(', ');
}

/** Fields that a version has not stand at the end of what is read; by name they stand where they stand in all versions. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return ordered(value);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What a broker keeps by name or by a random id comes in no order: it is put into one. */
function ordered(values: readonly unknown[]): readonly unknown[] {
  const keyOf = (value: unknown): string | undefined => {
    if (typeof value !== 'object' || value === null) return undefined;
    const { memberId: _memberId, memberAssignment, configType, name, ...rest } = value as Readonly<Record<string, unknown>>;
    if (memberAssignment !== undefined) return JSON.stringify([memberAssignment, rest]);
    return configType === undefined || typeof name !== 'string' ? undefined : name;
  };
  if (values.some((value) => keyOf(value) === undefined)) return values;
  return [...values].sort((a, b) => (keyOf(a)! < keyOf(b)! ? -1 : 1));
}

function isBuffer(value: unknown): value is { readonly data: readonly number[] } {
  return typeof value === 'object' && value !== null && (value as { type?: unknown }).type === 'Buffer';
}

/** Holds one conversation from its beginning; the lines are the answer. A connection that the broker closes ends it. */
export async function converse(
  talk: (conversation: Conversation) => Promise<void>,
  broker: { readonly connect: () => Promise<Wire>; readonly now: () => number; readonly own: string },
): Promise<readonly string[]> {
  const lines = new Lines(broker.own);
  const conversation: Conversation = {
    connect: async () => new Speaker(await broker.connect(), lines),
    get nowMs() {
      return broker.now();
    },
    own: (name) => `${broker.own}${name}`,
  };
  try {
    await talk(conversation);
  } catch (error) {
    if (!(error instanceof ClosedError)) throw error;
  }
  return lines.text;
}

import type { Random } from '@dovecote/ground';
import type { ErrorName } from './error-codes.js';

/** What a client wants of one partition. */
export interface WantedPartition {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  currentLeaderEpoch: number;
  fetchOffset: number;
  lastFetchedEpoch: number;
  partitionMaxBytes: number;
  /** What the client was told last; undefined where it was told nothing. */
  told: { readonly highWatermark: number; readonly lastStableOffset: number; readonly logStartOffset: number } | undefined;
}

/**
 * What one client keeps asking for (KIP-227): it sends the changes only, and is sent only what changed. Partitions that had records go
 * to the end of the line, so that a bound on the answer starves none.
 */
export class FetchSession {
  epoch = 1;
  lastUsedMs = 0;
  readonly wanted = new Map<string, WantedPartition>();

  constructor(
    readonly id: number,
    readonly usesIds: boolean,
    readonly owner: object,
  ) {}

  want(partition: WantedPartition): void {
    const key = keyOf(partition.topic, partition.topicId, partition.partition);
    const known = this.wanted.get(key);
    if (known === undefined) this.wanted.set(key, partition);
    else {
      known.currentLeaderEpoch = partition.currentLeaderEpoch;
      known.fetchOffset = partition.fetchOffset;
      known.lastFetchedEpoch = partition.lastFetchedEpoch;
      known.partitionMaxBytes = partition.partitionMaxBytes;
    }
  }

  forget(topic: string, topicId: string, partition: number): void {
    this.wanted.delete(keyOf(topic, topicId, partition));
  }

  moveToEnd(partition: WantedPartition): void {
    const key = keyOf(partition.topic, partition.topicId, partition.partition);
    this.wanted.delete(key);
    this.wanted.set(key, partition);
  }
}

function keyOf(topic: string, topicId: string, partition: number): string {
  return `${partition}/${topicId}/${topic}`;
}

/** A session that nobody used for this long makes room for a new one. */
const staleAfterMs = 120_000;

/** The sessions of all clients, a bounded number of them: who finds no room fetches without one. Nothing survives a restart, which clients notice and begin anew. */
export class FetchSessions {
  private readonly sessions = new Map<number, FetchSession>();

  constructor(
    private readonly random: Random,
    private readonly max: number,
  ) {}

  /** Undefined where there is no room. The owner's end is the session's. */
  open(usesIds: boolean, owner: object, nowMs: number): FetchSession | undefined {
    if (this.sessions.size >= this.max && !this.evict(nowMs)) return undefined;
    let id = 0;
    while (id === 0 || this.sessions.has(id)) id = this.random.below(0x7fffffff);
    const session = new FetchSession(id, usesIds, owner);
    session.lastUsedMs = nowMs;
    this.sessions.set(id, session);
    return session;
  }

  /** The session, if the client and we agree about it; its epoch is moved on. */
  use(id: number, epoch: number, usesIds: boolean, nowMs: number): FetchSession | ErrorName {
    const session = this.sessions.get(id);
    if (session === undefined) return 'fetchSessionIdNotFound';
    if (session.epoch !== epoch) return 'invalidFetchSessionEpoch';
    if (session.usesIds !== usesIds) return 'fetchSessionTopicId';
    session.epoch = epoch === 0x7fffffff ? 1 : epoch + 1;
    session.lastUsedMs = nowMs;
    // The one used last stands last.
    this.sessions.delete(id);
    this.sessions.set(id, session);
    return session;
  }

  close(id: number): void {
    this.sessions.delete(id);
  }

  /** The connection is gone: a client that comes back over another one begins anew. */
  forget(owner: object): void {
    for (const [id, session] of this.sessions) if (session.owner === owner) this.sessions.delete(id);
  }

  private evict(nowMs: number): boolean {
    const [oldest] = this.sessions.values();
    if (oldest === undefined || nowMs - oldest.lastUsedMs < staleAfterMs) return false;
    this.sessions.delete(oldest.id);
    return true;
  }
}

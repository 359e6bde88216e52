import type { Due } from '../deadlines.js';
import type { ErrorName } from '../error-codes.js';

export interface GroupProtocol {
  readonly name: string;
  readonly metadata: Buffer;
}

export interface JoinReply {
  readonly error: ErrorName;
  readonly memberId: string;
  readonly generation: number;
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly leader: string;
  readonly skipAssignment: boolean;
  /** For the leader only: everybody, with what each said of itself. */
  readonly members: readonly { readonly memberId: string; readonly groupInstanceId: string | null; readonly metadata: Buffer }[];
}

export interface SyncReply {
  readonly error: ErrorName;
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly assignment: Buffer;
}

export const nothing = Buffer.alloc(0);

/** Where members in the broker's own process come from: they end with it. */
export const inProcessHost = '/in-process';

export function refusedJoin(error: ErrorName, memberId: string): JoinReply {
  return { error, memberId, generation: -1, protocolType: null, protocolName: null, leader: '', skipAssignment: false, members: [] };
}

export function refusedSync(error: ErrorName): SyncReply {
  return { error, protocolType: null, protocolName: null, assignment: nothing };
}

/**
 * One member of a group, and who waits for an answer in its name. What of it survives a crash is written by the coordinator: its
 * timeouts, what it said of itself, what it was assigned.
 */
export class Member implements Due {
  dueAt = Infinity;
  duePlace = -1;
  extendedTo = 0;
  assignment: Buffer = nothing;
  /** Joined for the first time and not yet in a generation: it may wait longer than its session. */
  isNew = false;
  awaitingJoin: ((reply: JoinReply) => void) | undefined;
  awaitingSync: ((reply: SyncReply) => void) | undefined;
  /** Tells a member in this process that the group shares out anew; others hear of it with their next heartbeat. */
  mustRejoin: (() => void) | undefined;

  constructor(
    public id: string,
    readonly instanceId: string | null,
    public clientId: string,
    public clientHost: string,
    public sessionTimeoutMs: number,
    public rebalanceTimeoutMs: number,
    public protocols: readonly GroupProtocol[],
    private readonly expired: (member: Member) => void,
  ) {}

  /** Its session is over, unless somebody answers for it. */
  due(): void {
    this.expired(this);
  }

  metadata(protocol: string | null): Buffer {
    return this.protocols.find(({ name }) => name === protocol)?.metadata ?? nothing;
  }

  /** Whether it says the same of itself as before: then nothing must be decided anew. */
  matches(protocols: readonly GroupProtocol[]): boolean {
    const own = this.protocols;
    return (
      own.length === protocols.length &&
      own.every(({ name, metadata }, i) => name === protocols[i]!.name && metadata.equals(protocols[i]!.metadata))
    );
  }

  answerJoin(reply: JoinReply): void {
    const { awaitingJoin } = this;
    this.awaitingJoin = undefined;
    awaitingJoin?.(reply);
  }

  answerSync(reply: SyncReply): void {
    const { awaitingSync } = this;
    this.awaitingSync = undefined;
    awaitingSync?.(reply);
  }
}

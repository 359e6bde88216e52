import type { Deadlines, Due } from '../deadlines.js';
import type { ErrorName } from '../error-codes.js';
import { type GroupProtocol, type JoinReply, Member, nothing, refusedJoin, refusedSync, type SyncReply } from './member.js';
import type { CommittedOffset } from './offsets-topic.js';

export type GroupState = 'Empty' | 'PreparingRebalance' | 'CompletingRebalance' | 'Stable' | 'Dead';

/** What a group needs of the world around it. */
export interface GroupWorld {
  readonly deadlines: Deadlines;
  readonly initialRebalanceDelayMs: number;
  readonly groupMembersMax: number;
  /** A name that no member ever had. */
  newMemberId(prefix: string): string;
  /** Milliseconds since 1970, for what is kept. */
  now(): number;
  /** Writes the group down; `done` says whether it is durable. */
  store(group: Group, done: (error: ErrorName | undefined) => void): void;
}

export interface JoinRequest {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly protocolType: string;
  readonly protocols: readonly GroupProtocol[];
  /** From version 4 a member must come back with the name it was given before it counts (KIP-394). */
  readonly mustComeBack: boolean;
  /** From version 9 a returning leader can be told that there is nothing to assign (KIP-814). */
  readonly canSkipAssignment: boolean;
  /** Of a member in this process: called when it must join again. Must not call back. */
  readonly mustRejoin?: () => void;
}

export interface SyncRequest {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly generation: number;
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly assignments: readonly { readonly memberId: string; readonly assignment: Buffer }[];
}

/** A member is given this long to be let in, whatever its session says: it is waiting for us. */
const newMemberTimeoutMs = 300_000;

/** One name that was handed out and whose owner has not come back with it. */
interface Pending extends Due {
  readonly id: string;
}

/**
 * One consumer group of the classic protocol: who belongs to it, who waits for whom.
 *
 *   Empty → PreparingRebalance → CompletingRebalance → Stable          every member has joined; the leader has assigned
 *     ↑______________|   ↑_______________|________________|            everybody left; somebody came, went or changed
 *
 * What survives a crash is what `store` wrote: members, generation and assignments of the last stable state, and that it became
 * empty; the offsets are kept beside it. Who waits is gone with its connection and asks again. Called by the coordinator only.
 */
export class Group {
  state: GroupState = 'Empty';
  /** Since when; milliseconds since 1970. */
  stateSince: number;
  generation = 0;
  protocolType: string | null = null;
  protocolName: string | null = null;
  leaderId: string | null = null;
  readonly members = new Map<string, Member>();
  readonly offsets = new Map<string, Map<number, CommittedOffset>>();
  private readonly staticMembers = new Map<string, string>();
  private readonly pending = new Map<string, Pending>();
  private readonly pendingSync = new Set<string>();
  private readonly rebalance: Due = { dueAt: Infinity, duePlace: -1, due: () => this.rebalanceDue() };
  private readonly sync: Due = { dueAt: Infinity, duePlace: -1, due: () => this.syncDue() };
  /** While the first members of a group gather: how much longer that may be put off, and whether somebody came since it was. */
  private initialLeftMs = -1;
  private cameWhileGathering = false;

  constructor(
    readonly id: string,
    private readonly world: GroupWorld,
  ) {
    this.stateSince = world.now();
  }

  get hasOffsets(): boolean {
    return this.offsets.size > 0;
  }

  join(request: JoinRequest, reply: (reply: JoinReply) => void): void {
    const { memberId } = request;
    if (!this.hasRoomFor(memberId)) {
      this.forget(memberId);
      reply(refusedJoin('groupMaxSizeReached', ''));
    } else if (this.state === 'Dead') reply(refusedJoin('coordinatorNotAvailable', memberId));
    else if (!this.supports(request)) reply(refusedJoin('inconsistentGroupProtocol', memberId));
    else if (memberId === '') this.joinNew(request, reply);
    else this.joinKnown(request, reply);
    if (this.state === 'PreparingRebalance') this.tryCompleteJoin();
  }

  syncMember(request: SyncRequest, reply: (reply: SyncReply) => void): void {
    const refused = this.state === 'Dead' ? 'coordinatorNotAvailable' : this.checkMember(request.memberId, request.groupInstanceId);
    if (refused !== undefined) reply(refusedSync(refused));
    else if (request.generation !== this.generation) reply(refusedSync('illegalGeneration'));
    else if (request.protocolType !== null && request.protocolType !== this.protocolType) reply(refusedSync('inconsistentGroupProtocol'));
    else if (request.protocolName !== null && request.protocolName !== this.protocolName) reply(refusedSync('inconsistentGroupProtocol'));
    else if (this.state === 'Empty') reply(refusedSync('unknownMemberId'));
    else if (this.state === 'PreparingRebalance') reply(refusedSync('rebalanceInProgress'));
    else if (this.state === 'Stable') {
      const member = this.members.get(request.memberId)!;
      reply(this.assignmentOf(member));
      this.renew(member);
    } else this.collectSync(request, reply);
  }

  heartbeat(memberId: string, groupInstanceId: string | null, generation: number): ErrorName {
    if (this.state === 'Dead') return 'coordinatorNotAvailable';
    const refused = this.checkMember(memberId, groupInstanceId);
    if (refused !== undefined) return refused;
    if (generation !== this.generation) return 'illegalGeneration';
    if (this.state === 'Empty') return 'unknownMemberId';
    this.renew(this.members.get(memberId)!);
    return this.state === 'PreparingRebalance' ? 'rebalanceInProgress' : 'none';
  }

  leave(memberId: string, groupInstanceId: string | null): ErrorName {
    if (this.state === 'Dead') return 'coordinatorNotAvailable';
    if (memberId === '' && groupInstanceId !== null) {
      const known = this.staticMembers.get(groupInstanceId);
      if (known === undefined) return 'unknownMemberId';
      this.remove(this.members.get(known)!);
      return 'none';
    }
    if (this.pending.has(memberId)) {
      this.forget(memberId);
      return 'none';
    }
    const refused = this.checkMember(memberId, groupInstanceId);
    if (refused !== undefined) return refused;
    this.remove(this.members.get(memberId)!);
    return 'none';
  }

  /** Whether offsets may be committed in this name; a member that commits is alive. */
  checkCommit(memberId: string, groupInstanceId: string | null, generation: number): ErrorName | undefined {
    if (this.state === 'Dead') return 'coordinatorNotAvailable';
    if (generation < 0 && this.state === 'Empty') return undefined;
    if (generation >= 0 || memberId !== '' || groupInstanceId !== null) {
      const refused = this.checkMember(memberId, groupInstanceId);
      if (refused !== undefined) return refused;
      if (generation !== this.generation) return 'illegalGeneration';
    } else if (this.state !== 'Empty') return 'unknownMemberId';
    if (this.state === 'CompletingRebalance') return 'rebalanceInProgress';
    const member = this.members.get(memberId);
    if (member !== undefined) this.renew(member);
    return undefined;
  }

  /** Puts back what was written down before the broker ended. Everybody has a whole session to show up. */
  restore(members: readonly { readonly member: Member; readonly assignment: Buffer }[]): void {
    for (const { member, assignment } of members) {
      member.assignment = assignment;
      this.members.set(member.id, member);
      if (member.instanceId !== null) this.staticMembers.set(member.instanceId, member.id);
      this.renew(member);
    }
    this.state = this.members.size > 0 ? 'Stable' : 'Empty';
  }

  newMember(id: string, request: Omit<JoinRequest, 'memberId'>): Member {
    return new Member(
      id,
      request.groupInstanceId,
      request.clientId,
      request.clientHost,
      request.sessionTimeoutMs,
      request.rebalanceTimeoutMs,
      request.protocols,
      (member) => this.expire(member),
    );
  }

  /** It is deleted, or the broker ends: whoever waits is told to look elsewhere, and nothing is scheduled any more. */
  die(): void {
    const { deadlines } = this.world;
    this.state = 'Dead';
    deadlines.cancel(this.rebalance);
    deadlines.cancel(this.sync);
    for (const pending of this.pending.values()) deadlines.cancel(pending);
    for (const member of this.members.values()) {
      deadlines.cancel(member);
      member.answerJoin(refusedJoin('notCoordinator', member.id));
      member.answerSync(refusedSync('notCoordinator'));
    }
  }

  // Joining.

  /** Names that were handed out count too: they are kept. */
  private hasRoomFor(memberId: string): boolean {
    const { groupMembersMax } = this.world;
    const member = this.members.get(memberId);
    if (this.pending.has(memberId)) return this.members.size < groupMembersMax;
    if (member === undefined) return this.members.size + this.pending.size < groupMembersMax;
    return this.state !== 'PreparingRebalance' || member.awaitingJoin !== undefined || this.awaitingJoinCount < groupMembersMax;
  }

  private get awaitingJoinCount(): number {
    let count = 0;
    for (const member of this.members.values()) if (member.awaitingJoin !== undefined) count++;
    return count;
  }

  private supports({ protocolType, protocols }: JoinRequest): boolean {
    if (this.members.size === 0) return protocolType !== '' && protocols.length > 0;
    return protocolType === this.protocolType && protocols.some(({ name }) => this.isCommon(name));
  }

  private isCommon(name: string): boolean {
    for (const member of this.members.values()) if (!member.protocols.some((protocol) => protocol.name === name)) return false;
    return true;
  }

  private joinNew(request: JoinRequest, reply: (reply: JoinReply) => void): void {
    const { groupInstanceId, clientId, mustComeBack } = request;
    const newId = this.world.newMemberId(groupInstanceId ?? clientId);
    const known = groupInstanceId === null ? undefined : this.staticMembers.get(groupInstanceId);
    if (known !== undefined) this.replaceStatic(this.members.get(known)!, newId, request, reply);
    else if (groupInstanceId === null && mustComeBack) {
      const pending: Pending = { id: newId, dueAt: Infinity, duePlace: -1, due: () => this.forget(newId) };
      this.pending.set(newId, pending);
      this.world.deadlines.set(pending, request.sessionTimeoutMs);
      reply(refusedJoin('memberIdRequired', newId));
    } else this.add(newId, request, reply);
  }

  private joinKnown(request: JoinRequest, reply: (reply: JoinReply) => void): void {
    const { memberId, groupInstanceId, protocols } = request;
    if (this.pending.has(memberId)) {
      if (groupInstanceId === null) this.add(memberId, request, reply);
      else reply(refusedJoin('unknownMemberId', memberId));
      return;
    }
    const refused = this.checkMember(memberId, groupInstanceId);
    if (refused !== undefined) {
      reply(refusedJoin(refused, memberId));
      return;
    }
    const member = this.members.get(memberId)!;
    const isSame = member.matches(protocols);
    if (this.state === 'Empty') reply(refusedJoin('unknownMemberId', memberId));
    else if (this.state === 'CompletingRebalance' && isSame) reply(this.generationFor(member, this.leaderId === memberId));
    else if (this.state === 'Stable' && isSame && this.leaderId !== memberId) reply(this.generationFor(member, false));
    else this.update(member, request, reply);
  }

  private add(id: string, request: JoinRequest, reply: (reply: JoinReply) => void): void {
    this.forgetPending(id);
    const member = this.newMember(id, request);
    if (this.members.size === 0) this.protocolType = request.protocolType;
    this.members.set(id, member);
    if (member.instanceId !== null) this.staticMembers.set(member.instanceId, id);
    this.leaderId ??= id;
    member.isNew = true;
    member.mustRejoin = request.mustRejoin;
    member.awaitingJoin = reply;
    member.extendedTo = 0;
    this.world.deadlines.set(member, newMemberTimeoutMs);
    if (this.state === 'PreparingRebalance' && this.initialLeftMs >= 0) this.cameWhileGathering = true;
    this.maybePrepare();
  }

  private update(member: Member, request: JoinRequest, reply: (reply: JoinReply) => void): void {
    // The one that waits in the same name has been given up by its client.
    member.answerJoin(refusedJoin('unknownMemberId', member.id));
    member.protocols = request.protocols;
    member.sessionTimeoutMs = request.sessionTimeoutMs;
    member.rebalanceTimeoutMs = request.rebalanceTimeoutMs;
    member.clientId = request.clientId;
    member.clientHost = request.clientHost;
    member.awaitingJoin = reply;
    this.maybePrepare();
  }

  /** A static member is back under a new name. Whoever still uses the old one is fenced off. */
  private replaceStatic(old: Member, newId: string, request: JoinRequest, reply: (reply: JoinReply) => void): void {
    const leaderBefore = this.leaderId;
    old.answerJoin(refusedJoin('fencedInstanceId', old.id));
    old.answerSync(refusedSync('fencedInstanceId'));
    const choiceBefore = this.protocolName;
    this.members.delete(old.id);
    this.pendingSync.delete(old.id);
    old.id = newId;
    this.members.set(newId, old);
    this.staticMembers.set(old.instanceId!, newId);
    if (leaderBefore !== null && !this.members.has(leaderBefore)) this.leaderId = newId;
    old.protocols = request.protocols;
    old.sessionTimeoutMs = request.sessionTimeoutMs;
    old.rebalanceTimeoutMs = request.rebalanceTimeoutMs;
    old.clientId = request.clientId;
    old.clientHost = request.clientHost;
    old.mustRejoin = request.mustRejoin;
    this.renew(old);
    if (this.state !== 'Stable' || this.choose() !== choiceBefore) {
      old.awaitingJoin = reply;
      this.maybePrepare();
      return;
    }
    // Nobody else needs to hear of it: the assignment goes on under the new name, once that is written down.
    const { canSkipAssignment } = request;
    const isLeader = this.leaderId === newId;
    this.world.store(this, (error) => {
      if (error !== undefined) reply(refusedJoin(error, newId));
      else if (this.members.get(newId) !== old || this.state !== 'Stable') reply(refusedJoin('rebalanceInProgress', newId));
      else if (canSkipAssignment) reply({ ...this.generationFor(old, isLeader), skipAssignment: isLeader });
      else reply({ ...this.generationFor(old, false), leader: leaderBefore ?? '' });
    });
  }

  private generationFor(member: Member, withMembers: boolean): JoinReply {
    return {
      error: 'none',
      memberId: member.id,
      generation: this.generation,
      protocolType: this.protocolType,
      protocolName: this.protocolName,
      leader: this.leaderId ?? '',
      skipAssignment: false,
      members: withMembers ? [...this.members.values()].map((other) => this.describe(other)) : [],
    };
  }

  private describe(member: Member): JoinReply['members'][number] {
    return { memberId: member.id, groupInstanceId: member.instanceId, metadata: member.metadata(this.protocolName) };
  }

  // Rebalancing.

  private enter(state: GroupState): void {
    this.state = state;
    this.stateSince = this.world.now();
  }

  private maybePrepare(): void {
    if (this.state === 'Stable' || this.state === 'CompletingRebalance' || this.state === 'Empty') this.prepare();
  }

  private prepare(): void {
    const { deadlines } = this.world;
    const initialRebalanceDelayMs = this.isAllInProcess ? 0 : this.world.initialRebalanceDelayMs;
    if (this.state === 'CompletingRebalance') this.failSyncs('rebalanceInProgress');
    this.stopSync();
    const wasEmpty = this.state === 'Empty';
    this.enter('PreparingRebalance');
    for (const member of this.members.values()) if (member.awaitingJoin === undefined) member.mustRejoin?.();
    this.initialLeftMs = -1;
    if (wasEmpty && initialRebalanceDelayMs > 0) {
      this.cameWhileGathering = false;
      this.initialLeftMs = Math.max(this.rebalanceTimeoutMs - initialRebalanceDelayMs, 0);
      deadlines.set(this.rebalance, initialRebalanceDelayMs);
      return;
    }
    deadlines.set(this.rebalance, this.rebalanceTimeoutMs);
    this.tryCompleteJoin();
  }

  /** Others of the same process are not far away: nothing is gained by waiting for them. */
  private get isAllInProcess(): boolean {
    for (const { mustRejoin } of this.members.values()) if (mustRejoin === undefined) return false;
    return true;
  }

  private get rebalanceTimeoutMs(): number {
    let longest = 0;
    for (const member of this.members.values()) longest = Math.max(longest, member.rebalanceTimeoutMs);
    return longest;
  }

  /** Everybody is here: no need to wait longer. The first members of a group are waited for all the same. */
  private tryCompleteJoin(): void {
    if (this.state !== 'PreparingRebalance' || this.initialLeftMs >= 0 || this.pending.size > 0) return;
    for (const member of this.members.values()) if (member.awaitingJoin === undefined) return;
    this.completeJoin();
  }

  private rebalanceDue(): void {
    if (this.state !== 'PreparingRebalance') return;
    if (this.initialLeftMs > 0 && this.cameWhileGathering) {
      this.cameWhileGathering = false;
      const delayMs = Math.min(this.world.initialRebalanceDelayMs, this.initialLeftMs);
      this.initialLeftMs = Math.max(this.initialLeftMs - delayMs, 0);
      this.world.deadlines.set(this.rebalance, delayMs);
      return;
    }
    this.completeJoin();
  }

  private completeJoin(): void {
    const { deadlines } = this.world;
    deadlines.cancel(this.rebalance);
    this.initialLeftMs = -1;
    for (const member of [...this.members.values()]) if (member.awaitingJoin === undefined && member.instanceId === null) this.drop(member);
    if (this.members.size > 0 && !this.electLeader()) {
      // Only static members are left and none came back: they have the rest of their sessions.
      deadlines.set(this.rebalance, this.rebalanceTimeoutMs);
      return;
    }
    this.generation++;
    if (this.members.size === 0) {
      this.protocolName = null;
      this.leaderId = null;
      this.enter('Empty');
      this.world.store(this, () => undefined);
      return;
    }
    this.protocolName = this.choose();
    this.enter('CompletingRebalance');
    for (const member of this.members.values()) {
      this.renew(member);
      member.isNew = false;
      this.pendingSync.add(member.id);
      member.answerJoin(this.generationFor(member, member.id === this.leaderId));
    }
    deadlines.set(this.sync, this.rebalanceTimeoutMs);
  }

  /** The leader stays who it was if it is here; else the first that is. False: nobody is. */
  private electLeader(): boolean {
    const leader = this.leaderId === null ? undefined : this.members.get(this.leaderId);
    if (leader?.awaitingJoin !== undefined) return true;
    for (const member of this.members.values()) {
      if (member.awaitingJoin === undefined) continue;
      this.leaderId = member.id;
      return true;
    }
    return false;
  }

  /** Each member votes for the first of its protocols that all know. */
  private choose(): string | null {
    const votes = new Map<string, number>();
    for (const member of this.members.values()) {
      const vote = member.protocols.find(({ name }) => this.isCommon(name));
      if (vote !== undefined) votes.set(vote.name, (votes.get(vote.name) ?? 0) + 1);
    }
    let chosen: string | null = null;
    let most = 0;
    for (const [name, count] of votes) {
      if (count <= most) continue;
      most = count;
      chosen = name;
    }
    return chosen;
  }

  // Assignments.

  private collectSync(request: SyncRequest, reply: (reply: SyncReply) => void): void {
    const member = this.members.get(request.memberId)!;
    member.answerSync(refusedSync('unknownMemberId'));
    member.awaitingSync = reply;
    this.pendingSync.delete(member.id);
    if (this.pendingSync.size === 0) this.world.deadlines.cancel(this.sync);
    if (member.id !== this.leaderId) return;
    const given = new Map(request.assignments.map(({ memberId, assignment }) => [memberId, Buffer.from(assignment)]));
    const { generation } = this;
    for (const other of this.members.values()) other.assignment = given.get(other.id) ?? nothing;
    this.world.store(this, (error) => {
      if (this.state !== 'CompletingRebalance' || this.generation !== generation) return;
      if (error !== undefined) {
        this.failSyncs(error);
        this.maybePrepare();
        return;
      }
      this.enter('Stable');
      for (const other of this.members.values()) {
        if (other.awaitingSync === undefined) continue;
        other.answerSync(this.assignmentOf(other));
        this.renew(other);
      }
    });
  }

  private assignmentOf(member: Member): SyncReply {
    return { error: 'none', protocolType: this.protocolType, protocolName: this.protocolName, assignment: member.assignment };
  }

  private failSyncs(error: ErrorName): void {
    for (const member of this.members.values()) {
      member.assignment = nothing;
      member.answerSync(refusedSync(error));
      this.renew(member);
    }
  }

  private stopSync(): void {
    this.world.deadlines.cancel(this.sync);
    this.pendingSync.clear();
  }

  /** Those that were let in and never asked for their assignment are out. */
  private syncDue(): void {
    if (this.state !== 'CompletingRebalance' || this.pendingSync.size === 0) return;
    for (const id of this.pendingSync) {
      const member = this.members.get(id);
      if (member !== undefined) this.drop(member);
    }
    this.prepare();
  }

  // Members come and go.

  private checkMember(memberId: string, groupInstanceId: string | null): ErrorName | undefined {
    if (groupInstanceId !== null) {
      const known = this.staticMembers.get(groupInstanceId);
      if (known === undefined) return 'unknownMemberId';
      return known === memberId ? undefined : 'fencedInstanceId';
    }
    return this.members.has(memberId) ? undefined : 'unknownMemberId';
  }

  private renew(member: Member): void {
    this.world.deadlines.extend(member, member.sessionTimeoutMs);
  }

  private expire(member: Member): void {
    if (this.members.get(member.id) !== member) return;
    const isWaitingForUs = !member.isNew && (member.awaitingJoin !== undefined || member.awaitingSync !== undefined);
    if (isWaitingForUs) this.renew(member);
    else this.remove(member);
  }

  private remove(member: Member): void {
    this.drop(member);
    if (this.state === 'Stable' || this.state === 'CompletingRebalance') this.prepare();
    else this.tryCompleteJoin();
  }

  private drop(member: Member): void {
    this.world.deadlines.cancel(member);
    this.members.delete(member.id);
    this.pendingSync.delete(member.id);
    if (member.instanceId !== null && this.staticMembers.get(member.instanceId) === member.id) this.staticMembers.delete(member.instanceId);
    if (this.leaderId === member.id) this.leaderId = this.members.keys().next().value ?? null;
    member.answerJoin(refusedJoin('unknownMemberId', member.id));
    member.answerSync(refusedSync('unknownMemberId'));
  }

  private forgetPending(id: string): void {
    const pending = this.pending.get(id);
    if (pending === undefined) return;
    this.world.deadlines.cancel(pending);
    this.pending.delete(id);
  }

  private forget(id: string): void {
    this.forgetPending(id);
    this.tryCompleteJoin();
  }
}

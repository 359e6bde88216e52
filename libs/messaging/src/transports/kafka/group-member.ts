/**
 * Membership in a Kafka consumer group, from joining to leaving: classic protocol, cooperative assignment. Keeps nothing across restarts; what the group
 * has read is in its committed offsets.
 *
 *   joining ─▶ given partitions ─▶ heartbeats ⇄ joining again when somebody comes or goes ─▶ leaving
 *
 * While others join, the partitions that stay are read on. One that goes to somebody else is given up only when the handlers on it have ended
 * (`revoked`), or their time is over. Where the coordinator has given it away already, because this process stood still for longer than the
 * session, there is nothing to wait for (`lost`).
 */
import type { Clock, Timer } from '@dovecote/ground';
import type { Backoff } from '../../backoff.js';
import { MessagingError, reasonOf } from '../../errors.js';
import type { Log } from '../../log.js';
import {
  ASSIGNMENT_PROTOCOL,
  assignPartitions,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
  nameOf,
} from './group-assignment.js';
import {
  type CommittedOffset,
  type JoinAnswer,
  type JoinRequest,
  type KafkaClient,
  type KafkaGroupCalls,
  KafkaFailure,
  type TopicPartition,
  kafkaCodes,
} from './kafka-client.js';

export interface GroupMemberSettings {
  readonly group: string;
  /** Without a word for so long, a member is dead to the group. */
  readonly sessionTimeoutMs: number;
  /** How often it says one; several times in a session, so that one lost heartbeat does not end it. */
  readonly heartbeatEveryMs: number;
  /** How long handlers on a partition that goes to somebody else may take. */
  readonly rebalanceTimeoutMs: number;
  readonly clock: Clock;
  readonly backoff: Backoff;
  readonly log: Log;
}

export interface GroupEvents {
  /** These are this member's from now on. Where it rejects, joining is tried again. */
  assigned(partitions: readonly TopicPartition[]): Promise<void>;
  /** These go to somebody else, who waits: resolves when nothing here works on them any more, and what is done is committed. */
  revoked(partitions: readonly TopicPartition[]): Promise<void>;
  /** Somebody else may have these already. */
  lost(partitions: readonly TopicPartition[]): void;
  /** Trying again would not help: the member has left for good. */
  failed(error: MessagingError): void;
}

const NO_GENERATION = -1;
const FAILURES_UNSAID_MAX = 5;
/** How long the end waits for what the coordinator may never answer. */
export const FAREWELL_MS_MAX = 1_000;

export class GroupMember {
  readonly #calls: KafkaGroupCalls;
  #memberId = '';
  #generation = NO_GENERATION;
  #owned: readonly TopicPartition[] = [];
  #topics: readonly string[] = [];
  #isStopping = false;
  #wantsToJoin = false;
  /** When what the coordinator answered last was said to it: from then on it counts a silence. */
  #heardAtMs = Number.NEGATIVE_INFINITY;
  /** A member that waits for the others to join is alive, however long it takes. */
  #isJoining = false;
  #wake: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #leaving: Promise<void> | undefined;

  constructor(
    private readonly client: KafkaClient,
    private readonly settings: GroupMemberSettings,
    private readonly events: GroupEvents,
  ) {
    this.#calls = client.group(settings.group);
  }

  /** Resolves when it has joined and has its partitions, be it none. Rejects with a `MessagingError` where trying again would not help. */
  async join(topics: readonly string[]): Promise<void> {
    this.#topics = topics;
    for (let failures = 1; ; failures += 1) {
      try {
        await this.#joinOnce();
        this.#running = this.#run();
        return;
      } catch (error) {
        if (this.#isStopping) throw new MessagingError('closed', 'The service was shut down before it had joined its group.');
        await this.#recover(error, failures);
      }
    }
  }

  /** Other topics from now on; the group shares them out anew. */
  subscribe(topics: readonly string[]): void {
    this.#topics = topics;
    this.#wantsToJoin = true;
    this.#wake?.();
  }

  /** Whether the group still counts on this member: not after a silence longer than its session. */
  get isAlive(): boolean {
    return this.#isJoining || this.settings.clock.monotonicMs() - this.#heardAtMs < this.settings.sessionTimeoutMs;
  }

  /** Whether the coordinator counts this member in the generation that it knows: nobody else has its partitions then. */
  async isCounted(): Promise<boolean> {
    const code = await this.#calls.heartbeat({ memberId: this.#memberId, generation: this.#generation });
    return code === kafkaCodes.none || code === kafkaCodes.rebalanceInProgress;
  }

  /** Resolves to whether they were taken. They are not while the group shares out its partitions: the same or later ones are to be committed again. */
  async commit(offsets: readonly CommittedOffset[]): Promise<boolean> {
    if (offsets.length === 0) return true;
    const { group } = this.settings;
    const code = await this.#calls.commit({ memberId: this.#memberId, generation: this.#generation }, offsets);
    if (code === kafkaCodes.none) return true;
    if (code === kafkaCodes.rebalanceInProgress) this.#joinSoon();
    else if (isCoordinatorGone(code)) this.#calls.forgetCoordinator();
    else if (code === kafkaCodes.unknownMember || code === kafkaCodes.illegalGeneration) this.#joinSoon();
    else throw new KafkaFailure(`the group ${group} did not take offsets (${code})`, code);
    return false;
  }

  /** What of these the group has committed. */
  committed(partitions: readonly TopicPartition[]): Promise<readonly CommittedOffset[]> {
    return this.#calls.committed(partitions);
  }

  /** Gives everything up in order, then leaves, so that the others need not wait for the session to end. Called again, it is the same farewell. */
  leave(): Promise<void> {
    this.#leaving ??= this.#leave();
    return this.#leaving;
  }

  async #leave(): Promise<void> {
    this.#isStopping = true;
    this.#wake?.();
    // A sharing out that is under way gives the group another generation, under which alone it takes what is done: it ends first.
    if (this.#owned.length > 0) await this.#notForEver(this.#running ?? Promise.resolve());
    const owned = this.#owned;
    if (owned.length > 0) await this.#whileAlive(this.events.revoked(owned));
    this.#owned = [];
    if (this.#memberId === '') return;
    const left = this.#calls.leave({ memberId: this.#memberId, generation: this.#generation }).catch(() => undefined);
    // A join that waits for others is answered then: we are no member any more.
    await this.#notForEver(left.then(() => this.#running));
  }

  /** Goes without a word, as a process that ends: the group notices when the session is over. */
  abandon(): void {
    this.#isStopping = true;
    this.#wake?.();
  }

  /** Kafka reads nothing more of a connection, and answers nothing, while who shares out the partitions keeps the others waiting. */
  async #notForEver(farewell: Promise<void>): Promise<void> {
    let timer: Timer | undefined;
    const isOver = new Promise<void>((resolve) => (timer = this.settings.clock.after(FAREWELL_MS_MAX, resolve)));
    await Promise.race([farewell, isOver]);
    timer?.cancel();
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#isStopping;) {
      try {
        if (this.#wantsToJoin) await this.#joinOnce();
        await this.#sleep(this.settings.heartbeatEveryMs);
        if (this.#isStopping) return;
        if (!this.#wantsToJoin) await this.#heartbeat();
        failures = 0;
      } catch (error) {
        failures += 1;
        if (this.#isStopping) return;
        try {
          await this.#recover(error, failures);
        } catch (fatal) {
          this.#giveUpAll();
          this.events.failed(fatal as MessagingError);
          return;
        }
      }
    }
  }

  async #joinOnce(): Promise<void> {
    const { sessionTimeoutMs, rebalanceTimeoutMs } = this.settings;
    for (;;) {
      this.#wantsToJoin = false;
      const metadata = encodeSubscription({ topics: this.#topics, owned: this.#owned, generation: this.#generation });
      const answer = await this.#askToJoin({ sessionTimeoutMs, rebalanceTimeoutMs, protocol: ASSIGNMENT_PROTOCOL, metadata });
      this.#check(answer.code);
      this.#memberId = answer.memberId;
      const joinedAtMs = this.#heard();
      const assignments = answer.leader === answer.memberId ? await this.#share(answer) : [];
      const { memberId, generation } = answer;
      const synced = await this.#calls.sync({ memberId, generation, protocol: ASSIGNMENT_PROTOCOL, assignments });
      this.#check(synced.code);
      this.#generation = generation;
      this.#heardAtMs = joinedAtMs;
      if (this.#isStopping) return;
      if (await this.#take(decodeAssignment(synced.assignment))) return;
    }
  }

  async #askToJoin(request: Omit<JoinRequest, 'memberId'>): Promise<JoinAnswer> {
    this.#isJoining = true;
    try {
      const answer = await this.#calls.join({ ...request, memberId: this.#memberId });
      if (answer.code !== kafkaCodes.memberIdRequired) return answer;
      this.#memberId = answer.memberId;
      return await this.#calls.join({ ...request, memberId: this.#memberId });
    } finally {
      this.#isJoining = false;
    }
  }

  /** Gives up what is not ours any more, then takes what is new. Answers whether the group is settled: what was given up is for others, once we have joined without it. */
  async #take(assignment: readonly TopicPartition[]): Promise<boolean> {
    const now = new Set(assignment.map(nameOf));
    const before = new Set(this.#owned.map(nameOf));
    const gone = this.#owned.filter((part) => !now.has(nameOf(part)));
    const come = assignment.filter((part) => !before.has(nameOf(part)));
    if (gone.length > 0) await this.#whileAlive(this.events.revoked(gone));
    this.#owned = this.#owned.filter((part) => now.has(nameOf(part)));
    if (come.length > 0) {
      await this.#whileAlive(this.events.assigned(come));
      this.#owned = assignment;
    }
    return gone.length === 0;
  }

  /** The group must not take us for dead while handlers come to their end, or while what is parked is read. */
  async #whileAlive(work: Promise<void>): Promise<void> {
    const { clock, heartbeatEveryMs } = this.settings;
    let timer: Timer | undefined;
    const beat = (): void => {
      timer = clock.after(heartbeatEveryMs, () => {
        this.#heartbeat().catch(() => undefined);
        beat();
      });
    };
    beat();
    try {
      await work;
    } finally {
      timer?.cancel();
    }
  }

  async #share({ members }: JoinAnswer) {
    const subscriptions = members.map(({ memberId, metadata }) => ({ memberId, ...decodeSubscription(metadata) }));
    const names = [...new Set(subscriptions.flatMap(({ topics }) => topics))];
    const topics = await this.client.topics(names);
    const counts = new Map([...topics].map(([name, { partitions }]) => [name, partitions.length]));
    const loads = assignPartitions(subscriptions, counts);
    return [...loads].map(([memberId, partitions]) => ({ memberId, assignment: encodeAssignment(partitions) }));
  }

  async #heartbeat(): Promise<void> {
    const { clock } = this.settings;
    const saidAtMs = clock.monotonicMs();
    const code = await this.#calls.heartbeat({ memberId: this.#memberId, generation: this.#generation });
    if (code === kafkaCodes.rebalanceInProgress) this.#joinSoon();
    else this.#check(code);
    this.#heardAtMs = saidAtMs;
  }

  #check(code: number): void {
    if (code !== kafkaCodes.none) throw new KafkaFailure(`the group's coordinator answered with ${code}`, code);
  }

  /** Does what an error asks for, and waits a moment. Throws a `MessagingError` where trying again would not help. */
  async #recover(error: unknown, failures: number): Promise<void> {
    const { backoff, log, group } = this.settings;
    const fatal = this.#fatal(error);
    if (fatal !== undefined) throw fatal;
    const code = error instanceof KafkaFailure ? error.code : undefined;
    this.#wantsToJoin = true;
    if (code === kafkaCodes.rebalanceInProgress) return;
    if (code === kafkaCodes.unknownMember || code === kafkaCodes.illegalGeneration) {
      if (this.#owned.length > 0) {
        log.warn(
          `${group}: this service stood still for longer than its session (${this.settings.sessionTimeoutMs} ms), so its partitions were given to others; it joins again. What it was handling may be handled twice.`,
        );
      }
      this.#giveUpAll();
      if (code === kafkaCodes.unknownMember) this.#memberId = '';
      return;
    }
    if (code === undefined || isCoordinatorGone(code)) this.#calls.forgetCoordinator();
    if (!this.isAlive) this.#giveUpAll();
    const delayMs = backoff.delayMs(failures);
    // A coordinator moves in every restart of a node, and is found again in a moment: that is not worth a word.
    if (code === undefined || failures >= FAILURES_UNSAID_MAX) {
      log.warn(
        `${group}: the group's coordinator cannot be reached (${reasonOf(error)}). Trying again in ${delayMs} ms; nothing is lost meanwhile.`,
      );
    }
    await this.#sleep(delayMs);
  }

  #fatal(error: unknown): MessagingError | undefined {
    if (error instanceof MessagingError) return error;
    if (!(error instanceof KafkaFailure)) return undefined;
    const { group } = this.settings;
    const refused = (sentence: string): MessagingError => new MessagingError('broker-refused', sentence, { cause: error });
    if (error.code === kafkaCodes.groupAuthorizationFailed)
      return refused(`The cluster does not let this service read as the group '${group}': allow it, or name the service differently.`);
    if (error.code === kafkaCodes.topicAuthorizationFailed)
      return refused(`The cluster does not let the group '${group}' read its topics (${this.#topics.join(', ')}): allow it.`);
    if (error.code === kafkaCodes.inconsistentProtocol)
      return refused(
        `The group '${group}' has members that share out partitions in another way (${ASSIGNMENT_PROTOCOL} is wanted): stop them, or name the service differently.`,
      );
    if (error.code === kafkaCodes.groupIsFull)
      return refused(`The group '${group}' has as many members as the cluster allows (group.max.size).`);
    if (error.code === kafkaCodes.unsupportedVersion) return refused('The cluster is older than Kafka 3.1, which this transport needs.');
    return undefined;
  }

  #giveUpAll(): void {
    const owned = this.#owned;
    this.#owned = [];
    this.#generation = NO_GENERATION;
    if (owned.length > 0) this.events.lost(owned);
  }

  #joinSoon(): void {
    this.#wantsToJoin = true;
    this.#wake?.();
  }

  #heard(): number {
    this.#heardAtMs = this.settings.clock.monotonicMs();
    return this.#heardAtMs;
  }

  /** Ends early when there is something to do. */
  #sleep(delayMs: number): Promise<void> {
    if (this.#isStopping) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.settings.clock.after(delayMs, resolve);
      this.#wake = () => {
        timer.cancel();
        resolve();
      };
    });
  }
}

function isCoordinatorGone(code: number): boolean {
  return code === kafkaCodes.notCoordinator || code === kafkaCodes.coordinatorNotAvailable || code === kafkaCodes.coordinatorLoading;
}

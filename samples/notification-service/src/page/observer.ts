/**
 * What the page knows, and where from: the fact files of the processes, the depth of the queue, and the state of the processes on the stage. Looks four
 * times a second and hands each snapshot to whoever listens. Holds nothing that could not be found out again.
 */
import type { Child, ChildState } from '../stage/child.js';
import { NOTIFIERS, type Stage } from '../stage/stage.js';
import { HELD_MAX, type Notification } from '../notifications/letterbox.js';
import { FactTail } from './fact-tail.js';
import { History, type Point } from './history.js';
import { type BacklogWatch, Losses, type QueueDepth } from './losses.js';
import { LagWatch } from './lag-watch.js';
import { QueueWatch } from './queue-watch.js';
import { Tally } from './tally.js';

const LOOK_MS = 250;
const LATEST_MAX = 30;

export interface Counters {
  readonly sent: number;
  readonly confirmed: number;
  readonly handled: number;
  readonly duplicate: number;
  readonly lost: number;
  /** Confirmed and not handled yet: waiting in the queue, or being handled. */
  readonly waiting: number;
  /** Handled, but not sent in this run. */
  readonly unknown: number;
}

export interface ProcessView {
  readonly name: string;
  readonly state: ChildState;
  readonly pid: number | undefined;
  /** Events sent by a sender, notifications sent by a notification service. */
  readonly count: number;
}

export interface SentNotification extends Notification {
  readonly id: string;
  /** The notification service that sent it. */
  readonly by: string;
}

export interface Snapshot {
  readonly counters: Counters;
  readonly processes: readonly ProcessView[];
  readonly queue: QueueDepth | null;
  readonly load: number;
  readonly pace: number;
  readonly isBrokerOurs: boolean;
  /** Since the snapshot before, newest last; the oldest are left out where there are many. */
  readonly notifications: readonly SentNotification[];
  readonly point: Point | undefined;
}

export class Observer {
  readonly history = new History();
  private readonly tally = new Tally();
  private readonly losses = new Losses(this.tally, HELD_MAX);
  private readonly tail: FactTail;
  private readonly queue: BacklogWatch;
  private readonly counts = new Map<string, number>();
  /** The last notifications, oldest first, and how many of them no snapshot has had yet. */
  private readonly latest: { readonly id: string; readonly by: string; readonly detail: string }[] = [];
  private fresh = 0;
  private depth: QueueDepth | undefined;
  private timer: NodeJS.Timeout | undefined;
  private isClosed = false;

  constructor(
    private readonly stage: Stage,
    facts: string,
    private readonly onSnapshot: (snapshot: Snapshot) => void,
  ) {
    this.tail = new FactTail(facts, (fact, id, source, detail) => this.record(fact, id, source, detail));
    this.queue = stage.brokerUrl.startsWith('kafka') ? new LagWatch(stage.brokerUrl) : new QueueWatch(stage.brokerUrl);
    stage.onChange = (child) => this.changed(child);
    void this.look();
  }

  /** From the files as they are at this moment. */
  counters(): Counters {
    this.tail.advance();
    const { sent, confirmed, handled, duplicate, unknown, outstanding } = this.tally;
    const lost = this.losses.lost(performance.now());
    return { sent, confirmed, handled, duplicate, lost, waiting: Math.max(0, outstanding.size - lost), unknown };
  }

  processes(): ProcessView[] {
    return this.stage.children.map(({ name, state, pid }) => ({ name, state, pid, count: this.counts.get(name) ?? 0 }));
  }

  /** The last `count` notifications, newest last; never more than a page can show. */
  notifications(count = LATEST_MAX): SentNotification[] {
    if (count === 0) return [];
    return this.latest.slice(-count).map(({ id, by, detail }) => ({ id, by, ...(JSON.parse(detail) as Notification) }));
  }

  close(): void {
    this.isClosed = true;
    clearTimeout(this.timer);
    this.queue.close();
    this.tail.close();
  }

  private async look(): Promise<void> {
    this.losses.beginLook();
    const depth = await this.queue.look();
    if (this.isClosed) return;
    this.tail.advance();
    this.depth = depth;
    this.losses.endLook(depth, performance.now());
    this.onSnapshot(this.snapshot());
    this.timer = setTimeout(() => void this.look(), LOOK_MS);
  }

  private snapshot(): Snapshot {
    const counters = this.counters();
    const notifications = this.notifications(this.fresh);
    this.fresh = 0;
    return {
      counters,
      processes: this.processes(),
      queue: this.depth ?? null,
      load: this.stage.loadPerSecond,
      pace: this.stage.paceMs,
      isBrokerOurs: this.stage.broker !== undefined,
      notifications,
      point: this.history.add(counters, this.depth?.ready ?? null, Date.now()),
    };
  }

  private record(fact: string, id: string, source: string, detail: Buffer): void {
    this.tally.record(fact, id, this.losses.lookNumber);
    if (fact === 'confirmed') return;
    this.counts.set(source, (this.counts.get(source) ?? 0) + 1);
    if (fact !== 'handled') return;
    this.latest.push({ id, by: source, detail: detail.toString() });
    if (this.latest.length > LATEST_MAX) this.latest.shift();
    this.fresh = Math.min(this.fresh + 1, LATEST_MAX);
  }

  private changed(child: Child): void {
    const isHolder = child === this.stage.broker || NOTIFIERS.some((name) => name === child.name);
    if (isHolder && child.state !== 'starting' && child.state !== 'running') this.losses.disturbed();
  }
}

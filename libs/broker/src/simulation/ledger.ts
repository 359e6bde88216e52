/**
 * What the broker was asked, what it promised and what it did, written down outside of it: the simple model that a run is checked against.
 *
 * An entry is one message in one queue. What may have happened is never held against the broker, only what it said or showed: a message
 * that was published and not confirmed may be there or not; one that was acknowledged may come back until something that was published
 * later by the same client is confirmed. Lives and dies with its run.
 */
export class BrokenPromise extends Error {
  override readonly name = 'BrokenPromise';
}

/** A client as the ledger knows it. */
export interface Party {
  readonly name: string;
  /** In which life of the broker it connected. */
  readonly life: number;
  readonly isInProcess: boolean;
  /** What the confirmation of a later message will prove. */
  readonly unproven: { readonly order: number; prove(): void }[];
}

export interface Entry {
  readonly id: number;
  readonly queue: string;
  readonly publisher: Party;
  readonly isPersistent: boolean;
  readonly order: number;
  /** It is in its queue only from this moment on; 0 for at once. */
  readonly dueAt: number;
  isConfirmed: boolean;
  /** Whether the queue was there for certain when it was published. */
  isCertain: boolean;
  /** `asked`: it may be gone; `proven`: it must never be seen again. */
  removal: 'none' | 'asked' | 'proven';
  deliveredCount: number;
  /** The life in which it was last delivered without the flag. */
  firstGivenInLife: number;
  provenInLife: number;
  /** The first life in which somebody got it, 0 for none: a later one must flag it. */
  seenInLife: number;
  holder: Party | undefined;
  isAcknowledged: boolean;
  /** What was dropped and must be there all the same goes on as this, in the queue for dead letters. */
  deadLetter: Entry | undefined;
}

/** What somebody published and acknowledged as one. */
interface Whole {
  readonly published: readonly Entry[];
  /** Acknowledged with it, and how often each had been delivered by then. */
  readonly acknowledged: readonly { readonly entry: Entry; readonly deliveredCount: number }[];
}

/** What is known of a queue that comes and goes. */
export type Existence = 'yes' | 'no' | 'unknown';

export class Ledger {
  readonly broken: string[] = [];
  readonly queues = new Map<string, Existence>();
  /** What somebody asked for a queue, without an answer yet. */
  readonly undecided = new Map<string, readonly ('declare' | 'delete' | 'purge')[]>();
  /** Queues whose consumers take without acknowledging: what is in them may be gone at any time. */
  readonly looseQueues = new Set<string>();
  /** Queues that keep transient messages too. */
  readonly keepingQueues = new Set<string>();
  /** Where what consumers drop goes on, by the queue in which they drop it. A crash may leave a message in both, so it may come there more than once. */
  readonly graves = new Map<string, string>();
  /** The broker's lives so far; it is opened anew after each crash. */
  life = 0;
  confirmedCount = 0;
  deliveredCount = 0;
  private readonly wholes: Whole[] = [];
  private order = 0;
  private nextId = 1;
  private readonly entries = new Map<string, Entry>();

  breakPromise(what: string): void {
    this.broken.push(what);
  }

  /** `dueAt` is the moment before which a message that is held must not be delivered, 0 for one that is not. */
  publish(
    publisher: Party,
    queues: readonly string[],
    isPersistent: boolean,
    dueAt: number,
  ): { readonly id: number; readonly entries: readonly Entry[] } {
    const id = this.nextId++;
    const order = ++this.order;
    const entries = queues.map((queue) => {
      const isCertain = this.queues.get(queue) === 'yes' && !this.isGoing(queue) && !this.looseQueues.has(queue);
      // What is held has not come to its queue yet, which would keep it.
      const isKept = isPersistent || (dueAt === 0 && this.keepingQueues.has(queue));
      return this.enter({ id, queue, publisher, isPersistent: isKept, order, isCertain, dueAt });
    });
    return { id, entries };
  }

  /** Everything that the publisher did before it published these is behind the broker now, and on its disk. */
  confirm(entries: readonly Entry[]): void {
    this.confirmedCount++;
    for (const entry of entries) entry.isConfirmed = true;
    const first = entries[0];
    if (first === undefined || !first.isPersistent || !first.isCertain) return;
    const { unproven } = first.publisher;
    while (unproven.length > 0 && unproven[0]!.order < first.order) unproven.shift()!.prove();
  }

  /** A delivery reached a consumer; `last` are the highest orders that it was given first, by publisher. */
  deliver(to: Party, queue: string, id: number, isRedelivered: boolean, last: Map<Party, number>): Entry | undefined {
    this.deliveredCount++;
    const entry = this.entries.get(`${queue} ${id}`);
    const what = `message ${id} in ${queue}`;
    if (entry === undefined) {
      this.breakPromise(`${what} was delivered and never published`);
      return undefined;
    }
    if ([...this.graves.values()].includes(queue)) return this.give(entry, to);
    const isLate = !to.isInProcess && entry.provenInLife === this.life; // it may have been in the socket for long
    if (entry.removal === 'proven' && !isLate) this.breakPromise(`${what} came back after it was settled and the settlement was committed`);
    if (!entry.isPersistent && entry.publisher.life !== this.life) this.breakPromise(`${what} is transient and survived the broker's end`);
    if (!isRedelivered) {
      if (entry.seenInLife !== 0 && entry.seenInLife < this.life)
        this.breakPromise(`${what} was delivered before the broker's end and is not flagged after it`);
      if (entry.firstGivenInLife === this.life) this.breakPromise(`${what} was delivered a second time without the flag`);
      entry.firstGivenInLife = this.life;
      const before = last.get(entry.publisher) ?? 0;
      if (entry.dueAt === 0 && before > entry.order) this.breakPromise(`${what} was delivered behind a later one of the same publisher`);
      if (entry.dueAt === 0) last.set(entry.publisher, Math.max(before, entry.order));
    }
    const isHeld = to.isInProcess && entry.holder?.isInProcess === true && entry.holder.life === this.life;
    if (isHeld) this.breakPromise(`${what} was given to a second consumer while the first one had it`);
    return this.give(entry, to);
  }

  settle(by: Party, entry: Entry, how: 'acknowledge' | 'drop' | 'requeue'): void {
    entry.holder = undefined;
    if (how === 'requeue') return;
    const mustStay = entry.isPersistent && entry.isConfirmed && entry.isCertain && entry.removal === 'none';
    if (entry.removal === 'none') entry.removal = 'asked';
    if (how === 'acknowledge') entry.isAcknowledged = true;
    const grave = how === 'drop' ? this.graves.get(entry.queue) : undefined;
    const copy = grave === undefined ? undefined : this.bury(entry, grave);
    if (mustStay) entry.deadLetter = copy;
    const prove = (): void => {
      this.prove(entry);
      // Its settlement is on the disk, so the copy, which was written before it, is too.
      if (copy !== undefined && mustStay) copy.isConfirmed = copy.isCertain = true;
    };
    by.unproven.push({ order: ++this.order, prove });
  }

  /** These were published, and these acknowledged, as one; nobody was told yet that it happened. */
  transact(published: readonly Entry[], acknowledged: readonly Entry[]): void {
    // Where what dies goes elsewhere, an acknowledgement that is taken back may be followed by a death.
    const stays = acknowledged.filter(({ queue }) => !this.graves.has(queue) && ![...this.graves.values()].includes(queue));
    const certain = stays.filter((entry) => entry.isPersistent && entry.isConfirmed && entry.isCertain && entry.removal === 'none');
    for (const entry of acknowledged) {
      entry.holder = undefined;
      if (entry.removal === 'none') entry.removal = 'asked';
      entry.isAcknowledged = true;
    }
    this.wholes.push({ published, acknowledged: certain.map((entry) => ({ entry, deliveredCount: entry.deliveredCount })) });
  }

  /** It was confirmed. */
  transacted(published: readonly Entry[], acknowledged: readonly Entry[]): void {
    this.confirm(published);
    for (const entry of acknowledged) this.prove(entry);
  }

  /** After everything was taken out: of each whole all happened, or nothing. */
  checkWholes(): void {
    for (const { published, acknowledged } of this.wholes) {
      const there = published.filter(({ deliveredCount }) => deliveredCount > 0);
      const names = published.map(({ id, queue }) => `${id} in ${queue}`).join(', ');
      if (there.length > 0 && there.length < published.length)
        this.breakPromise(`of the transaction that published ${names} only ${there.map(({ id }) => id).join(', ')} is there`);
      const again = acknowledged.filter(({ entry, deliveredCount }) => entry.deliveredCount > deliveredCount);
      const expected = there.length > 0 ? 0 : acknowledged.length;
      if (again.length !== expected)
        this.breakPromise(
          `the transaction that published ${names} is ${there.length > 0 ? 'there' : 'not there'}, and of its ${acknowledged.length} acknowledged messages ${again.length} came again`,
        );
    }
  }

  /** Messages that were dropped and must be in their queue or in the one for dead letters. */
  mustHaveDied(): Entry[] {
    return [...this.entries.values()].filter((entry) => entry.deadLetter?.removal === 'none' && !entry.isAcknowledged);
  }

  private bury(entry: Entry, grave: string): Entry {
    const before = this.entries.get(`${grave} ${entry.id}`);
    return before ?? this.enter({ ...entry, queue: grave, publisher: entry.publisher, isCertain: false });
  }

  private enter(known: Pick<Entry, 'id' | 'queue' | 'publisher' | 'isPersistent' | 'order' | 'isCertain' | 'dueAt'>): Entry {
    const { id, queue, publisher, isPersistent, order, isCertain, dueAt } = known;
    const entry: Entry = {
      ...{ id, queue, publisher, isPersistent, order, isCertain, dueAt, isConfirmed: false, removal: 'none', deliveredCount: 0 },
      ...{ firstGivenInLife: 0, provenInLife: 0, seenInLife: 0, holder: undefined, isAcknowledged: false, deadLetter: undefined },
    };
    this.entries.set(`${queue} ${id}`, entry);
    return entry;
  }

  private give(entry: Entry, to: Party): Entry {
    entry.deliveredCount++;
    entry.holder = to;
    if (entry.seenInLife === 0) entry.seenInLife = this.life;
    return entry;
  }

  /** Somebody asks for a queue to be emptied or deleted. Returns what is to be said when that was answered. */
  removeAll(queue: string): () => void {
    const concerned = this.of(queue);
    for (const entry of concerned) {
      entry.isCertain = false;
      if (entry.removal === 'none') entry.removal = 'asked';
    }
    const settled = concerned.filter((entry) => entry.isConfirmed);
    return () => {
      for (const entry of settled) this.prove(entry);
    };
  }

  leave(party: Party): void {
    for (const entry of this.entries.values()) if (entry.holder === party) entry.holder = undefined;
  }

  /** What a queue must hold after a crash. */
  mustHold(queue: string): Entry[] {
    return this.of(queue).filter((entry) => entry.isPersistent && entry.isConfirmed && entry.isCertain && entry.removal === 'none');
  }

  /** Compares what is there after a crash with what must be there and with what may. */
  checkAfterCrash(counts: ReadonlyMap<string, number>): void {
    for (const [queue, existence] of this.queues) {
      const count = counts.get(queue);
      if (existence === 'yes' && count === undefined) this.breakPromise(`queue ${queue} was declared, which was answered, and is gone`);
      if (existence === 'no' && count !== undefined) this.breakPromise(`queue ${queue} was deleted, which was answered, and is back`);
      if (existence !== 'yes') this.queues.set(queue, count === undefined ? 'no' : 'unknown');
      const least = this.mustHold(queue).filter(({ dueAt }) => dueAt === 0).length; // the others may be held yet
      const most = this.of(queue).filter((entry) => entry.isPersistent && entry.removal !== 'proven').length;
      if (least > (count ?? 0)) this.breakPromise(`queue ${queue} holds ${count ?? 0} messages after the crash and must hold ${least}`);
      const mayRepeat = [...this.graves.values()].includes(queue);
      if (most < (count ?? 0) && !mayRepeat)
        this.breakPromise(`queue ${queue} holds ${count ?? 0} messages after the crash and may hold ${most}`);
    }
    for (const queue of counts.keys()) if (!this.queues.has(queue)) this.breakPromise(`nobody declared the queue ${queue}`);
  }

  private isGoing(queue: string): boolean {
    return this.undecided.get(queue)?.some((what) => what !== 'declare') === true;
  }

  private prove(entry: Entry): void {
    entry.removal = 'proven';
    entry.provenInLife = this.life;
  }

  private of(queue: string): Entry[] {
    return [...this.entries.values()].filter((entry) => entry.queue === queue);
  }
}

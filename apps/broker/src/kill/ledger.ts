/**
 * What publishers were promised and what the consumer got: the judge of a kill test. It knows no broker and keeps everything in memory.
 *
 * Each publisher numbers its messages from 0 and publishes no number twice, so whatever comes twice is the broker's doing. A consumer gets a new
 * session with each connection.
 */
export interface Verdict {
  readonly published: number;
  readonly confirmed: number;
  readonly delivered: number;
  /** Delivered again: allowed when the broker or the connection ended before the acknowledgement was safe. */
  readonly again: number;
  /** Confirmed and never delivered. */
  readonly lost: readonly string[];
  /** Delivered behind a later message of the same publisher, within one session or at its first delivery. */
  readonly outOfOrder: readonly string[];
  /** Delivered again without the flag that says so. */
  readonly unflagged: readonly string[];
  /** Delivered and never published, or with another body. */
  readonly foreign: readonly string[];
}

interface PublisherPage {
  published: number;
  readonly confirmed: Set<number>;
  readonly delivered: Set<number>;
  lastFirstDelivery: number;
  lastInSession: number;
  session: number;
}

export class Ledger {
  private readonly pages = new Map<string, PublisherPage>();
  private deliveries = 0;
  private again = 0;
  private readonly outOfOrder: string[] = [];
  private readonly unflagged: string[] = [];
  private readonly foreign: string[] = [];
  private waiting: (() => void) | undefined;
  confirmedCount = 0;

  /** The number of a publisher's next message. */
  publish(publisher: string): number {
    return this.page(publisher).published++;
  }

  confirm(publisher: string, number: number): void {
    this.page(publisher).confirmed.add(number);
    this.confirmedCount++;
    this.waiting?.();
  }

  deliver(session: number, publisher: string, number: number, isRedelivered: boolean): void {
    const page = this.page(publisher);
    const name = `${publisher}:${number}`;
    this.deliveries++;
    if (number >= page.published) this.foreign.push(name);
    const isBehind =
      page.session === session ? number <= page.lastInSession : !page.delivered.has(number) && number < page.lastFirstDelivery;
    if (isBehind) this.outOfOrder.push(name);
    page.session = session;
    page.lastInSession = number;
    if (page.delivered.has(number)) {
      this.again++;
      if (!isRedelivered) this.unflagged.push(name);
    } else page.lastFirstDelivery = Math.max(page.lastFirstDelivery, number);
    page.delivered.add(number);
    this.waiting?.();
  }

  /** Something was delivered that no publisher wrote. */
  deliverForeign(what: string): void {
    this.foreign.push(what);
  }

  /** Resolves when so many messages were confirmed, all publishers together. */
  async confirmedAtLeast(count: number): Promise<void> {
    while (this.confirmedCount < count) await new Promise<void>((resolve) => (this.waiting = resolve));
  }

  get verdict(): Verdict {
    const pages = [...this.pages];
    return {
      published: pages.reduce((sum, [, page]) => sum + page.published, 0),
      confirmed: this.confirmedCount,
      delivered: this.deliveries,
      again: this.again,
      lost: pages.flatMap(([name, { confirmed, delivered }]) =>
        [...confirmed].filter((number) => !delivered.has(number)).map((number) => `${name}:${number}`),
      ),
      outOfOrder: this.outOfOrder,
      unflagged: this.unflagged,
      foreign: this.foreign,
    };
  }

  private page(publisher: string): PublisherPage {
    let page = this.pages.get(publisher);
    if (page === undefined) {
      page = { published: 0, confirmed: new Set(), delivered: new Set(), lastFirstDelivery: -1, lastInSession: -1, session: -1 };
      this.pages.set(publisher, page);
    }
    return page;
  }
}

export function isClean({ lost, outOfOrder, unflagged, foreign }: Verdict): boolean {
  return lost.length + outOfOrder.length + unflagged.length + foreign.length === 0;
}

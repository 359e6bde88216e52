/** The last two minutes, one point a half second: what the charts show, also to a page that was opened just now. Lives in memory only. */
const POINTS_MAX = 240;
const POINT_MS = 500;

export interface Point {
  /** Seconds since 1970. */
  readonly at: number;
  /** Events sent and handled per second since the point before. */
  readonly sent: number;
  readonly handled: number;
  /** Messages waiting in the queue; null while the broker is away. */
  readonly depth: number | null;
}

interface Totals {
  readonly sent: number;
  readonly handled: number;
}

export class History {
  readonly points: Point[] = [];
  private last: (Totals & { readonly ms: number }) | undefined;

  /** A new point when it is time for one. */
  add(totals: Totals, depth: number | null, nowMs: number): Point | undefined {
    const { last } = this;
    if (last !== undefined && nowMs - last.ms < POINT_MS) return undefined;
    this.last = { sent: totals.sent, handled: totals.handled, ms: nowMs };
    if (last === undefined) return undefined;
    const seconds = (nowMs - last.ms) / 1000;
    const point = {
      at: nowMs / 1000,
      sent: (totals.sent - last.sent) / seconds,
      handled: (totals.handled - last.handled) / seconds,
      depth,
    };
    this.points.push(point);
    if (this.points.length > POINTS_MAX) this.points.shift();
    return point;
  }
}

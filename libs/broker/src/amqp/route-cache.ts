import type { Route } from '../queues/route.js';
import type { VirtualHost } from '../queues/virtual-host.js';
import { copyBytes, sameBytes, viewOf } from '../small-copy.js';

/**
 * Where recent publishes went, found by the bytes of exchange, key and bits as they came: no string is made, no binding looked
 * at and no permission asked for a message that goes where an earlier one went. One for all connections to a virtual host whose users
 * may publish everything there, and one for each user who may not.
 *
 *   slot = hash of the bytes:   | the bytes (96 at most) | their number | route |          two neighbouring slots for each hash
 *
 * Everything in it is forgotten when the virtual host's `epoch` moves. Longer names are not kept: they are looked up each time.
 */
const slotBytes = 96;

export class RouteCache {
  private readonly bytes: Buffer;
  private readonly view: DataView;
  /** 0 marks a slot without a route. */
  private readonly lengths: Uint8Array;
  private readonly routes: (Route | undefined)[];
  private readonly mask: number;
  private epoch = 0;
  /** The slot that the last `find` looked for in vain. */
  private missed = 0;

  /** `slotsCount` is a power of two. */
  constructor(
    private readonly host: VirtualHost,
    slotsCount: number,
  ) {
    this.bytes = Buffer.allocUnsafeSlow(slotsCount * slotBytes);
    this.view = viewOf(this.bytes);
    this.lengths = new Uint8Array(slotsCount);
    this.routes = new Array<Route | undefined>(slotsCount).fill(undefined);
    this.mask = slotsCount - 1;
  }

  /** The route that was kept for these bytes. */
  find(bytes: Buffer, view: DataView, start: number, length: number): Route | undefined {
    if (this.host.epoch !== this.epoch) this.forget();
    const slot = slotOf(bytes, view, start, length) & this.mask;
    if (this.holds(slot, bytes, view, start, length)) return this.routes[slot];
    this.missed = slot;
    return this.holds(slot ^ 1, bytes, view, start, length) ? this.routes[slot ^ 1] : undefined;
  }

  /** Keeps the route of the bytes that `find` has just been asked for. */
  keep(bytes: Buffer, view: DataView, start: number, length: number, route: Route): void {
    if (length > slotBytes) return;
    const slot = this.lengths[this.missed] === 0 ? this.missed : this.missed ^ 1;
    copyBytes(this.bytes, this.view, slot * slotBytes, bytes, view, start, length);
    this.lengths[slot] = length;
    this.routes[slot] = route;
  }

  private holds(slot: number, bytes: Buffer, view: DataView, start: number, length: number): boolean {
    return this.lengths[slot] === length && sameBytes(this.bytes, this.view, slot * slotBytes, bytes, view, start, length);
  }

  private forget(): void {
    this.lengths.fill(0);
    this.routes.fill(undefined);
    this.epoch = this.host.epoch;
  }
}

/** Multiplies the words together and mixes the outcome as MurmurHash3 does: keys that differ in one digit must not be neighbours. */
function slotOf(bytes: Buffer, view: DataView, start: number, length: number): number {
  const end = start + length;
  let hash = length;
  let at = start;
  while (at <= end - 4) {
    hash = Math.imul(hash ^ view.getInt32(at), 0x9e3779b1);
    hash ^= hash >>> 15;
    at += 4;
  }
  while (at < end) hash = Math.imul(hash ^ bytes[at++]!, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

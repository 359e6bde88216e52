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
 * It grows while keys that come push others out: 10,000 queues in turn need more of it than ten.
 */
const slotsMax = 32_768;
const slotBytes = 96;

export class RouteCache {
  private bytes: Buffer;
  private view: DataView;
  /** 0 marks a slot without a route. */
  private lengths: Uint8Array;
  private routes: (Route | undefined)[];
  private epoch = 0;
  /** Routes that were pushed out by others since it grew or was emptied. */
  private pushedOut = 0;
  /** The slot that the last `find` looked for in vain. */
  private missed = 0;

  /** It begins with so many slots, a power of two. */
  constructor(
    private readonly host: VirtualHost,
    private slots = 2048,
  ) {
    this.bytes = Buffer.allocUnsafeSlow(slots * slotBytes);
    this.view = viewOf(this.bytes);
    this.lengths = new Uint8Array(slots);
    this.routes = new Array<Route | undefined>(slots).fill(undefined);
  }

  /** The route that was kept for these bytes. */
  find(bytes: Buffer, view: DataView, start: number, length: number): Route | undefined {
    if (this.host.epoch !== this.epoch) this.forget();
    const slot = hashOf(bytes, view, start, length) & (this.slots - 1);
    if (this.holds(slot, bytes, view, start, length)) return this.routes[slot];
    this.missed = slot;
    return this.holds(slot ^ 1, bytes, view, start, length) ? this.routes[slot ^ 1] : undefined;
  }

  /** Keeps the route of the bytes that `find` has just been asked for. */
  keep(bytes: Buffer, view: DataView, start: number, length: number, route: Route): void {
    if (length > slotBytes) return;
    const slot = this.lengths[this.missed] === 0 ? this.missed : this.missed ^ 1;
    if (this.lengths[slot] !== 0 && ++this.pushedOut > this.slots && this.slots < slotsMax) return this.grow();
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
    this.pushedOut = 0;
    this.epoch = this.host.epoch;
  }

  /** What was in it comes in again with the next messages. */
  private grow(): void {
    this.slots *= 4;
    this.bytes = Buffer.allocUnsafeSlow(this.slots * slotBytes);
    this.view = viewOf(this.bytes);
    this.lengths = new Uint8Array(this.slots);
    this.routes = new Array<Route | undefined>(this.slots).fill(undefined);
    this.pushedOut = 0;
  }
}

/** Multiplies the words together and mixes the outcome as MurmurHash3 does: keys that differ in one digit must not be neighbours. */
function hashOf(bytes: Buffer, view: DataView, start: number, length: number): number {
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

/**
 * The order of keys, above whatever transport has lanes: stands between the transport and the handlers' lines, and gives each key's messages on one by one.
 *
 *   transport ─▶ lane (lane-order.ts) ─▶ key (key-order.ts) ─▶ its handler's line ─▶ what became of it (ordered-settlement.ts) ─▶ back to the key
 *
 * Keeps nothing across restarts: what waits is with the broker, delivered and not acknowledged, or in the parking store.
 */
import type { Envelope } from '../envelope.js';
import type { Incoming, Lane } from '../transport.js';
import { LaneOrder, type OrderingParts } from './lane-order.js';
import { LaneGone } from './ordered-message.js';
import { Suspects } from './suspects.js';

export class Ordering {
  readonly #lanes = new Map<Lane, LaneOrder>();
  readonly #suspects = new Suspects();

  constructor(private readonly parts: OrderingParts) {}

  /** Handlers, and what is written down about them. */
  get busy(): number {
    let busy = 0;
    for (const lane of this.#lanes.values()) busy += lane.busy;
    return busy;
  }

  async assigned(lane: Lane): Promise<void> {
    const order = new LaneOrder(lane, this.parts, this.#suspects);
    this.#lanes.set(lane, order);
    try {
      await order.restore();
    } catch (error) {
      // It went before it was here.
      if (!(error instanceof LaneGone)) throw error;
    }
  }

  async revoked(lane: Lane, isLost: boolean): Promise<void> {
    const order = this.#lanes.get(lane);
    if (order === undefined) return;
    if (!isLost) await this.#end(lane, order);
    order.close();
    if (isLost) this.parts.abort(lane);
    this.#lanes.delete(lane);
    await this.parts.store.leave(lane).catch(() => undefined);
  }

  /** What comes of a lane that is not here goes back with it. */
  receive(lane: Lane, incoming: Incoming, envelope: Envelope, key: string): void {
    this.#lanes.get(lane)?.receive(incoming, envelope, key);
  }

  /** Begins nothing more, for good. What waits goes back, what runs may end. */
  stop(): void {
    for (const order of this.#lanes.values()) void order.stop(0);
  }

  /** What is not done by now is somebody else's, with whatever it was about to write. */
  close(): void {
    for (const order of this.#lanes.values()) order.close();
    this.#lanes.clear();
  }

  async #end(lane: Lane, order: LaneOrder): Promise<void> {
    const { patienceMs, graceMs, log } = this.parts;
    if (await order.finish(patienceMs)) return;
    log.warn(`Handlers on ${lane.id}, which goes to another member, did not end in ${patienceMs} ms: their signals are aborted.`);
    const stopped = order.stop(graceMs);
    this.parts.abort(lane);
    if (!(await stopped)) log.error(`Handlers on ${lane.id} did not stop; another member handles their messages again.`);
  }
}

/**
 * What is parked in one lane while a member has it, over the deliveries of the lane's queue of what is parked: each stays unacknowledged for as long as it
 * counts, so that the broker hands it to whoever has the lane next.
 *
 *   park ─▶ revision 1 ─(update)─▶ revision 2, then 1 is acknowledged ─(resolve)─▶ all acknowledged
 *
 * A crash between two of these steps leaves an older revision beside a newer one, and the newer one counts. Keeps nothing that the queue does not hold.
 */
import type { Envelope } from '../../envelope.js';
import type { Parked, Released } from '../../parking-store.js';
import { fromProperties } from '../cloud-events.js';
import type { QueueDelivery } from './lane-driver.js';
import type { ParkedNote, ReleaseNote } from './lane-notes.js';

interface Place {
  parked: Parked;
  /** The last one that was begun. */
  revision: number;
  /** What is older is out of date. */
  confirmed: number;
  readonly copies: { readonly revision: number; readonly delivery: QueueDelivery }[];
  /** What said that it is to be handled now. Acknowledged behind the copies: without it they would wait again. */
  readonly releases: QueueDelivery[];
}

export class ParkedPlaces {
  readonly #places = new Map<number, Place>();
  readonly #early: { readonly note: ReleaseNote; readonly delivery: QueueDelivery }[] = [];
  #onRelease: ((released: Released) => void) | undefined;

  constructor(
    private readonly term: string,
    private readonly publish: (envelope: Envelope, note: ParkedNote) => Promise<void>,
  ) {}

  /** Everything that was in the queue has come. */
  restore(onRelease: (released: Released) => void): readonly Parked[] {
    this.#onRelease = onRelease;
    for (const place of this.#places.values()) acknowledgeOlder(place);
    for (const { note, delivery } of this.#early.splice(0)) this.#release(note, delivery);
    return [...this.#places.values()].map(({ parked }) => parked).toSorted((one, other) => one.sequence - other.sequence);
  }

  async park(parked: Parked): Promise<void> {
    const place: Place = { parked, revision: 0, confirmed: 0, copies: [], releases: [] };
    this.#places.set(parked.sequence, place);
    try {
      await this.#write(place, parked);
    } catch (error) {
      // It may have come into the queue all the same, and is acknowledged when it is delivered.
      if (this.#places.get(parked.sequence) === place) this.#places.delete(parked.sequence);
      throw error;
    }
  }

  update(parked: Parked): Promise<void> {
    const place = this.#places.get(parked.sequence);
    return place === undefined ? this.park(parked) : this.#write(place, parked);
  }

  /** A copy that was published and has not been delivered yet is acknowledged when it is. */
  resolve(sequence: number): void {
    const place = this.#places.get(sequence);
    if (place === undefined) return;
    this.#places.delete(sequence);
    for (const { delivery } of place.copies) delivery.acknowledge();
    for (const delivery of place.releases) delivery.acknowledge();
  }

  receive(note: ParkedNote | ReleaseNote, delivery: QueueDelivery): void {
    if (note.what !== 'parked') {
      if (this.#onRelease === undefined) this.#early.push({ note, delivery });
      else this.#hear(note, delivery);
    } else if (this.#onRelease === undefined) this.#find(note, delivery);
    else this.#confirm(note, delivery);
  }

  async #write(place: Place, parked: Parked): Promise<void> {
    const { sequence, key, state, dueAtMs, envelope } = parked;
    const revision = (place.revision += 1);
    // One that comes while this is on its way is not known to whoever wrote it.
    const known = place.releases.length;
    await this.publish(envelope, { what: 'parked', sequence, key, state, dueAtMs, revision, term: this.term });
    if (place.releases.length === known) place.parked = parked;
    place.confirmed = revision;
    acknowledgeOlder(place);
    for (const delivery of place.releases.splice(0, known)) delivery.acknowledge();
  }

  /** It was parked before this member had the lane. */
  #find(note: ParkedNote, delivery: QueueDelivery): void {
    const { sequence, key, state, dueAtMs, revision } = note;
    const envelope = envelopeOf(delivery);
    if (envelope === undefined) return;
    const parked: Parked = { sequence, key, state, dueAtMs, envelope };
    const place = this.#places.get(sequence) ?? { parked, revision, confirmed: revision, copies: [], releases: [] };
    this.#places.set(sequence, place);
    place.copies.push({ revision, delivery });
    if (revision > place.revision) Object.assign(place, { parked, revision, confirmed: revision });
  }

  /** It comes back from the queue because this member has the lane; or late, from one who had it: the message it came of was never acknowledged. */
  #confirm({ sequence, revision, term }: ParkedNote, delivery: QueueDelivery): void {
    const place = this.#places.get(sequence);
    if (term !== this.term || place === undefined || revision < place.confirmed) delivery.acknowledge();
    else place.copies.push({ revision, delivery });
  }

  #hear(note: ReleaseNote, delivery: QueueDelivery): void {
    const released = this.#release(note, delivery);
    if (released !== undefined) this.#onRelease?.(released);
  }

  /** Nothing where nobody waits for it: somebody released it before. */
  #release({ what, sequence, key }: ReleaseNote, delivery: QueueDelivery): Released | undefined {
    const place = this.#places.get(sequence);
    const envelope = what === 'gone' ? undefined : envelopeOf(delivery);
    const isUnreadable = what === 'released' && envelope === undefined;
    if (place === undefined || place.parked.state !== 'dead' || place.parked.key !== key || isUnreadable) {
      delivery.acknowledge();
      return undefined;
    }
    place.releases.push(delivery);
    if (envelope === undefined) this.resolve(sequence);
    else place.parked = { ...place.parked, envelope, state: 'retry', dueAtMs: 0 };
    return { sequence, key, envelope };
  }
}

function acknowledgeOlder(place: Place): void {
  const { copies, confirmed } = place;
  for (const { revision, delivery } of copies) if (revision < confirmed) delivery.acknowledge();
  copies.splice(0, copies.length, ...copies.filter(({ revision }) => revision >= confirmed));
}

function envelopeOf({ properties, routingKey, body }: QueueDelivery): Envelope | undefined {
  const envelope = fromProperties(properties, routingKey, body);
  return 'problem' in envelope ? undefined : envelope;
}

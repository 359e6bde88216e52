/** What is parked in a group's lanes, in queues of the broker; see parked-places.ts. Anybody can release; the rest is for whoever has the lane. */
import { MessagingError } from '../../errors.js';
import type { Parked, ParkingStore, Released } from '../../parking-store.js';
import type { Lane } from '../../transport.js';
import type { LaneDriver } from './lane-driver.js';
import { noted } from './lane-notes.js';
import { LaneTerm, ownEnvelope } from './lane-term.js';
import { parkedQueueOf } from './lane-topology.js';
import type { ParkedPlaces } from './parked-places.js';

export class QueueParking implements ParkingStore {
  constructor(
    private readonly group: string,
    private readonly publish: LaneDriver['publish'],
  ) {}

  async restore(lane: Lane, onRelease: (released: Released) => void): Promise<readonly Parked[]> {
    return placesOf(lane).restore(onRelease);
  }

  async park(lane: Lane, parked: Parked): Promise<void> {
    await placesOf(lane).park(parked);
  }

  async update(lane: Lane, parked: Parked): Promise<void> {
    await placesOf(lane).update(parked);
  }

  async resolve(lane: Lane, sequence: number): Promise<void> {
    placesOf(lane).resolve(sequence);
  }

  /** What the lane held goes with it. */
  leave(): Promise<void> {
    return Promise.resolve();
  }

  release(laneId: string, { sequence, key, envelope }: Released): Promise<void> {
    const what = envelope === undefined ? 'gone' : 'released';
    const told = envelope ?? ownEnvelope({ group: this.group }, `${laneId}-${sequence}`, 'dovecote.gone');
    return this.publish({ queue: parkedQueueOf(laneId) }, noted(told, { what, sequence, key }));
  }
}

/** By the lane itself, not by its name: what began when this member had it before must not touch what it has now. */
function placesOf(lane: Lane): ParkedPlaces {
  if (lane instanceof LaneTerm && !lane.isClosed) return lane.places;
  throw new MessagingError('closed', `The lane ${lane.id} is another member's now, which has what is parked there too.`);
}

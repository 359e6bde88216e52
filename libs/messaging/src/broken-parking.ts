/** Parking stores that break one promise each, over one that keeps them all: the contract suite must name what is broken. For tests only. */
import { broken } from './broken-transports.js';
import type { ParkingStore, Released } from './parking-store.js';
import type { Lane } from './transport.js';
import type { TransportSubject } from './transport-contract.js';

type Defect = (sound: ParkingStore) => Partial<ParkingStore>;

export const parkingDefects: Readonly<Record<string, { readonly defect: Defect; readonly failing: string }>> = {
  'forgets when a message is due': {
    defect: (sound) => ({ park: (lane, parked) => sound.park(lane, { ...parked, dueAtMs: undefined }) }),
    failing: 'gives what a member parked to the next one, in the order of its places, with all that was said of it',
  },
  'gives what came last first': {
    defect: (sound) => ({ restore: async (lane, onRelease) => [...(await sound.restore(lane, onRelease))].toReversed() }),
    failing: 'gives what a member parked to the next one, in the order of its places, with all that was said of it',
  },
  'parks what is updated once more': {
    defect: (sound) => ({ update: (lane, parked) => sound.park(lane, { ...parked, sequence: parked.sequence + 1_000 }) }),
    failing: 'has what was updated once, and nothing of what was resolved',
  },
  'keeps what was resolved': {
    defect: () => ({ resolve: () => Promise.resolve() }),
    failing: 'has what was updated once, and nothing of what was resolved',
  },
  'takes all lanes for one': {
    defect: (sound) => ({
      park: (lane, parked) => sound.park(first(lane), parked),
      restore: (lane, onRelease) => sound.restore(first(lane), onRelease),
    }),
    failing: 'keeps lanes apart, and goes with a lane to the member that takes it over',
  },
  'tells its owner of no release': {
    defect: (sound) => ({ restore: (lane) => sound.restore(lane, () => undefined) }),
    failing: 'tells the member that has the lane what was released, once it was parked as dead',
  },
  'has a release once for each place': {
    defect: (sound) => {
      const told = new Set<number>();
      const once = (onRelease: (released: Released) => void) => (released: Released) => {
        if (!told.has(released.sequence)) onRelease(released);
        told.add(released.sequence);
      };
      return { restore: (lane, onRelease) => sound.restore(lane, once(onRelease)) };
    },
    failing: 'tells of a second release of what is dead again, and of the first no more',
  },
  'tells of releases only while somebody is there': {
    defect: (sound) => {
      const known = new Set<string>();
      return {
        restore: (lane, onRelease) => {
          known.add(lane.id);
          return sound.restore(lane, onRelease);
        },
        release: (lane, released) => (known.has(lane) ? sound.release(lane, released) : Promise.resolve()),
      };
    },
    failing: 'has what was released while nobody was there in its place',
  },
  'has a release gone where its owner writes': {
    defect: () => ({ release: () => Promise.resolve() }),
    failing: 'does not lose a release over what its owner writes without knowing of it',
  },
};

export function brokenParking(subject: TransportSubject, defect: Defect): TransportSubject {
  return broken(subject, (sound) => ({
    parkingStore: (group) => {
      const store = sound.parkingStore(group);
      return store && withDefect(store, defect(store));
    },
  }));
}

function withDefect(sound: ParkingStore, defect: Partial<ParkingStore>): ParkingStore {
  return {
    restore: (lane, onRelease) => sound.restore(lane, onRelease),
    park: (lane, parked) => sound.park(lane, parked),
    update: (lane, parked) => sound.update(lane, parked),
    resolve: (lane, sequence) => sound.resolve(lane, sequence),
    leave: (lane) => sound.leave(lane),
    release: (lane, released) => sound.release(lane, released),
    ...defect,
  };
}

function first({ id }: Lane): Lane {
  return { id: id.replace(/\d+$/, '0'), pause: () => undefined, resume: () => undefined };
}

/** Claim stores that break one promise each, over one that keeps them all: the contract suite must name what is broken. For tests only. */
import type { Claim, ClaimStore } from './claim-store.js';
import type { ClaimStoreSubject } from './claim-store-contract.js';

type Defect = (sound: ClaimStore, subject: ClaimStoreSubject) => Partial<ClaimStore>;

export function brokenStore(subject: ClaimStoreSubject, defect: Defect): ClaimStoreSubject {
  const wrapped = (sound: ClaimStore): ClaimStore => ({
    put: (payload, claim) => sound.put(payload, claim),
    get: (reference) => sound.get(reference),
    delete: (reference) => sound.delete(reference),
    ...defect(sound, subject),
  });
  const { reopen } = subject;
  return {
    store: wrapped(subject.store),
    now: () => subject.now(),
    pass: (ms) => subject.pass(ms),
    close: () => subject.close(),
    ...(reopen && { reopen: async () => wrapped(await reopen()) }),
  };
}

/** Each with the case that must fail on it. */
export const storeDefects: Readonly<Record<string, { readonly defect: Defect; readonly failing: string }>> = {
  'loses the last byte': {
    defect: (sound) => ({ get: async (reference) => (await sound.get(reference))?.slice(0, -1) }),
    failing: 'gives back each payload as it was put, byte by byte',
  },
  'keeps the bytes of the caller': {
    defect: (sound) => {
      const kept = new Map<string, Uint8Array>();
      return {
        put: async (payload, claim) => {
          const reference = await sound.put(payload, claim);
          kept.set(reference, payload);
          return reference;
        },
        get: async (reference) => kept.get(reference),
      };
    },
    failing: 'keeps what was put, whatever becomes of the bytes it was given, or gave',
  },
  'rejects where nothing is': {
    defect: (sound) => ({
      get: async (reference) => {
        const found = await sound.get(reference);
        if (found === undefined) throw new Error('not found');
        return found;
      },
    }),
    failing: 'answers with nothing for what is not there, and for references of others',
  },
  'answers with something for every reference': {
    defect: (sound) => ({ get: async (reference) => (await sound.get(reference)) ?? new Uint8Array(0) }),
    failing: 'answers with nothing for what is not there, and for references of others',
  },
  'makes one claim of a message': {
    defect: (sound) => {
      const known = new Map<string, Promise<string>>();
      return {
        put: (payload, claim) => {
          const name = `${claim.messageId} ${Buffer.from(payload).toString('hex')}`;
          const reference = known.get(name) ?? sound.put(payload, claim);
          known.set(name, reference);
          return reference;
        },
      };
    },
    failing: 'makes a claim of its own of each call, of the same message and the same bytes too',
  },
  'deletes nothing': {
    defect: () => ({ delete: () => Promise.resolve() }),
    failing: 'deletes what is there, and does not mind where nothing is',
  },
  'deletes only what is there': {
    defect: (sound) => ({
      delete: async (reference) => {
        if ((await sound.get(reference)) === undefined) throw new Error('not found');
        await sound.delete(reference);
      },
    }),
    failing: 'deletes what is there, and does not mind where nothing is',
  },
  'lets go too early': {
    defect: (sound, subject) => ({ put: (payload, claim) => sound.put(payload, { ...claim, keepUntilMs: subject.now() + 7_200_000 }) }),
    failing: 'keeps a claim for its time, however much is put meanwhile',
  },
  'never lets go': {
    defect: (sound) => ({ put: (payload, claim: Claim) => sound.put(payload, { ...claim, keepUntilMs: 9_000_000_000_000 }) }),
    failing: 'has let go of a claim a day after its time, and tells of no other',
  },
  'lets go of all with the first': {
    defect: (sound, subject) => {
      let firstMs = Number.POSITIVE_INFINITY;
      return {
        put: (payload, claim) => {
          firstMs = Math.min(firstMs, claim.keepUntilMs);
          return sound.put(payload, claim);
        },
        get: (reference) => (subject.now() > firstMs ? Promise.resolve(undefined) : sound.get(reference)),
      };
    },
    failing: 'has let go of a claim a day after its time, and tells of no other',
  },
  'forgets with its process': {
    defect: (sound) => {
      const own = new Set<string>();
      return {
        put: async (payload, claim) => {
          const reference = await sound.put(payload, claim);
          own.add(reference);
          return reference;
        },
        get: (reference) => (own.has(reference) ? sound.get(reference) : Promise.resolve(undefined)),
      };
    },
    failing: 'has after the end of its process what it promised before',
  },
  'gives one claim to many at once': {
    defect: (sound) => {
      let underWay: Promise<string> | undefined;
      return {
        put: (payload, claim) => {
          underWay ??= sound.put(payload, claim).finally(() => (underWay = undefined));
          return underWay;
        },
      };
    },
    failing: 'keeps many at once apart',
  },
};

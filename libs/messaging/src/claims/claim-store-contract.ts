/** What every `ClaimStore` must do, as plain cases for any runner. */
import assert from 'node:assert/strict';
import type { Claim, ClaimStore } from './claim-store.js';

export interface ClaimStoreSubject {
  readonly store: ClaimStore;
  /** What the clock of the store says. */
  readonly now: () => number;
  /** Lets time pass for it. */
  readonly pass: (ms: number) => void;
  /** The same store after its process ended; nothing where it keeps nothing beyond that. */
  readonly reopen?: () => Promise<ClaimStore>;
  readonly close: () => Promise<void>;
}

export interface ClaimStoreCase {
  readonly name: string;
  /** Rejects where the store does not keep the contract. */
  readonly run: () => Promise<void>;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export function claimStoreContract(open: () => Promise<ClaimStoreSubject>): readonly ClaimStoreCase[] {
  return Object.entries(cases).map(([name, body]) => ({
    name,
    async run() {
      const subject = await open();
      try {
        await body(subject);
      } finally {
        await subject.close();
      }
    },
  }));
}

const cases: Readonly<Record<string, (subject: ClaimStoreSubject) => Promise<void>>> = {
  'gives back each payload as it was put, byte by byte': async (subject) => {
    const payloads = [new Uint8Array(0), Buffer.from('ünïcode\0'), patterned(1_000_003)];
    const references = await Promise.all(payloads.map((payload) => put(subject, payload)));
    for (const [index, reference] of references.entries()) await holds(subject.store, reference, payloads[index]!);
  },
  'keeps what was put, whatever becomes of the bytes it was given, or gave': async ({ store, ...subject }) => {
    const payload = patterned(1_000);
    const reference = await put({ store, ...subject }, payload);
    payload.fill(0);
    const given = await store.get(reference);
    await holds(store, reference, patterned(1_000));
    given?.fill(1);
    await holds(store, reference, patterned(1_000));
  },
  'answers with nothing for what is not there, and for references of others': async (subject) => {
    const reference = await put(subject, Buffer.from('here'));
    const others = [
      '',
      'https://example.com/claim',
      `${reference}0`,
      `${reference}/../x`,
      '../../etc/passwd',
      'claim:folder/../../etc/passwd',
    ];
    for (const other of others) assert.equal(await subject.store.get(other), undefined, `it has something at ${JSON.stringify(other)}`);
  },
  'makes a claim of its own of each call, of the same message and the same bytes too': async (subject) => {
    const [one, other] = [await put(subject, Buffer.from('same')), await put(subject, Buffer.from('same'))];
    assert.notEqual(one, other);
    await subject.store.delete(one);
    assert.equal(await subject.store.get(one), undefined, 'it has what was deleted');
    await holds(subject.store, other, Buffer.from('same'));
  },
  'deletes what is there, and does not mind where nothing is': async (subject) => {
    const reference = await put(subject, Buffer.from('gone'));
    for (const each of [reference, reference, 'https://example.com/claim']) await subject.store.delete(each);
    assert.equal(await subject.store.get(reference), undefined, 'it has what was deleted');
  },
  'keeps a claim for its time, however much is put meanwhile': async (subject) => {
    const reference = await put(subject, Buffer.from('kept'), DAY_MS);
    for (let hour = 0; hour < 23; hour++) {
      subject.pass(HOUR_MS);
      await put(subject, Buffer.from('other'), HOUR_MS);
    }
    await holds(subject.store, reference, Buffer.from('kept'));
  },
  'has let go of a claim a day after its time, and tells of no other': async (subject) => {
    const [short, long] = [await put(subject, Buffer.from('short'), HOUR_MS), await put(subject, Buffer.from('long'), 10 * DAY_MS)];
    subject.pass(HOUR_MS + DAY_MS);
    await put(subject, Buffer.from('next'));
    assert.equal(await subject.store.get(short), undefined, 'it has what was to be kept until yesterday');
    await holds(subject.store, long, Buffer.from('long'));
  },
  'has after the end of its process what it promised before': async (subject) => {
    if (subject.reopen === undefined) return;
    const [kept, deleted] = [await put(subject, patterned(10_000)), await put(subject, Buffer.from('deleted'))];
    await subject.store.delete(deleted);
    const again = await subject.reopen();
    await holds(again, kept, patterned(10_000));
    assert.equal(await again.get(deleted), undefined, 'it has what was deleted');
  },
  'keeps many at once apart': async (subject) => {
    const all = await Promise.all(Array.from({ length: 50 }, (_, index) => put(subject, Buffer.from(`payload ${index}`))));
    assert.equal(new Set(all).size, 50);
    for (const [index, reference] of all.entries()) await holds(subject.store, reference, Buffer.from(`payload ${index}`));
  },
};

function put({ store, now }: Pick<ClaimStoreSubject, 'store' | 'now'>, payload: Uint8Array, keepForMs = DAY_MS): Promise<string> {
  const claim: Claim = { messageId: 'm-1', type: 'orders.order-placed', contentType: 'application/json', keepUntilMs: now() + keepForMs };
  return store.put(payload, claim);
}

async function holds(store: ClaimStore, reference: string, payload: Uint8Array): Promise<void> {
  const found = await store.get(reference);
  assert.ok(found !== undefined, `it has nothing at ${reference}`);
  assert.ok(Buffer.from(found).equals(payload), `what it has at ${reference} is not what was put`);
}

function patterned(bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, index) => (index * 31) % 251);
}

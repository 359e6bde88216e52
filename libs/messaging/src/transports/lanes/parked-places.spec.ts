import { describe, expect, it } from '@jest/globals';
import { type Envelope, plainEvent } from '../../envelope.js';
import type { Parked } from '../../parking-store.js';
import { toProperties } from '../cloud-events.js';
import type { QueueDelivery } from './lane-driver.js';
import { type ParkedNote, type ReleaseNote, noteOn, noted } from './lane-notes.js';
import { ParkedPlaces } from './parked-places.js';

function envelope(id: string): Envelope {
  return {
    ...plainEvent,
    id,
    type: 'placed',
    source: 'test',
    time: undefined,
    key: 'o-1',
    version: 1,
    contentType: 'application/json',
    body: Buffer.alloc(0),
  };
}

function parked(sequence: number, state: Parked['state'], id = `m-${sequence}`): Parked {
  return { sequence, key: 'o-1', state, dueAtMs: undefined, envelope: envelope(id) };
}

/** A queue as it would be after a crash at any moment: what was published and not acknowledged, in whatever order it comes back. */
class Queue {
  readonly held = new Set<string>();
  readonly acknowledged: string[] = [];

  delivery(name: string, note: ParkedNote | ReleaseNote, id = 'm'): QueueDelivery {
    this.held.add(name);
    const acknowledge = (): void => {
      if (this.held.delete(name)) this.acknowledged.push(name);
    };
    return {
      properties: toProperties(noted(envelope(id), note)),
      routingKey: 'q',
      body: Buffer.alloc(0),
      isRedelivered: true,
      acknowledge,
    };
  }
}

function note(sequence: number, revision: number, state: Parked['state'], term = 'former'): ParkedNote {
  return { what: 'parked', sequence, key: 'o-1', state, dueAtMs: undefined, revision, term };
}

const released: ReleaseNote = { what: 'released', sequence: 1, key: 'o-1' };
const gone: ReleaseNote = { what: 'gone', sequence: 1, key: 'o-1' };

/** Places that publish into the queue, which delivers when told. */
function places(queue: Queue, isRefused: () => boolean = () => false) {
  const sent: { readonly envelope: Envelope; readonly note: ParkedNote }[] = [];
  const made = new ParkedPlaces('mine', (told, about) => {
    if (isRefused()) return Promise.reject(new Error('refused'));
    sent.push({ envelope: told, note: about });
    return Promise.resolve();
  });
  const deliverAll = (): void => {
    for (const { note: about } of sent.splice(0))
      made.receive(about, queue.delivery(`${about.sequence}/${about.revision}`, about, 'delivered'));
  };
  return { made, sent, deliverAll };
}

describe('what is parked in a lane', () => {
  it.each([
    ['the older first', [1, 2]],
    ['the newer first', [2, 1]],
  ])('counts by its newest revision where a crash left two, %s, and lets go of the other', (_name, order) => {
    const queue = new Queue();
    const { made } = places(queue);
    for (const revision of order)
      made.receive(note(1, revision, revision === 1 ? 'retry' : 'dead'), queue.delivery(`1/${revision}`, released));
    expect(made.restore(() => undefined).map(({ state }) => state)).toEqual(['dead']);
    expect(queue.acknowledged).toEqual(['1/1']);
  });

  it('lets go of the older revision only when the newer one is confirmed', async () => {
    const queue = new Queue();
    let isRefused = false;
    const { made, deliverAll } = places(queue, () => isRefused);
    made.restore(() => undefined);
    await made.park(parked(1, 'retry'));
    deliverAll();
    isRefused = true;
    await expect(made.update(parked(1, 'dead'))).rejects.toThrow('refused');
    expect(queue.acknowledged).toEqual([]);
    isRefused = false;
    await made.update(parked(1, 'dead'));
    expect(queue.acknowledged).toEqual(['1/1']);
    deliverAll();
    made.resolve(1);
    expect(queue.acknowledged).toEqual(['1/1', '1/3']);
    expect(queue.held.size).toBe(0);
  });

  it('lets go of what it resolved before it was delivered, when it is', async () => {
    const queue = new Queue();
    const { made, deliverAll } = places(queue);
    made.restore(() => undefined);
    await made.park(parked(1, 'retry'));
    made.resolve(1);
    deliverAll();
    expect(queue.acknowledged).toEqual(['1/1']);
  });

  it('passes over what a former member parks after the lane went: the message it came of was never acknowledged', () => {
    const queue = new Queue();
    const { made } = places(queue);
    made.receive(note(1, 1, 'retry'), queue.delivery('1/1', released));
    expect(made.restore(() => undefined)).toHaveLength(1);
    made.receive(note(1, 2, 'dead'), queue.delivery('1/2', released));
    made.receive(note(5, 1, 'retry'), queue.delivery('5/1', released));
    expect(queue.acknowledged).toEqual(['1/2', '5/1']);
    made.resolve(1);
    expect(queue.held.size).toBe(0);
  });

  it('lets go of a release last: without it what it released would wait again', async () => {
    for (const what of [released, gone]) {
      const queue = new Queue();
      const heard: unknown[] = [];
      const { made, deliverAll } = places(queue);
      made.restore((one) => heard.push(one.envelope?.id));
      await made.park(parked(1, 'dead'));
      deliverAll();
      made.receive(what, queue.delivery('release', what, 'edited'));
      made.receive(what, queue.delivery('once more', what, 'edited'));
      expect(heard).toEqual([what === gone ? undefined : 'edited']);
      made.resolve(1);
      expect(queue.acknowledged.filter((name) => name !== 'once more')).toEqual(['1/1', 'release']);
    }
  });

  it('keeps a release that comes while its owner writes without knowing of it', async () => {
    const queue = new Queue();
    const { made, deliverAll } = places(queue);
    const heard: unknown[] = [];
    made.restore((one) => heard.push(one.envelope?.id));
    await made.park(parked(1, 'dead'));
    deliverAll();
    const writing = made.update(parked(1, 'dead'));
    made.receive(released, queue.delivery('release', released, 'edited'));
    await writing;
    expect(heard).toEqual(['edited']);
    expect(queue.acknowledged).toEqual(['1/1']);
    await made.update(parked(1, 'retry'));
    expect(queue.acknowledged).toEqual(['1/1', 'release']);
  });

  it('finds what was released while nobody had the lane, wherever the release stands in the queue', () => {
    const queue = new Queue();
    const { made } = places(queue);
    made.receive(released, queue.delivery('release', released, 'edited'));
    made.receive(note(1, 3, 'dead'), queue.delivery('1/3', note(1, 3, 'dead')));
    const heard: unknown[] = [];
    expect(made.restore((one) => heard.push(one)).map(({ state, envelope: { id } }) => [state, id])).toEqual([['retry', 'edited']]);
    expect(heard).toEqual([]);
    expect(queue.acknowledged).toEqual([]);
  });

  it('does not apply a release to what was handled since and failed: it waits for its next attempt', () => {
    const queue = new Queue();
    const { made } = places(queue);
    made.receive(note(1, 1, 'dead'), queue.delivery('1/1', note(1, 1, 'dead')));
    made.receive(released, queue.delivery('release', released, 'edited'));
    made.receive(note(1, 2, 'retry'), queue.delivery('1/2', note(1, 2, 'retry'), 'later'));
    expect(made.restore(() => undefined).map(({ state, envelope: { id } }) => [state, id])).toEqual([['retry', 'later']]);
    expect(queue.acknowledged).toEqual(['1/1', 'release']);
  });
});

describe('a note', () => {
  it('is read as it was written, and what a stranger wrote is none', () => {
    for (const told of [note(7, 2, 'behind'), released, gone, { what: 'cornerstone' }, { what: 'end', term: 'a-1' }] as const)
      expect(noteOn(toProperties(noted(envelope('m'), told)))).toEqual(told);
    const wrong = ['', '{', '[]', 'null', '7', '{"what":"parked"}', '{"what":"end"}', '{"what":"released","sequence":"1","key":"k"}'];
    for (const text of wrong) expect(noteOn({ headers: { 'dovecote-parked': text } })).toBeUndefined();
    expect(noteOn({ headers: { 'dovecote-parked': 7 } })).toBeUndefined();
    expect(noteOn({})).toBeUndefined();
  });
});

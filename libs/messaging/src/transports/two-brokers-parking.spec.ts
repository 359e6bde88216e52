/** What waits behind its key goes to the broker that has the lane, also where both brokers call a lane the same. */
import { describe, expect, it } from '@jest/globals';
import type { Envelope } from '../envelope.js';
import type { ParkingStore } from '../parking-store.js';
import type { Incoming, Lane, Transport, TransportConsumer } from '../transport.js';
import { TwoBrokers } from './two-brokers.js';

const nothing = (): Promise<void> => Promise.resolve();

class OneLane {
  readonly lane: Lane = { id: 'lane.0', pause: () => undefined, resume: () => undefined };
  readonly #letters: Incoming[];

  constructor(
    private readonly name: string,
    private readonly heard: string[],
  ) {
    const parked = { lane: 'lane.0', sequence: 1 };
    this.#letters = [{ envelope: { id: name, trail: { death: { parked } } } as unknown as Envelope } as Incoming];
  }

  transport(): Transport {
    const store = {
      resolve: (_lane: Lane, sequence: number) => this.#hear(`resolves ${sequence}`),
      release: (_lane: string, { sequence }: { sequence: number }) => this.#hear(`releases ${sequence}`),
    } as unknown as ParkingStore;
    return {
      capabilities: { broker: this.name, can: {} },
      parkingStore: () => store,
      subscribe: async (_request: unknown, consumer: TransportConsumer) => {
        await consumer.assigned(this.lane);
        return { stop: nothing };
      },
      openBox: async () => ({ next: async () => this.#letters.shift(), close: nothing }),
    } as unknown as Transport;
  }

  #hear(what: string): Promise<void> {
    this.heard.push(`${this.name} ${what}`);
    return Promise.resolve();
  }
}

describe('what is parked on two brokers', () => {
  it('is found by the lane that was assigned, and by the dead letter that was looked at', async () => {
    const heard: string[] = [];
    const [events, commands] = [new OneLane('events', heard), new OneLane('commands', heard)];
    const both = new TwoBrokers(events.transport(), commands.transport());
    const consumer = { onMessage: () => undefined, assigned: nothing, revoked: nothing };
    await both.subscribe({ group: 'shop', sources: [], prefetch: 1 }, consumer);
    const store = both.parkingStore('shop');
    await store?.resolve(events.lane, 1);
    await store?.resolve(commands.lane, 2);
    const box = await both.openBox({ group: 'shop', box: 'dead-letters' });
    for (let one = await box.next(), sequence = 3; one !== undefined; one = await box.next(), sequence += 1)
      await store?.release('lane.0', { sequence, key: 'k', envelope: undefined });
    expect(heard).toEqual(['events resolves 1', 'commands resolves 2', 'events releases 3', 'commands releases 4']);
  });
});

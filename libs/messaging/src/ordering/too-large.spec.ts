/** Messages that a topic takes just so, and not with what their failures add to them: over Kafka, on our broker. */
import { afterEach, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { realGround } from '@dovecote/ground';
import type { ClaimCheckOptions } from '../claims/claim-check.js';
import { MemoryClaimStore } from '../claims/memory-claim-store.js';
import type { DeadLetter } from '../dead-letters.js';
import { contractOf } from '../delivery-contract.js';
import { plainEvent } from '../envelope.js';
import { isTooLarge } from '../errors.js';
import type { Log } from '../log.js';
import { Messaging } from '../messaging.js';
import { checkOptions } from '../options.js';
import type { Subscription } from '../subscription.js';
import { chooseTransport } from '../transports/choose-transport.js';
import { turn } from '../turn.js';

/** `max.message.bytes` of a topic. */
const BYTES_MAX = 1_048_588;
const lines: string[] = [];
const ends: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

/** A service whose handler fails on the first message that it is given; and that message, as large as its topic takes. */
async function failing(order: 'none' | 'key' | 'strict', claimCheck?: ClaimCheckOptions) {
  lines.length = 0;
  const broker = await Broker.open({ durability: 'memory', kafka: { port: 0, initialRebalanceDelayMs: 0 } });
  ends.push(() => broker.close());
  const note = (line: string): void => void lines.push(line);
  const log: Log = { info: note, warn: note, error: note };
  const url = `kafka://127.0.0.1:${broker.kafkaPort}`;
  const settings = checkOptions({ service: 'readers', broker: { url, kafka: { commitEveryMs: 50 } }, ...(claimCheck && { claimCheck }) });
  const transport = chooseTransport(settings, log);
  const messaging = new Messaging(settings, transport, log);
  ends.push(() => messaging.close());
  const place = 'Readers.read';
  const handled: string[] = [];
  let failures = 1;
  const subscription: Subscription = {
    kind: 'event',
    pattern: 'orders.placed',
    topic: undefined,
    messageClass: undefined,
    schema: undefined,
    contract: contractOf({ order, retry: { attempts: 3, backoff: 'delayed', firstMs: 10 } }, place),
    place,
    handle: (_event, { id }) => {
      failures -= 1;
      if (failures >= 0) return Promise.reject(new Error('down'));
      handled.push(id);
      return Promise.resolve();
    },
  };
  await messaging.start([subscription]);
  const publish = (id: string, bytes: number): Promise<void> => {
    const outside = { ...plainEvent, id, type: 'orders.placed', source: 'shop', time: undefined, key: 'o-1', version: 1 };
    const body = Buffer.from(JSON.stringify({ text: 'x'.repeat(bytes) }));
    return transport.publish({ ...outside, contentType: 'application/json', body }, Number.POSITIVE_INFINITY);
  };
  for (let bytes = BYTES_MAX - 200; ; bytes -= 16) {
    const refusal: unknown = await publish('m-0', bytes).catch((error: unknown) => error);
    if (refusal === undefined) break;
    expect(isTooLarge(refusal)).toBe(true);
  }
  const letters = async (): Promise<readonly DeadLetter[]> => {
    for (;;) {
      const found = await messaging.deadLetters.list();
      if (found.length > 0) return found;
    }
  };
  return { publish, handled, letters, deadLetters: messaging.deadLetters };
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await turn();
}

it.each(['none', 'key'] as const)(
  'a message that cannot be kept for its next attempt is a dead letter under order %s, which says where it stands',
  async (order) => {
    const { publish, handled, letters } = await failing(order);
    await publish('m-1', 0);
    await until(() => handled.includes('m-1'));
    const [letter] = await letters();
    expect(letter).toMatchObject({ id: 'm-0', key: 'o-1', death: { cause: 'too-large' } });
    expect(letter!.death!.reason).toMatch(
      /^its 10\d{5} bytes are too many for a dead letter, and stand at orders, partition \d+, offset 0, as long as they are kept there; The broker did not take/,
    );
    expect(letter!.body.byteLength).toBe(0);
    expect(lines.filter((line) => line.includes('trying again in')).length).toBe(0);
  },
);

it('holds its key until it is thrown away where the order is strict', async () => {
  const { publish, handled, letters, deadLetters } = await failing('strict');
  await publish('m-1', 0);
  expect((await letters())[0]).toMatchObject({ id: 'm-0', death: { cause: 'too-large', parked: { lane: expect.any(String) as unknown } } });
  expect(handled).toEqual([]);
  await deadLetters.purge();
  await until(() => handled.length === 1);
  expect(handled).toEqual(['m-1']);
});

it.each(['none', 'key', 'strict'] as const)('stays in the claim store where there is one, and is handled under order %s', async (order) => {
  const store = new MemoryClaimStore(realGround().clock);
  const { publish, handled, deadLetters } = await failing(order, { store, overBytes: 16 * 1024 * 1024 });
  await until(() => handled.includes('m-0'));
  await publish('m-1', 0);
  await until(() => handled.includes('m-1'));
  expect([handled, await deadLetters.list()]).toEqual([['m-0', 'm-1'], []]);
});

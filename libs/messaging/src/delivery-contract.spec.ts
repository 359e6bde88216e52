import { describe, expect, it } from '@jest/globals';
import { type DeliveryOptions, checkNeeds, contractOf, needsOf } from './delivery-contract.js';
import { MessagingError } from './errors.js';
import { Messaging } from './messaging.js';
import { checkOptions } from './options.js';
import type { Capability, PlannedThing, Transport, TransportCapabilities } from './transport.js';

const everything: TransportCapabilities['can'] = {
  'at-least-once': true,
  groups: true,
  durable: true,
  commands: true,
  'order-by-key': true,
  delay: true,
  'dead-letters': true,
  'delivery-counts': true,
  wildcards: true,
  'exclusive-boxes': true,
  'refused-strays': true,
  requests: true,
  replay: true,
};

function refusalOf(options: DeliveryOptions, lacking?: Capability, waysOut: readonly string[] = ['choose another broker']): string {
  const can = lacking === undefined ? everything : { ...everything, [lacking]: { waysOut } };
  try {
    checkNeeds('Notifications.notify', needsOf(contractOf(options, 'Notifications.notify')), { broker: 'the pigeon post', can });
    return '';
  } catch (error) {
    expect(error).toBeInstanceOf(MessagingError);
    return `${(error as MessagingError).code}: ${(error as MessagingError).message}`;
  }
}

describe('the delivery contract', () => {
  it('has a default for everything', () => {
    expect(contractOf({}, 'Notifications.notify')).toEqual({
      delivery: 'at-least-once',
      order: 'none',
      retry: { attempts: 5, backoff: 'exponential', firstMs: 1_000, maxMs: 60_000, fatal: [], byError: undefined },
      hasDeadLetters: true,
      timeoutMs: undefined,
      prefetch: undefined,
      concurrency: Number.POSITIVE_INFINITY,
      batch: undefined,
      rate: undefined,
      circuitBreaker: undefined,
      isDeduplicated: false,
    });
    expect(refusalOf({})).toBe('');
    expect(contractOf({ prefetch: 7 }, 'Notifications.notify')).toMatchObject({ prefetch: 7, concurrency: 7 });
  });

  it('that a broker cannot keep names the handler, the need, the broker and the ways out', () => {
    expect(refusalOf({ order: 'key' }, 'order-by-key', ["declare order 'none'", 'move to Kafka'])).toBe(
      "unsupported: Notifications.notify needs order 'key', which the pigeon post cannot give: either declare order 'none' or move to Kafka.",
    );
    expect(refusalOf({ order: 'strict' }, 'order-by-key')).toContain("needs order 'strict'");
    expect(refusalOf({}, 'at-least-once')).toContain("needs delivery 'at-least-once', which the pigeon post cannot give");
    expect(refusalOf({ delivery: 'at-most-once' }, 'at-least-once')).toBe('');
    expect(refusalOf({}, 'dead-letters')).toContain('needs dead letters, which');
    expect(refusalOf({ deadLetters: false }, 'dead-letters')).toBe('');
  });

  it('is refused as well where a broker has lanes, and nowhere to keep what waits', async () => {
    expect(await refusalAtStart({ order: 'key' })).toBe(
      "unsupported: Notifications.notify needs order 'key', and the pigeon post has nowhere to keep what waits for it: leave the order out, or use another broker.",
    );
  });

  it('is refused where a handler could never have what it takes at once', async () => {
    expect(await refusalAtStart({ prefetch: 101 })).toBe(
      'invalid-options: Notifications.notify asks for a prefetch of 101, and the service holds 100 messages at most: raise the prefetch of the module, or ask for less.',
    );
    expect(await refusalAtStart({ batch: { size: 101 } })).toBe(
      'invalid-options: Notifications.notify takes batches of 101, and the service holds 100 messages at most: raise prefetch, or make the batches smaller.',
    );
    expect(await refusalAtStart({ prefetch: 5, batch: { size: 6 } })).toBe(
      'invalid-options: Notifications.notify takes batches of 6, and its own prefetch is 5: raise prefetch, or make the batches smaller.',
    );
  });

  async function refusalAtStart(options: DeliveryOptions): Promise<string> {
    const done = (): Promise<void> => Promise.resolve();
    const plan = (): Promise<readonly PlannedThing[]> => Promise.resolve([]);
    const capabilities = { broker: 'the pigeon post', can: everything };
    const parts = { open: done, close: done, plan, parkingStore: () => undefined, capabilities };
    const transport = parts as unknown as Transport;
    const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
    const messaging = new Messaging(checkOptions({ service: 'notifications', broker: 'embedded:' }), transport, silent);
    const place = 'Notifications.notify';
    const contract = contractOf(options, place);
    const subject = { kind: 'event', pattern: 'placed', topic: undefined, messageClass: undefined, schema: undefined } as const;
    const refusal: unknown = await messaging
      .start([{ ...subject, contract, place, handle: () => Promise.resolve() }])
      .catch((error) => error);
    expect(refusal).toBeInstanceOf(MessagingError);
    return `${(refusal as MessagingError).code}: ${(refusal as MessagingError).message}`;
  }

  it('is refused where it makes no sense, by the name of the option', () => {
    const nonsense: readonly [options: DeliveryOptions, sentence: string][] = [
      [{ prefetch: 0 }, 'prefetch must be a whole number from 1 to 65535, not 0'],
      [
        { prefetch: 2, order: 'strict' },
        "what is read with order 'strict' comes in lanes, which all its handlers share: leave prefetch out",
      ],
      [{ concurrency: 0 }, 'concurrency must be a whole number from 1, not 0'],
      [{ retry: { attempts: 0 } }, 'retry.attempts must be a whole number from 1 to 1000, not 0'],
      [{ retry: { firstMs: 5_000, maxMs: 10 } }, 'retry.maxMs must be a whole number from 5000'],
      [{ retry: { backoff: 'eager' as never } }, "retry.backoff must be one of 'immediate', 'delayed', 'exponential', not \"eager\""],
      [{ order: 'random' as never }, "order must be one of 'none', 'key', 'strict'"],
      [{ timeoutMs: 2 ** 31 }, 'timeoutMs must be a whole number from 1 to 2147483647'],
      [{ batch: { size: 0 } }, 'batch.size must be a whole number from 1 to 10000'],
      [{ rate: { count: 1, perMs: 0 } }, 'rate.perMs must be'],
      [{ circuitBreaker: { failures: 1.5, restMs: 1 } }, 'circuitBreaker.failures must be'],
      [
        { delivery: 'at-most-once', order: 'key' },
        "what is handed out at most once is gone where it fails, so there is no order 'key' to keep",
      ],
      [{ batch: { size: 2 }, order: 'key' }, "a batch cannot keep the order 'key'"],
    ];
    for (const [options, sentence] of nonsense) expect(refusalOf(options)).toContain(`invalid-options: Notifications.notify: ${sentence}`);
  });
});

/** Payloads that are too large to travel, as an application meets them: over each transport on our broker, with a store in memory. */
import { afterEach, describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { realGround } from '@dovecote/ground';
import { Injectable, Logger, type Type } from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';
import {
  type Claim,
  type ClaimStore,
  CommandMessage,
  DeadLetters,
  DovecoteModule,
  EventMessage,
  Handle,
  MemoryClaimStore,
  type Message,
  type MessagingOptions,
  Publisher,
  Subscribe,
} from '../index.js';
import { JumpingClock } from '../transports/kafka/jumping-clock.js';
import { turn } from '../turn.js';

@EventMessage('reports.report-written')
class ReportWritten {
  constructor(
    readonly title: string,
    readonly text: string,
  ) {}
}

@EventMessage('reports.page-printed')
class PagePrinted {
  constructor(readonly text: string) {}
}

@CommandMessage('reports.print-report')
class PrintReport {
  constructor(readonly text: string) {}
}

@Injectable()
class Reports {
  readonly written: ReportWritten[] = [];
  readonly messages: Message[] = [];
  readonly pages: PagePrinted[] = [];

  @Subscribe(ReportWritten, { retry: { attempts: 2, firstMs: 50, backoff: 'delayed' }, timeoutMs: 1_000 })
  read(event: ReportWritten, message: Message): void {
    this.messages.push(message);
    if (event.title === 'flaky' && message.attempt === 1) throw new Error('not yet');
    this.written.push(event);
  }

  @Subscribe(PagePrinted, { batch: { size: 3, lingerMs: 50 }, retry: { attempts: 1 } })
  collect(events: PagePrinted[]): void {
    this.pages.push(...events);
  }

  @Handle(PrintReport)
  print({ text }: PrintReport): { length: number } {
    return { length: text.length };
  }
}

const clock = new JumpingClock();
const closing: (() => Promise<unknown>)[] = [];

/** A store that tells what it was asked, and that may be away. */
class WatchedStore implements ClaimStore {
  readonly claims: Claim[] = [];
  readonly references: string[] = [];
  readonly deleted: string[] = [];
  isAway = false;
  silentTo: 'get' | 'put' | undefined;
  readonly #sound = new MemoryClaimStore(clock);

  async put(payload: Uint8Array, claim: Claim): Promise<string> {
    if (this.silentTo === 'put') await new Promise(() => undefined);
    if (this.isAway) throw new Error('the store is away');
    this.claims.push(claim);
    const reference = await this.#sound.put(payload, claim);
    this.references.push(reference);
    return reference;
  }

  get(reference: string): Promise<Uint8Array | undefined> {
    if (this.silentTo === 'get') return new Promise(() => undefined);
    return this.isAway ? Promise.reject(new Error('the store is away')) : this.#sound.get(reference);
  }

  delete(reference: string): Promise<void> {
    this.deleted.push(reference);
    return this.#sound.delete(reference);
  }
}

const openers: Readonly<Record<string, () => Promise<MessagingOptions['broker']>>> = {
  embedded: async () => ({ broker: await open({}) }),
  amqp: async () => `amqp://guest:guest@127.0.0.1:${(await open({ amqp: { port: 0 } })).amqpPort}`,
  kafka: async () => `kafka://127.0.0.1:${(await open({ kafka: { port: 0 } })).kafkaPort}`,
};

async function open(doors: Parameters<typeof Broker.open>[0]): Promise<Broker> {
  const broker = await Broker.open({ ...doors, durability: 'memory', ground: { ...realGround(), clock } });
  closing.push(() => broker.close());
  return broker;
}

async function start(
  broker: MessagingOptions['broker'],
  store: ClaimStore | undefined,
  more: Partial<MessagingOptions> = {},
): Promise<TestingModule> {
  const claimCheck = store === undefined ? {} : { claimCheck: { store, overBytes: 1_000, retentionMs: 600_000 } };
  const options: MessagingOptions = { service: 'reports', broker, ground: { ...realGround(), clock }, ...claimCheck, ...more };
  const providers: Type[] = options.service === 'reports' ? [Reports] : [];
  const app = await Test.createTestingModule({ imports: [DovecoteModule.forRoot(options)], providers }).compile();
  app.useLogger(false);
  await app.init();
  closing.push(() => app.close());
  return app;
}

async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  for (let turns = 0; !(await isTrue()); turns++) {
    if (turns > 20_000) throw new Error('what the test waits for did not happen');
    if (turns > 1_000) clock.jump(10);
    await turn();
  }
}

async function letters(app: TestingModule, count: number): Promise<readonly string[]> {
  let found: readonly string[] = [];
  await until(async () => {
    found = (await app.get(DeadLetters).list()).map(({ death }) => `${death?.cause}: ${death?.reason}`);
    return found.length >= count;
  });
  return found;
}

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  Logger.overrideLogger(false);
});

const large = 'x'.repeat(5_000);

describe.each(Object.keys(openers))('a large payload, over %s', (kind) => {
  it('is in the store before its message goes, and the handler is given it as any, at each attempt', async () => {
    const store = new WatchedStore();
    const app = await start(await openers[kind]!(), store);
    const { written, messages } = app.get(Reports);
    await app.get(Publisher).publish(new ReportWritten('large', large), { id: 'm-1' });
    await app.get(Publisher).publish(new ReportWritten('small', 'x'));
    await app.get(Publisher).publish(new ReportWritten('flaky', large));
    await until(() => written.length === 3);
    expect(written.toSorted((one, other) => (one.title < other.title ? -1 : 1))).toEqual([
      new ReportWritten('flaky', large),
      new ReportWritten('large', large),
      new ReportWritten('small', 'x'),
    ]);
    expect(messages.filter(({ attempt }) => attempt === 2)).toHaveLength(1);
    expect(messages).toHaveLength(4);
    expect(store.claims.map(({ messageId, type, contentType }) => [messageId, type, contentType])[0]).toEqual([
      'm-1',
      'reports.report-written',
      'application/json',
    ]);
    expect(store.references).toHaveLength(2);
    const pages = Array.from({ length: 3 }, (_, index) => new PagePrinted(`${index}`.repeat(2_000)));
    await Promise.all(pages.map((page) => app.get(Publisher).publish(page)));
    await until(() => app.get(Reports).pages.length === 3);
    expect(new Set(app.get(Reports).pages.map(({ text }) => text))).toEqual(new Set(pages.map(({ text }) => text)));
    expect(app.get(Reports).pages[0]).toBeInstanceOf(PagePrinted);
    expect(await app.get(Publisher).request(new PrintReport(large))).toEqual({ length: 5_000 });
  });

  it('that cannot be fetched is tried again, is a dead letter then, and is there again when the store is', async () => {
    const store = new WatchedStore();
    const app = await start(await openers[kind]!(), store);
    await app.get(Publisher).publish(new ReportWritten('large', large));
    await until(() => app.get(Reports).written.length === 1);
    const [reference] = store.references;
    await store.delete(reference!);
    await app.get(Publisher).publish(new ReportWritten('flaky', large));
    store.isAway = true;
    const [sentence] = await letters(app, 1);
    const second = store.references[1]!;
    expect(sentence).toBe(`attempts: its payload at ${second} could not be fetched: the store is away`);
    const [letter] = await app.get(DeadLetters).list();
    expect([letter!.dataRef, letter!.body.byteLength, letter!.history.length]).toEqual([second, 0, 2]);
    store.isAway = false;
    expect(await app.get(DeadLetters).payload(letter!)).toEqual({ title: 'flaky', text: large });
    await app.get(DeadLetters).redrive();
    await until(() => app.get(Reports).written.length === 2);
  });
});

describe('a large payload', () => {
  it('that is gone from the store is a dead letter whose sentence says why, and can be mended', async () => {
    const store = new WatchedStore();
    const broker = await openers['embedded']!();
    const shop = await start(broker, store, { service: 'shop' });
    const app = await start(broker, new MemoryClaimStore(clock));
    await shop.get(Publisher).publish(new ReportWritten('large', large), { id: 'm-1' });
    expect(await letters(app, 1)).toEqual([
      `attempts: its payload is not at ${store.references[0]}: its time there is over, somebody deleted it, or the claim store of this service is not that of its publisher`,
    ]);
    await app.get(DeadLetters).resend('m-1', { title: 'short', text: 'x' });
    await until(() => app.get(Reports).written.length === 1);
    expect(app.get(Reports).written).toEqual([new ReportWritten('short', 'x')]);
  });

  it('that the store never answers for fails within the time of the handler, of a batch within that of the store', async () => {
    const store = new WatchedStore();
    const app = await start(await openers['embedded']!(), store);
    store.silentTo = 'get';
    await app.get(Publisher).publish(new PagePrinted(large));
    await app.get(Publisher).publish(new ReportWritten('large', large));
    expect(await letters(app, 1)).toEqual(['attempts: it was not done within 1000 ms']);
    const sentences = (await letters(app, 2)).join();
    expect(sentences).toContain('could not be fetched: the store did not answer within 30000 ms');
    store.silentTo = 'put';
    const late = app.get(Publisher).publish(new ReportWritten('large', large));
    let refusal: unknown;
    late.catch((error: unknown) => (refusal = error));
    await until(() => refusal !== undefined);
    await expect(late).rejects.toMatchObject({ code: 'publish-refused' });
  });

  it('is unreadable to a service without a store', async () => {
    const store = new WatchedStore();
    const broker = await openers['embedded']!();
    const shop = await start(broker, store, { service: 'shop' });
    const app = await start(broker, undefined);
    await shop.get(Publisher).publish(new ReportWritten('large', large));
    expect(await letters(app, 1)).toEqual([
      `unreadable: its payload is kept at ${store.references[0]}, and this service has no claim store: give the module the claimCheck of its publisher`,
    ]);
  });

  it('is kept from the moment on at which its message may be handled', async () => {
    const store = new WatchedStore();
    const app = await start(await openers['embedded']!(), store);
    const beforeMs = clock.now();
    await app.get(Publisher).publish(new ReportWritten('large', large), { delayMs: 86_400_000 });
    const keptForMs = store.claims[0]!.keepUntilMs - beforeMs;
    expect(keptForMs).toBeGreaterThanOrEqual(87_000_000);
    expect(keptForMs).toBeLessThan(87_100_000);
  });

  it('that the store does not take is not published, and one whose message goes nowhere does not stay', async () => {
    const store = new WatchedStore();
    const broker = await openers['embedded']!();
    const shop = await start(broker, store, { service: 'shop' });
    await expect(shop.get(Publisher).send(new PrintReport(large))).rejects.toMatchObject({ code: 'nobody-there' });
    expect(store.deleted).toEqual(store.references);
    store.isAway = true;
    await expect(shop.get(Publisher).publish(new ReportWritten('large', large), { id: 'm-1' })).rejects.toMatchObject({
      code: 'publish-refused',
      retryable: true,
      message: 'reports.report-written m-1 was not published: the claim store did not take its 5027 bytes (the store is away).',
    });
    await expect(shop.get(Publisher).publish(new ReportWritten('small', 'x'))).resolves.toBeUndefined();
  });

  it('stops the start where there is no store to keep it in', async () => {
    const claimCheck = { store: {} as ClaimStore };
    await expect(start(await openers['embedded']!(), undefined, { claimCheck })).rejects.toThrow('claimCheck.store must be a ClaimStore');
  });
});

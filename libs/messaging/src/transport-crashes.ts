/**
 * What must hold on every transport when a member dies: the life of a message is cut before and after each of its steps, and another member takes over.
 *
 *   delivered ─▶ handler started ─▶ handler ended ─┬─────────────── fulfilled ───────────────────────▶ acknowledged
 *                                                  └ failed ─▶ published on (retry, dead letter) ─▶ confirmed ─▶ acknowledged
 *
 * The first member is a whole service (messaging.ts) that dies at one of these points: from there on it sends nothing, and hears nothing. In each case the
 * message is handled, or is a dead letter, at least once and at most twice, as docs/guarantees.md says.
 */
import assert from 'node:assert/strict';
import { type ContractCase, contractCase } from './contract-case.js';
import { contractOf } from './delivery-contract.js';
import type { Log } from './log.js';
import { Messaging } from './messaging.js';
import { checkOptions } from './options.js';
import type { Subscription } from './subscription.js';
import type { Bench } from './transport-bench.js';
import type { TransportSubject } from './transport-contract.js';
import type { Box, Incoming, Transport } from './transport.js';
import { turn } from './turn.js';

/** What becomes of the message where nobody dies. */
const ways = {
  'whose handler is done with it': { fails: 0, fatal: false },
  'that is tried again': { fails: 1, fatal: false },
  'that is a dead letter': { fails: 2, fatal: true },
} as const;

type Way = (typeof ways)[keyof typeof ways];

/** Where the first member dies. The last five only where the message is published on. */
const moments = [
  'before it takes the message',
  'when its handler has begun',
  'when its handler has ended',
  'before it acknowledges',
  'when it has acknowledged',
  'before it publishes the message on',
  'when that was sent',
  'when that was confirmed',
] as const;

type Moment = (typeof moments)[number];
const onlyWherePublished: ReadonlySet<Moment> = new Set(moments.slice(5));

/** A copy of what was published on, and the one that came again because nobody acknowledged it. */
const TIMES_MAX = 2;
const RETRY_MS = 100;
const PASS_MS = 250;

/** After `passesMax` steps of time without an end the message counts as lost; where none are given, whoever runs the case decides how long it may take. */
export function transportCrashes(open: () => Promise<TransportSubject>, passesMax = Number.POSITIVE_INFINITY): readonly ContractCase[] {
  return Object.entries(ways).flatMap(([title, way]) =>
    moments
      .filter((moment) => way.fails > 0 || !onlyWherePublished.has(moment))
      .map((moment) =>
        contractCase(`loses no message ${title} when a member dies ${moment}`, open, (bench) => survives(bench, way, moment, passesMax)),
      ),
  );
}

async function survives(bench: Bench, way: Way, moment: Moment, passesMax: number): Promise<void> {
  const death = new Death(bench.subject, moment);
  const services: Messaging[] = [];
  const count = { begun: 0, done: 0 };
  const handle = async (failures: number): Promise<void> => {
    count.begun += 1;
    if (failures < way.fails) throw Object.assign(new Error('not this time'), { retryable: !way.fatal });
    count.done += 1;
  };
  const mortal = async (failures: number): Promise<void> => {
    await death.at('when its handler has begun');
    try {
      await handle(failures);
    } finally {
      await death.at('when its handler has ended');
    }
  };
  try {
    const sender = await bench.open();
    services.push(await serve(bench, death.of(await bench.open()), mortal));
    await bench.send(sender, { ...bench.envelope('placed', '{}'), key: 'order-7' });
    await death.happened;
    services.push(await serve(bench, await bench.open(), handle));
    const deadLetters = (): Promise<string[]> => bench.look(sender, bench.box('readers', 'dead-letters'), () => false);
    const timesEnded = async (): Promise<number> => (way.fatal ? (await deadLetters()).length : count.done);
    await passUntil(bench, async () => (await timesEnded()) > 0, passesMax);
    // What comes twice comes soon after the first.
    for (let passes = 0; passes < 4; passes++) await bench.subject.pass(PASS_MS);
    const times = await timesEnded();
    assert.ok(times <= TIMES_MAX, `it ended ${times} times, and ${TIMES_MAX} are promised at most`);
    const calls = TIMES_MAX * (way.fatal ? 1 : way.fails + 1);
    assert.ok(count.begun <= calls, `its handler was called ${count.begun} times, and ${calls} are promised at most`);
    if (!way.fatal) assert.deepEqual(await deadLetters(), [], 'it is among the dead letters although its handler was done with it');
  } finally {
    for (const service of services) await service.close();
  }
}

async function passUntil(bench: Bench, isTrue: () => Promise<boolean>, passesMax: number): Promise<void> {
  for (let passes = 0; !(await isTrue()); passes++) {
    assert.ok(passes < passesMax, 'the message was lost');
    await bench.subject.pass(PASS_MS);
    await turn();
  }
}

/** A service of the group with one handler, which is told how often it failed before. */
async function serve(bench: Bench, transport: Transport, handle: (failures: number) => Promise<void>): Promise<Messaging> {
  const service = bench.subject.unique('readers');
  const retry = { attempts: 5, backoff: 'delayed', firstMs: RETRY_MS } as const;
  const subscription: Subscription = {
    kind: 'event',
    pattern: bench.subject.unique('placed'),
    topic: undefined,
    messageClass: undefined,
    takesAny: true,
    schema: undefined,
    contract: contractOf({ retry }, 'Readers.read'),
    place: 'Readers.read',
    handle: (_event, message) => handle(message.attempt - 1),
  };
  const settings = checkOptions({ service, broker: 'embedded:', drainTimeoutMs: 0, abortGraceMs: 0 });
  const messaging = new Messaging(settings, transport, silent);
  await messaging.start([subscription], false);
  return messaging;
}

/** Ends a member at one moment of its message's life: nothing it does from then on leaves it, and nothing reaches it. */
class Death {
  readonly happened: Promise<void>;
  #happen: (crashed: Promise<void>) => void = ignore;
  #transport: Transport | undefined;
  #isDead = false;

  constructor(
    private readonly subject: TransportSubject,
    private readonly moment: Moment,
  ) {
    this.happened = new Promise((resolve) => (this.#happen = resolve));
  }

  /** Where this is the moment, or it is over, the member's code goes no further. */
  at(moment: Moment): Promise<void> {
    if (moment === this.moment) this.#die();
    return this.#isDead ? never() : Promise.resolve();
  }

  of(transport: Transport): Transport {
    this.#transport = transport;
    return {
      capabilities: transport.capabilities,
      open: () => Promise.resolve(),
      plan: (request) => transport.plan(request),
      openReplies: (onReply) => transport.openReplies(onReply),
      openBox: (box: Box) => transport.openBox(box),
      parkingStore: (group) => transport.parkingStore(group),
      close: () => transport.close(),
      publish: async (envelope, deadlineMs, route) => {
        await this.at('before it publishes the message on');
        const confirmed = transport.publish(envelope, deadlineMs, route);
        confirmed.catch(() => undefined);
        if (this.moment === 'when that was sent') await turn();
        await this.at('when that was sent');
        await confirmed;
        await this.at('when that was confirmed');
      },
      subscribe: (request, consumer) =>
        transport.subscribe(request, {
          onMessage: (incoming) => {
            if (!this.#isDead && this.moment === 'before it takes the message') this.#die();
            if (!this.#isDead) consumer.onMessage(this.#mortal(incoming));
          },
          assigned: (lane) => consumer.assigned(lane),
          revoked: (lane, isLost) => consumer.revoked(lane, isLost),
        }),
    };
  }

  #mortal(incoming: Incoming): Incoming {
    return {
      envelope: incoming.envelope,
      isRedelivered: incoming.isRedelivered,
      deliveries: incoming.deliveries,
      isQuarantined: incoming.isQuarantined,
      lane: incoming.lane,
      isTakenBack: incoming.isTakenBack,
      acknowledge: () => {
        if (!this.#isDead && this.moment === 'before it acknowledges') this.#die();
        if (this.#isDead) return;
        incoming.acknowledge();
        if (this.moment === 'when it has acknowledged') this.#die();
      },
      release: () => {
        if (!this.#isDead) incoming.release();
      },
    };
  }

  #die(): void {
    if (this.#isDead || this.#transport === undefined) return;
    this.#isDead = true;
    this.#happen(this.subject.crash(this.#transport));
  }
}

function never(): Promise<never> {
  return new Promise(() => undefined);
}

const silent: Log = { info: ignore, warn: ignore, error: ignore };

function ignore(): void {}

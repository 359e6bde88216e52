/**
 * An application of NestJS in a test, on a broker of its own in memory, with time that the test moves.
 *
 *   harness.start(builder) ─▶ the application, as it is, on the harness's broker and time
 *   published, handled, retried, deadLettered ─▶ wait until it happened, or say what did happen instead
 *   given(…).when(…) ─▶ one message handed over, and all that came of it
 *
 * While something is waited for and nothing is left to do, time goes on by itself: retries and delays take no time. Nothing survives `stop`.
 */
import { Broker } from '@dovecote/broker';
import { RealClock, realGround } from '@dovecote/ground';
import { Messaging, messageDefinitionOf, messagingOf, messagingOver } from '@dovecote/messaging/testing';
import { Outcome, typeOf, whatHappened } from './outcome.js';
import { type Fact, Record } from './record.js';
import { VirtualClock } from './virtual-clock.js';

export interface HarnessOptions {
  /** How long anything is waited for while handlers are at work, in milliseconds of real time; 2,000. */
  readonly withinMs?: number;
  /** How far time goes on by itself for one thing that is waited for, in milliseconds; an hour. */
  readonly aheadMs?: number;
}

/** `Test.createTestingModule({ … })`. */
export interface TestingBuilder<App extends TestedApp> {
  overrideProvider(token: unknown): { useFactory(how: ReturnType<typeof messagingOver>): unknown };
  compile(): Promise<App>;
}

interface TestedApp {
  init(): Promise<unknown>;
  close(): Promise<void>;
}

type MessageClass<M extends object> = new (...args: never[]) => M;
type HandlerClass<H extends object> = new (...args: never[]) => H;
type MethodOf<H extends object> = keyof H & string;

/** Turns without anything new after which nothing is left to do. */
const QUIET_TURNS = 25;

/** Starts a broker in memory, within some milliseconds, and an application on it by `start`. */
export async function startHarness(options: HarnessOptions = {}): Promise<Harness> {
  const clock = new VirtualClock();
  const ground = { ...realGround(), clock };
  const broker = await Broker.open({ durability: 'memory', ground });
  const sender = messagingOf({ service: 'test', broker: { broker }, ground, telemetry: false }, silent);
  await sender.start([]);
  return new Harness(broker, clock, sender, options);
}

export class Harness {
  readonly #real = new RealClock();
  readonly #record = new Record();
  readonly #apps: TestedApp[] = [];
  #handedOver = 0;

  constructor(
    /** What is in it: `broker.inspect()`. */
    readonly broker: Broker,
    private readonly clock: VirtualClock,
    private readonly sender: Messaging,
    private readonly options: HarnessOptions,
  ) {}

  /** Everything that the application did with messages, in order. */
  get facts(): readonly Fact[] {
    return this.#record.facts;
  }

  /** Publishes, sends and asks from outside the application: what it does is not among the facts. */
  get publisher(): Messaging['publisher'] {
    return this.sender.publisher;
  }

  /** Starts the application with its own options, but for broker and time. It ends with `stop`. */
  async start<App extends TestedApp>(builder: TestingBuilder<App>): Promise<App> {
    if (typeof builder.overrideProvider !== 'function')
      throw new TypeError('harness.start takes what Test.createTestingModule answers, before compile(), and starts the application itself');
    const ground = { ...realGround(), clock: this.clock };
    let isOnHarness = false;
    const onHarness = messagingOver((options) => {
      isOnHarness = true;
      return { ...options, broker: { broker: this.broker }, ground };
    }, this.#record);
    builder.overrideProvider(Messaging).useFactory(onHarness);
    const app = await builder.compile();
    if (!isOnHarness) {
      throw new Error(
        'The application has no DovecoteModule, so the harness has nothing to put its broker in: add DovecoteModule.forRoot to its imports',
      );
    }
    this.#apps.push(app);
    await app.init();
    return app;
  }

  /** Resolves to the event, command or query that the application published: the first that `matches`. */
  async published<M extends object>(messageClass: MessageClass<M>, matches: (message: M) => boolean = () => true): Promise<M> {
    const type = typeOf(messageClass.prototype as object);
    const revived = ({ payload }: Fact): M => Object.assign(Object.create(messageClass.prototype as object) as M, payload);
    const fact = await this.#find(
      `No ${messageClass.name} was published${matches.length > 0 ? ' that matches' : ''}`,
      (one) => one.what === 'published' && one.type === type && matches(revived(one)),
    );
    return revived(fact);
  }

  /** Resolves when this method has handled a message to its end. */
  handled<H extends object>(handler: HandlerClass<H>, method: MethodOf<H>): Promise<Fact> {
    const place = `${handler.name}.${method}`;
    return this.#find(`${place} has handled nothing`, (one) => one.what === 'handled' && one.place === place);
  }

  /** Resolves when this method, or any, has failed on a message that comes again. */
  retried<H extends object>(handler?: HandlerClass<H>, method?: MethodOf<H>): Promise<Fact> {
    const place = handler && `${handler.name}.${method}`;
    const isIt = (one: Fact): boolean => one.what === 'retried' && (place === undefined || one.place === place);
    return this.#find(place === undefined ? 'Nothing was retried' : `${place} has retried nothing`, isIt);
  }

  /** Resolves when a message of this class, or any, is among the dead letters. */
  deadLettered(messageClass?: MessageClass<object>): Promise<Fact> {
    const type = messageClass && typeOf(messageClass.prototype as object);
    const isIt = (one: Fact): boolean => one.what === 'dead-lettered' && (type === undefined || one.type === type);
    return this.#find(`No ${messageClass?.name ?? 'message'} is among the dead letters`, isIt);
  }

  /** Messages that come first: each is handed over, and must be handled without a failure. */
  given(...before: readonly object[]): { when(message: object): Promise<Outcome> } {
    return { when: (message) => this.#when(before, message) };
  }

  when(message: object): Promise<Outcome> {
    return this.#when([], message);
  }

  /** Lets so much time pass; what becomes due meanwhile is done, and what comes of it. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.clock.monotonicMs() + ms;
    do await this.quiet();
    while (this.clock.step(untilMs));
  }

  /** Resolves when nothing is left to do without time going on. */
  quiet(): Promise<void> {
    return this.#quiet(this.#real.monotonicMs() + this.#withinMs);
  }

  /** What happened so far is forgotten. */
  forget(): void {
    this.#record.facts.length = 0;
  }

  /** Ends the applications and the broker; handlers that do not end are waited for once, in real time. */
  async stop(): Promise<void> {
    const deadlineMs = this.#real.monotonicMs() + this.#withinMs;
    for (const app of this.#apps.splice(0)) await this.#driven(app.close(), deadlineMs);
    await this.#driven(this.sender.close(), deadlineMs);
    await this.broker.close();
  }

  /** Handlers that do not end are waited for until then, in real time. */
  async #quiet(deadlineMs: number): Promise<void> {
    let seen = -1;
    for (let turns = 0; turns < QUIET_TURNS; turns++) {
      const isBusy = this.facts.length !== seen || this.#record.underWay > 0;
      if (isBusy && this.#real.monotonicMs() < deadlineMs) turns = 0;
      seen = this.facts.length;
      await new Promise<void>((resolve) => this.#real.defer(resolve));
    }
  }

  /** A sentence about a handler that did not end within its real time. */
  #unfinished(): string | undefined {
    const [one] = this.#record.running.values();
    return one && `${one.place} is still at work on ${one.type} ${one.id} after ${this.#withinMs} ms of real time`;
  }

  get #withinMs(): number {
    return this.options.withinMs ?? 2_000;
  }

  async #when(before: readonly object[], message: object): Promise<Outcome> {
    for (const [index, one] of before.entries()) {
      const { facts, id } = await this.#handOver(one);
      const failure = facts.find((fact) => fact.id === id && fact.what !== 'handled');
      if (failure === undefined) continue;
      throw new Error(`What was given as number ${index + 1} was not handled well. ${whatHappened(facts)}`);
    }
    const { facts, id, answer } = await this.#handOver(message);
    const isHandled = facts.some((fact) => fact.id === id && fact.what === 'handled');
    return new Outcome(id, facts, isHandled ? await answer : undefined);
  }

  async #handOver(message: object): Promise<{ readonly id: string; readonly facts: readonly Fact[]; readonly answer: Promise<unknown> }> {
    const type = typeOf(message);
    if (this.#apps.length === 0) throw new Error('No application was started: harness.start(Test.createTestingModule({ … })) comes first');
    const mark = this.facts.length;
    const id = `given-${++this.#handedOver}`;
    const isEvent = messageDefinitionOf(message.constructor)?.kind === 'event';
    const answer: Promise<unknown> = isEvent
      ? this.publisher.publish(message, { id })
      : this.publisher.request(message, { id, timeoutMs: LONG_MS });
    let refusal: unknown;
    answer.catch((error: unknown) => (refusal = error));
    await this.quiet();
    const facts = this.facts.slice(mark);
    if (facts.some((fact) => fact.id === id)) return { id, facts, answer };
    if (refusal !== undefined) throw refusal as Error;
    throw new Error(this.#unfinished() ?? `Nobody has handled ${type} ${id}. ${whatHappened(facts)}`);
  }

  async #find(failure: string, isIt: (fact: Fact) => boolean): Promise<Fact> {
    const untilMs = this.clock.monotonicMs() + (this.options.aheadMs ?? AHEAD_MS);
    const deadlineMs = this.#real.monotonicMs() + this.#withinMs;
    for (let isGoingOn = true; ;) {
      await this.quiet();
      const fact = this.facts.find(isIt);
      if (fact !== undefined) return fact;
      if (!isGoingOn || this.#real.monotonicMs() >= deadlineMs) {
        const unfinished = this.#unfinished();
        throw new Error(`${failure}${unfinished === undefined ? '' : `: ${unfinished}`}. ${whatHappened(this.facts)}`);
      }
      isGoingOn = this.clock.nextDueMs !== undefined && this.clock.nextDueMs <= untilMs && this.clock.step(untilMs);
    }
  }

  /** An end may wait for time to go on. */
  async #driven(work: Promise<void>, deadlineMs: number): Promise<void> {
    let isOver = false;
    const over = work.finally(() => (isOver = true));
    over.catch(() => undefined);
    for (; !isOver; await this.#quiet(deadlineMs)) this.clock.step(this.clock.nextDueMs ?? 0);
    await over;
  }
}

const AHEAD_MS = 3_600_000;
const LONG_MS = 2_000_000_000;

const silent = { info: nothing, warn: nothing, error: nothing };

function nothing(): void {}

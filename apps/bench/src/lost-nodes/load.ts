/**
 * A service that publishes at a steady pace and two members of one that handles, over a Kafka cluster, in this process: what was confirmed, what was handled
 * and how often, and how long each of the two stood still. Knows nothing of nodes.
 */
import 'reflect-metadata';
import { setTimeout as pass } from 'node:timers/promises';
import { type INestApplicationContext, Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { type BrokerOptions, DovecoteModule, EventMessage, Publisher, Subscribe } from '@dovecote/messaging';

export interface LoadOptions {
  /** `kafka://host:port,host:port`. */
  readonly url: string;
  /** Of the topics: replicas, and how many of them a confirmed message is in. */
  readonly replicas: number;
  readonly inSync: number;
  readonly perSecond: number;
}

export interface LoadOutcome {
  readonly published: number;
  readonly confirmed: number;
  /** Rejected: it may have arrived or not, and whoever published was told. */
  readonly refused: number;
  /** Confirmed, and handled by nobody. */
  readonly lost: number;
  /** Handlings beyond the first of each message. */
  readonly repeated: number;
  readonly longestWithoutConfirmMs: number;
  readonly longestWithoutHandlingMs: number;
}

const STEP_MS = 20;
const PARTITIONS = 6;
const SESSION_MS = 10_000;
const HANDLED_MS_MAX = 120_000;

/** The longest time between two of the same. */
class Standstill {
  longestMs = 0;
  #lastMs = performance.now();

  noteOne(): void {
    const nowMs = performance.now();
    this.longestMs = Math.max(this.longestMs, nowMs - this.#lastMs);
    this.#lastMs = nowMs;
  }
}

export class Load {
  readonly #confirmed = new Set<number>();
  readonly #handled = new Map<number, number>();
  readonly #confirms = new Standstill();
  readonly #handlings = new Standstill();
  #published = 0;
  #refused = 0;
  #underWay = 0;
  #isOver = false;
  #publishing: Promise<void> = Promise.resolve();

  private constructor(
    private readonly apps: readonly INestApplicationContext[],
    private readonly publish: (number: number) => Promise<void>,
  ) {}

  static async start({ url, replicas, inSync, perSecond }: LoadOptions): Promise<Load> {
    const name = `lost-nodes-${Date.now().toString(36)}`;
    @EventMessage(`${name}.counted`, { key: ({ number }: Counted) => `key-${number % 100}` })
    class Counted {
      constructor(readonly number: number) {}
    }
    @Injectable()
    class Handlers {
      @Subscribe(Counted)
      take({ number }: Counted): void {
        load.#handlings.noteOne();
        load.#handled.set(number, (load.#handled.get(number) ?? 0) + 1);
      }
    }
    const broker: BrokerOptions = {
      url,
      kafka: { partitions: PARTITIONS, replicationFactor: replicas, minInsyncReplicas: inSync, sessionTimeoutMs: SESSION_MS },
    };
    const start = (
      service: string,
      providers: NonNullable<Parameters<typeof Module>[0]['providers']>,
    ): Promise<INestApplicationContext> => {
      class AppModule {}
      Module({ imports: [DovecoteModule.forRoot({ service, broker, publishTimeoutMs: 60_000 })], providers })(AppModule);
      return NestFactory.createApplicationContext(AppModule, { logger: ['error'] });
    };
    const apps = [await start(name, [Handlers]), await start(name, [Handlers]), await start(`${name}-publisher`, [])];
    const publisher = apps[2]!.get(Publisher);
    const load = new Load(apps, (number) => publisher.publish(new Counted(number)));
    load.#publishing = load.#publishAt(perSecond);
    return load;
  }

  /** Publishes no more, waits for what is under way and for the handlers, and tells. */
  async end(): Promise<LoadOutcome> {
    this.#isOver = true;
    await this.#publishing;
    const deadlineMs = performance.now() + HANDLED_MS_MAX;
    while ((this.#underWay > 0 || this.#lost > 0) && performance.now() < deadlineMs) await pass(100);
    const handlings = [...this.#handled.values()].reduce((sum, times) => sum + times, 0);
    const outcome: LoadOutcome = {
      published: this.#published,
      confirmed: this.#confirmed.size,
      refused: this.#refused,
      lost: this.#lost,
      repeated: handlings - this.#handled.size,
      longestWithoutConfirmMs: this.#confirms.longestMs,
      longestWithoutHandlingMs: this.#handlings.longestMs,
    };
    await Promise.all(this.apps.map((app) => app.close()));
    return outcome;
  }

  get #lost(): number {
    return [...this.#confirmed].filter((number) => !this.#handled.has(number)).length;
  }

  async #publishAt(perSecond: number): Promise<void> {
    const startMs = performance.now();
    while (!this.#isOver) {
      const due = ((performance.now() - startMs) / 1000) * perSecond;
      while (this.#published < due) this.#publishOne(this.#published++);
      await pass(STEP_MS);
    }
  }

  #publishOne(number: number): void {
    this.#underWay += 1;
    this.publish(number).then(
      () => {
        this.#underWay -= 1;
        this.#confirms.noteOne();
        this.#confirmed.add(number);
      },
      () => {
        this.#underWay -= 1;
        this.#refused += 1;
      },
    );
  }
}

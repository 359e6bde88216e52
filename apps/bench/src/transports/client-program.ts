/**
 * The half of the benchmark that every client program shares: publishes what may be under way, counts what was confirmed and handled, tells its own processor
 * time, and does to a poisoned message what the run asks for. Talks to the benchmark through the channel of its child process; ends with it.
 *
 * Loads no framework: each of them adds its own weight, and one runs on another Nest than the others.
 */

/** What every contender publishes and handles: about 100 bytes of JSON. */
export interface Order {
  readonly orderId: string;
  readonly amount: number;
  readonly note: string;
  readonly isPoison: boolean;
}

export interface ClientSettings {
  readonly role: 'publish' | 'handle';
  /** As the contender's library takes it: a URL, or `host:port`. */
  readonly at: string;
  /** Of the service, its queue, topic and group: one that no run had before. */
  readonly name: string;
  /** What the handler does with a poisoned message. */
  readonly poison: PoisonKind;
}

export type PoisonKind = 'throws' | 'kills';

/** A contender's client in one of the two roles. */
export interface Client {
  /** Resolves when the broker confirmed it. Only of a publisher. */
  readonly publish?: (order: Order) => Promise<unknown>;
  close(): Promise<void>;
}

export type OpenClient = (settings: ClientSettings, take: (order: Order) => Promise<void> | void) => Promise<Client>;

export type Question = 'usage' | 'pump' | 'rest' | 'poison' | 'close';
export interface Asked {
  readonly number: number;
  readonly question: Question;
}

export interface Usage {
  /** Confirmed or handled so far. */
  readonly count: number;
  readonly cpuUs: number;
  readonly atMs: number;
}

export type Told = { readonly answered: number; readonly usage: Usage } | { readonly opened: true } | { readonly taken: Order };

/** Published and not confirmed, at most. */
const UNDER_WAY_MAX = 1000;
/** Beside one poisoned message, which is the first. */
export const HARMLESS = 10;
const note = '.'.repeat(40);

export async function runClient(open: OpenClient): Promise<void> {
  const settings = JSON.parse(process.argv[2] ?? '{}') as ClientSettings;
  const count = { published: 0, done: 0 };
  let isPumping = false;
  let rested = (): void => undefined;
  const client = await open(settings, (order) => {
    count.done += 1;
    // Only the poisoned runs have something to tell of each message.
    if (order.note === '') return takePoison(settings.poison, order);
  });
  const publish = client.publish ?? (() => Promise.reject(new Error('this one handles')));

  const pump = (): void => {
    while (isPumping && count.published - count.done < UNDER_WAY_MAX) {
      const number = count.published++;
      publish({ orderId: `order-${number % 1000}`, amount: number % 97, note, isPoison: false }).then(confirmed, fail);
    }
  };
  const confirmed = (): void => {
    count.done += 1;
    // In lots, as an application that does something with a result would: one by one, it would be called from within itself.
    if (count.done % 16 === 0 && isPumping) queueMicrotask(pump);
    if (count.done === count.published) rested();
  };
  const verbs: Readonly<Record<Question, () => Promise<void>>> = {
    usage: () => Promise.resolve(),
    pump: async () => {
      isPumping = true;
      pump();
    },
    rest: async () => {
      isPumping = false;
      if (count.done < count.published) await new Promise<void>((resolve) => (rested = resolve));
    },
    poison: async () => {
      await publish({ orderId: 'poison', amount: 0, note: '', isPoison: true });
      for (let number = 0; number < HARMLESS; number++) await publish({ orderId: `good-${number}`, amount: 0, note: '', isPoison: false });
    },
    close: () => client.close(),
  };
  process.on('message', ({ number, question }: Asked) => {
    verbs[question]().then(() => {
      const { user, system } = process.cpuUsage();
      tell({ answered: number, usage: { count: count.done, cpuUs: user + system, atMs: performance.now() } });
      if (question === 'close') process.disconnect();
    }, fail);
  });
  process.on('disconnect', () => process.exit(0));
  tell({ opened: true });
}

/** The benchmark is told before anything else happens. */
function takePoison(kind: PoisonKind, order: Order): Promise<void> {
  return new Promise((resolve, reject) => {
    tell({ taken: order }, () => {
      if (!order.isPoison) resolve();
      else if (kind === 'throws') reject(new Error('this order cannot be handled'));
      else process.kill(process.pid, 'SIGKILL');
    });
  });
}

function tell(what: Told, then?: () => void): void {
  process.send?.(what, undefined, undefined, then);
}

export function fail(error: unknown): void {
  console.error(error);
  process.exit(1);
}

/**
 * The dead letters of a service: what could not be handled, with the reasons. Whoever looks at them has them out of the box meanwhile, so that two who redrive
 * at once send each of them once; what was not sent on or thrown away is in the box again afterwards. A crash between the sending and the taking out
 * leaves one in the box that was sent: it is at least once, as everything.
 */
import type { Clock } from '@dovecote/ground';
import { withinTime } from './deadline.js';
import type { Death, Envelope, Failure, MessageHeaders, MessageKind, ParkedPlace } from './envelope.js';
import { MessagingError } from './errors.js';
import { DEAD_LETTERS_LISTED_MAX, MOVE_TIMEOUT_MS } from './limits.js';
import { Codecs, JSON_CONTENT_TYPE, parseBody } from './message-codec.js';
import { type StandardSchema, misfitOf } from './policies/validation.js';
import { Payloads } from './payloads.js';
import type { Incoming, Transport } from './transport.js';

export interface DeadLetter {
  readonly id: string;
  readonly kind: MessageKind;
  readonly type: string;
  readonly source: string;
  readonly time: string | undefined;
  readonly key: string | undefined;
  readonly version: number | undefined;
  /** Where the schema of its payload stands, a URI. */
  readonly dataSchema: string | undefined;
  /** Where its payload is kept, where that was too large to travel: then there is no body. */
  readonly dataRef: string | undefined;
  readonly correlationId: string | undefined;
  readonly causationId: string | undefined;
  readonly headers: MessageHeaders;
  /** Why it is here; absent where somebody else put it here. */
  readonly death: Death | undefined;
  /** The last failures, oldest first. */
  readonly history: readonly Failure[];
  readonly contentType: string;
  readonly body: Uint8Array;
}

/** Which of them; all of them where nothing is said. */
export interface DeadLetterChoice {
  readonly ids?: readonly string[];
  readonly where?: (letter: DeadLetter) => boolean;
  /** At most so many: those that died first, for which all of them are looked at. */
  readonly limit?: number;
}

export interface RedriveOptions extends DeadLetterChoice {
  /** At most so many a second; as fast as the broker takes them when not given. */
  readonly perSecond?: number;
  /** Says what would be done, and does nothing. */
  readonly isDryRun?: boolean;
  readonly onProgress?: (progress: RedriveProgress) => void;
  /** Stops it: what was not sent yet stays. */
  readonly signal?: AbortSignal;
}

export interface RedriveProgress {
  readonly seen: number;
  /** Sent again, thrown away, or what would be. */
  readonly done: number;
  /** How many are in the box behind those seen, where the broker says so. */
  readonly left: number | undefined;
}

const jsonAlone = new Payloads(new Codecs([]));

export class DeadLetters {
  constructor(
    private readonly service: string,
    private readonly transport: Pick<Transport, 'openBox' | 'publish' | 'parkingStore'>,
    private readonly schemaOf: (type: string) => StandardSchema | undefined,
    private readonly clock: Clock,
    /** What can be read; JSON alone when not given. */
    private readonly payloads: () => Payloads = () => jsonAlone,
  ) {}

  /** Oldest first, at most 10,000. */
  async list(choice: DeadLetterChoice = {}, service = this.service): Promise<readonly DeadLetter[]> {
    const limit = Math.min(choice.limit ?? DEAD_LETTERS_LISTED_MAX, DEAD_LETTERS_LISTED_MAX);
    const isToTheEnd = choice.limit !== undefined && choice.ids === undefined;
    const oldest = new Oldest<DeadLetter>(limit);
    await this.#each(service, { ...choice, limit: isToTheEnd ? Number.POSITIVE_INFINITY : limit }, (letter) => {
      oldest.add(letter, letter);
      return Promise.resolve(true);
    });
    return oldest.all();
  }

  async show(id: string, service = this.service): Promise<DeadLetter | undefined> {
    const [letter] = await this.list({ ids: [id], limit: 1 }, service);
    return letter;
  }

  /** What stands in it, in any format that this service reads, from the claim store where it is there. Rejects with a `MessagingError` of code `unreadable` or `payload-missing`. */
  async payload(letter: DeadLetter): Promise<unknown> {
    return this.payloads().read(letter);
  }

  /**
   * Sends them to their service again, as if they had failed never; their history stays. One for which others of its key wait takes its place before them. What fails again while this runs is not sent twice. Resolves when
   * all that were there have been looked at.
   */
  async redrive(options: RedriveOptions = {}, service = this.service): Promise<RedriveProgress> {
    const pauseMs = options.perSecond === undefined ? 0 : 1_000 / options.perSecond;
    const choice = await this.#chosen(service, options);
    let nextMs = this.clock.monotonicMs();
    return this.#each(service, choice, async (_letter, incoming) => {
      if (options.isDryRun === true) return true;
      if (!(await this.#until(nextMs, options.signal))) return false;
      nextMs = Math.max(nextMs + pauseMs, this.clock.monotonicMs());
      await this.#send(service, incoming.envelope as Envelope);
      incoming.acknowledge();
      return true;
    });
  }

  /** Sends one of them with another payload, which must fit the schema of its type where this service knows one. */
  async resend(id: string, payload: object, service = this.service): Promise<void> {
    const { done } = await this.#each(service, { ids: [id], limit: 1 }, async ({ type }, incoming) => {
      const schema = this.schemaOf(type);
      const problem = schema && (await misfitOf(schema, payload));
      if (problem !== undefined) throw new MessagingError('invalid-publish', `${type} ${id} was not sent: ${problem.message}.`);
      const body = Buffer.from(JSON.stringify(payload));
      await this.#send(service, {
        ...(incoming.envelope as Envelope),
        contentType: JSON_CONTENT_TYPE,
        dataSchema: undefined,
        dataRef: undefined,
        body,
      });
      incoming.acknowledge();
      return true;
    });
    if (done === 0) throw new MessagingError('invalid-publish', `There is no dead letter ${id} of '${service}'.`);
  }

  /** Throws them away for good. What waited for one of them goes on without it. */
  async purge(options: Omit<RedriveOptions, 'perSecond'> = {}, service = this.service): Promise<RedriveProgress> {
    return this.#each(service, await this.#chosen(service, options), async (letter, incoming) => {
      if (options.isDryRun === true) return true;
      if (letter.death?.parked !== undefined) await this.#release(service, letter, letter.death.parked, undefined);
      incoming.acknowledge();
      return true;
    });
  }

  /**
   * By their ids where only so many are wanted: those that died first. A look puts back what it does not take, and a quorum queue puts that behind the rest, so
   * that the first in the box may be others each time.
   */
  async #chosen(service: string, options: RedriveOptions): Promise<RedriveOptions> {
    const { limit, ids, where, signal, ...others } = options;
    if (limit === undefined || ids !== undefined) return options;
    const oldest = new Oldest<string>(limit);
    await this.#each(service, { ...(where && { where }), ...(signal && { signal }) }, (letter) => {
      oldest.add(letter, letter.id);
      return Promise.resolve(true);
    });
    return { ...others, ...(signal && { signal }), ids: oldest.all(), limit };
  }

  /** Those that were there when it began; the others come back when the box is closed. `visit` says whether it did something with it. */
  async #each(
    service: string,
    { ids, where, limit = Number.POSITIVE_INFINITY, signal, onProgress }: RedriveOptions,
    visit: (letter: DeadLetter, incoming: Incoming) => Promise<boolean>,
  ): Promise<RedriveProgress> {
    const wanted = ids === undefined ? undefined : new Set(ids);
    const box = await this.transport.openBox({ group: service, box: 'dead-letters' });
    let progress: RedriveProgress = { seen: 0, done: 0, left: undefined };
    try {
      while (progress.done < limit && signal?.aborted !== true) {
        const incoming = await box.next();
        if (incoming === undefined) break;
        const letter = letterOf(incoming);
        const isChosen = letter !== undefined && (wanted?.has(letter.id) ?? true) && (where?.(letter) ?? true);
        const isDone = isChosen && (await visit(letter, incoming));
        progress = { seen: progress.seen + 1, done: progress.done + (isDone ? 1 : 0), left: box.left };
        onProgress?.(progress);
      }
    } finally {
      await box.close();
    }
    return progress;
  }

  async #send(service: string, envelope: Envelope): Promise<void> {
    const history = envelope.trail?.history ?? [];
    const again: Envelope = { ...envelope, expiresAtMs: undefined, trail: { failures: 0, starts: 0, history, death: undefined } };
    const parked = envelope.trail?.death?.parked;
    if (parked !== undefined && (await this.#release(service, envelope, parked, again))) return;
    await this.#within(this.transport.publish(again, this.clock.monotonicMs() + MOVE_TIMEOUT_MS, { to: { group: service, box: 'inbox' } }));
  }

  /** In its place before what waits for it. False where that place is nowhere: the service has moved to a broker without lanes. */
  async #release(service: string, { key }: Pick<Envelope, 'key'>, place: ParkedPlace, envelope: Envelope | undefined): Promise<boolean> {
    const store = this.transport.parkingStore(service);
    if (store === undefined) return false;
    await this.#within(store.release(place.lane, { sequence: place.sequence, key: key ?? '', envelope }));
    return true;
  }

  /** A transport whose broker is away keeps what it was given until that comes back, which may be never. */
  #within(sent: Promise<void>): Promise<void> {
    const sentence = `The broker did not confirm within ${MOVE_TIMEOUT_MS} ms what was sent again: it may have been, and is among the dead letters still. Look again.`;
    return withinTime(this.clock, MOVE_TIMEOUT_MS, sent, () => new MessagingError('publish-timeout', sentence));
  }

  /** Whether it is time now; not where the signal came first. */
  async #until(dueMs: number, signal: AbortSignal | undefined): Promise<boolean> {
    const waitMs = dueMs - this.clock.monotonicMs();
    if (waitMs <= 0 || signal?.aborted === true) return signal?.aborted !== true;
    return new Promise((resolve) => {
      const stop = (): void => {
        timer.cancel();
        resolve(false);
      };
      const timer = this.clock.after(waitMs, () => {
        signal?.removeEventListener('abort', stop);
        resolve(true);
      });
      signal?.addEventListener('abort', stop, { once: true });
    });
  }
}

/** Of those that were added, so many that died first; those whose death nobody noted by when they were published. */
class Oldest<T> {
  #found: { readonly atMs: number; readonly item: T }[] = [];

  constructor(private readonly limit: number) {}

  add({ death, time }: DeadLetter, item: T): void {
    const atMs = death?.atMs ?? (Date.parse(time ?? '') || 0);
    this.#found.push({ atMs, item });
    if (this.#found.length > 2 * this.limit + 1_000) this.#trim();
  }

  all(): readonly T[] {
    this.#trim();
    return this.#found.map(({ item }) => item);
  }

  #trim(): void {
    this.#found = this.#found.toSorted((one, other) => one.atMs - other.atMs).slice(0, this.limit);
  }
}

/** The payload, where it is JSON; `DeadLetters.payload` reads other formats. */
export function payloadOf(letter: DeadLetter): unknown {
  try {
    return parseBody(letter);
  } catch {
    return undefined;
  }
}

/** Nothing for what somebody else put there and nobody can read: it stays. */
function letterOf({ envelope }: Incoming): DeadLetter | undefined {
  if ('problem' in envelope) return undefined;
  const { trail, expiresAtMs: _expired, replyTo: _nobody, ...letter } = envelope;
  return { ...letter, death: trail?.death, history: trail?.history ?? [] };
}

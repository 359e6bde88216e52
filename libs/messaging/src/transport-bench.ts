/** What the cases of the transport contract work with: transports of one subject, and what arrives at them. */
import assert from 'node:assert/strict';
import { type Envelope, noTrail, plainEvent } from './envelope.js';
import { MessagingError } from './errors.js';
import type { Box, Capability, Incoming, Lane, Route, Source, Transport, TransportConsumer, TransportSubscription } from './transport.js';
import type { TransportSubject } from './transport-contract.js';
import { turn } from './turn.js';

export type Body = (bench: Bench) => Promise<void>;

/** The transports of one case, their names made unique, and all of them closed at the end. */
export class Bench {
  readonly #transports: Transport[] = [];
  #count = 0;

  constructor(readonly subject: TransportSubject) {}

  async open(): Promise<Transport> {
    const transport = this.subject.transport();
    this.#transports.push(transport);
    await transport.open();
    return transport;
  }

  async member(group: string, events: readonly string[], prefetch = 10, commands: readonly string[] = []): Promise<Inbox> {
    const sources = [...events.map((type) => this.source('event', type)), ...commands.map((type) => this.source('command', type))];
    return this.memberOf(group, sources, prefetch);
  }

  async memberOf(group: string, sources: readonly Source[], prefetch = 10): Promise<Inbox> {
    const inbox = new Inbox(await this.open());
    const request = { group: this.subject.unique(group), sources, prefetch };
    const consumer = { onMessage: (incoming: Incoming): void => inbox.take(incoming), assigned: nothing, revoked: nothing };
    inbox.subscription = await inbox.transport.subscribe(request, consumer);
    return inbox;
  }

  /** A member that reads these events in lanes. */
  async laneMember(group: string, events: readonly string[], prefetch = 10): Promise<LaneInbox> {
    const transport = await this.open();
    this.requires(transport, 'order-by-key');
    const inbox = new LaneInbox(transport);
    const sources = events.map((type) => this.source('event', type, 'key'));
    inbox.subscription = await transport.subscribe({ group: this.subject.unique(group), sources, prefetch }, inbox);
    return inbox;
  }

  source(kind: Source['kind'], type: string, order: Source['order'] = 'none'): Source {
    return { kind, pattern: this.subject.unique(type), topic: undefined, order };
  }

  /** The texts in a box; those are taken out of it for which `takes` says so, which is asked with the texts so far. */
  async look(transport: Transport, where: Box, takes: (soFar: readonly string[]) => boolean): Promise<string[]> {
    const box = await transport.openBox(where);
    const texts: string[] = [];
    for (let next = await box.next(); next !== undefined; next = await box.next()) {
      texts.push(textOf(next));
      if (takes(texts)) next.acknowledge();
    }
    await box.close();
    return texts;
  }

  /** Ends the case where the transport says that it lacks this. */
  requires(transport: Transport, capability: Capability): void {
    if (transport.capabilities.can[capability] !== true) throw new NotPromised();
  }

  async requiresBoxes(transport: Transport, box: Box): Promise<void> {
    try {
      await (await transport.openBox(box)).close();
    } catch (error) {
      if (error instanceof MessagingError && error.code === 'unsupported') throw new NotPromised();
      throw error;
    }
  }

  box(group: string, box: Box['box']): Box {
    return { group: this.subject.unique(group), box };
  }

  envelope(type: string, body: string): Envelope {
    this.#count += 1;
    return {
      ...plainEvent,
      id: `${this.subject.unique('id')}-${this.#count}`,
      type: this.subject.unique(type),
      source: 'contract',
      time: '2026-01-02T03:04:05.678Z',
      key: undefined,
      version: 1,
      contentType: 'application/json',
      body: Buffer.from(body),
    };
  }

  publish(transport: Transport, type: string, text: string, route?: Route): Promise<void> {
    return this.send(transport, this.envelope(type, text), route);
  }

  /** All of one key, unless told otherwise: the order among them is kept on every broker. */
  publishKeyed(transport: Transport, type: string, text: string, key = 'order-7'): Promise<void> {
    return this.send(transport, { ...this.envelope(type, text), key });
  }

  send(transport: Transport, envelope: Envelope, route?: Route): Promise<void> {
    return transport.publish(envelope, Number.POSITIVE_INFINITY, route);
  }

  async close(): Promise<void> {
    for (const transport of this.#transports) await transport.close();
  }
}

export class NotPromised extends Error {}

/** What a member received and the case has not looked at yet. */
export class Inbox {
  subscription: TransportSubscription = { stop: () => Promise.resolve() };
  received = 0;
  readonly #deliveries: Incoming[] = [];
  #arrived: (() => void) | undefined;
  #each: ((incoming: Incoming) => void) | undefined;

  constructor(readonly transport: Transport) {}

  get waiting(): number {
    return this.#deliveries.length;
  }

  take(incoming: Incoming): void {
    this.received += 1;
    if (this.#each !== undefined) {
      this.#each(incoming);
      return;
    }
    this.#deliveries.push(incoming);
    this.#arrived?.();
  }

  /** What waits already, too. */
  each(handle: (incoming: Incoming) => void): void {
    this.#each = handle;
    for (const incoming of this.#deliveries.splice(0)) handle(incoming);
  }

  async next(): Promise<Incoming> {
    while (this.#deliveries.length === 0) await new Promise<void>((resolve) => (this.#arrived = resolve));
    return this.#deliveries.shift() as Incoming;
  }

  /** The next messages' bodies, acknowledged unless told otherwise. */
  async texts(count: number, isAcknowledged = true): Promise<string[]> {
    const texts: string[] = [];
    while (texts.length < count) {
      const incoming = await this.next();
      texts.push(textOf(incoming));
      if (isAcknowledged) incoming.acknowledge();
    }
    return texts;
  }
}

/** A member that reads in lanes. Says to the transport at once that a lane may go, unless the case holds it. */
export class LaneInbox extends Inbox implements TransportConsumer {
  /** Those it has now. */
  readonly lanes = new Map<string, Lane>();
  /** What happened, in order: `assigned`, `revoked`, `lost` and the name of the lane. */
  readonly events: string[] = [];
  /** A lane is kept until it fulfils. */
  onRevoked: (lane: Lane) => Promise<void> = nothing;

  onMessage(incoming: Incoming): void {
    this.take(incoming);
  }

  assigned(lane: Lane): Promise<void> {
    this.events.push(`assigned ${lane.id}`);
    this.lanes.set(lane.id, lane);
    return Promise.resolve();
  }

  async revoked(lane: Lane, isLost: boolean): Promise<void> {
    this.events.push(`${isLost ? 'lost' : 'revoked'} ${lane.id}`);
    if (!isLost) await this.onRevoked(lane);
    this.lanes.delete(lane.id);
  }
}

export function envelopeOf({ envelope }: Incoming): Envelope {
  if ('problem' in envelope) assert.fail(`unreadable: ${envelope.problem}`);
  return envelope;
}

export function assertSame(got: Envelope, sent: Envelope): void {
  const plain = (envelope: Envelope): object => ({
    ...envelope,
    headers: { ...envelope.headers },
    trail: { ...(envelope.trail ?? noTrail) },
    body: Buffer.from(envelope.body).toString(),
  });
  assert.deepEqual(plain(got), plain(sent));
}

export function nothing(): Promise<void> {
  return Promise.resolve();
}

export function textOf(incoming: Incoming): string {
  return Buffer.from(envelopeOf(incoming).body).toString();
}

export async function rejectsWith(code: MessagingError['code'], work: Promise<unknown>): Promise<void> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof MessagingError, `a MessagingError of code ${code} was expected, not ${String(error)}`);
  assert.equal(error.code, code);
}

/** Enough for whatever is wrong to show where the broker is in this process; over a socket it may stay unseen, and is never seen wrongly. */
export async function turns(): Promise<void> {
  for (let count = 0; count < 20; count++) await turn();
}

export async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await turn();
}

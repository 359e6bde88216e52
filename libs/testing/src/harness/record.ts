/** What the application did with its messages, noted as it happens: the observer that the harness puts where telemetry is told. In memory only. */
import type { Telemetry } from '@dovecote/messaging/testing';

/** One thing that happened to one message. */
export interface Fact {
  readonly what: 'published' | 'handled' | 'retried' | 'dead-lettered' | 'failed';
  readonly type: string;
  readonly id: string;
  /** What travels: plain values, not an instance of its class. Absent where it is not JSON. */
  readonly payload: unknown;
  /** `Notifications.notify`; absent where no handler had it. */
  readonly place?: string | undefined;
  /** What the handler threw, or why it was put away. */
  readonly reason?: string | undefined;
  readonly error?: unknown;
  readonly failures?: number;
  /** Until the next attempt. */
  readonly delayMs?: number;
}

type HandlerTelemetry = ReturnType<Telemetry['handler']>;
type Envelope = Parameters<Telemetry['buried']>[0];
type Message = Parameters<HandlerTelemetry['ended']>[0];

export class Record implements Telemetry {
  readonly facts: Fact[] = [];
  /** What handlers work on. */
  readonly running = new Map<object, Pick<Fact, 'place' | 'type' | 'id'>>();
  #publishes = 0;

  /** Handlers that run, and publishes that wait for their confirm. */
  get underWay(): number {
    return this.running.size + this.#publishes;
  }

  async publish<T>({ verb, envelope }: Parameters<Telemetry['publish']>[0], send: (envelope: Envelope) => Promise<T>): Promise<T> {
    // Whoever asks waits for the handler, not for the broker.
    if (verb === 'request') this.#note('published', envelope);
    else this.#publishes += 1;
    try {
      const outcome = await send(envelope);
      if (verb !== 'request') this.#note('published', envelope);
      return outcome;
    } finally {
      if (verb !== 'request') this.#publishes -= 1;
    }
  }

  handler({ place }: Parameters<Telemetry['handler']>[0]): HandlerTelemetry {
    const payloads = new WeakMap<Message, unknown>();
    return {
      step: (next) => (event, message) => {
        // A batch comes as two lists.
        const [events, messages] = [[event].flat(), [message].flat()];
        for (const [index, one] of messages.entries()) {
          payloads.set(one, events[index]);
          this.running.set(one, { place, type: one.type, id: one.id });
        }
        return next(event, message);
      },
      ended: (message, fate) => {
        this.running.delete(message);
        const about = { type: message.type, id: message.id, payload: plain(payloads.get(message)), place };
        if (fate.kind === 'acknowledged') this.facts.push({ what: 'handled', ...about });
        else if (fate.kind === 'dead-letter') return;
        else {
          const failure = { reason: reasonOf(fate.error), error: fate.error };
          if (fate.kind !== 'retry') this.facts.push({ what: 'failed', ...about, ...failure });
          else this.facts.push({ what: 'retried', ...about, ...failure, failures: fate.failures, delayMs: fate.delayMs });
        }
      },
    };
  }

  buried(envelope: Envelope, { handler, reason, cause }: Parameters<Telemetry['buried']>[1]): void {
    this.#note('dead-lettered', envelope, { place: handler, reason: `${cause}: ${reason}` });
  }

  #note(what: Fact['what'], envelope: Envelope, more: Partial<Fact> = {}): void {
    this.facts.push({ what, type: envelope.type, id: envelope.id, payload: payloadOf(envelope), ...more });
  }
}

/** A line for whoever reads why a test failed. */
export function describe({ what, type, id, payload, place, reason, delayMs }: Fact): string {
  const text = payload === undefined ? '' : ` ${JSON.stringify(payload)}`;
  const message = `${type} ${id}${text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text}`;
  if (what === 'published') return `published ${message}`;
  if (what === 'handled') return `${place} handled ${message}`;
  if (what === 'retried') return `${place} failed on ${message}: ${reason}. Again in ${delayMs} ms`;
  if (what === 'failed') return `${place} failed on ${message}: ${reason}`;
  return `dead letter of ${message}: ${reason}`;
}

const TEXT_MAX = 200;

function payloadOf({ contentType, body }: Envelope): unknown {
  return contentType.startsWith('application/json') ? (JSON.parse(Buffer.from(body).toString()) as unknown) : undefined;
}

export function plain(value: unknown): unknown {
  return value === undefined ? undefined : (JSON.parse(JSON.stringify(value)) as unknown);
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

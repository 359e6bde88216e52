/**
 * Questions under way: what waits for its answer, and none longer than its time. In memory; when the process ends, the answers come to nobody. Used by the
 * publisher.
 */
import type { Clock, Timer } from '@dovecote/ground';
import type { Envelope } from './envelope.js';
import { MessagingError } from './errors.js';
import { REQUESTS_UNDER_WAY_MAX } from './limits.js';
import type { MessageCodec } from './message-codec.js';
import type { PublishWindow } from './publish-window.js';
import { answerOf } from './reply.js';
import type { Route } from './transport.js';

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: Timer;
  readonly codec: MessageCodec | undefined;
}

export class Requester {
  readonly #pending = new Map<string, Pending>();
  #address: Promise<string> | undefined;

  constructor(
    private readonly openReplies: (onReply: (reply: Envelope) => void) => Promise<string>,
    private readonly window: Pick<PublishWindow, 'publish'>,
    private readonly clock: Clock,
  ) {}

  /** `question` is made for the address at which its answer is expected, in JSON or the format of `codec`. */
  async ask(question: (replyTo: string) => Envelope, route: Route | undefined, timeoutMs: number, codec?: MessageCodec): Promise<unknown> {
    if (this.#pending.size >= REQUESTS_UNDER_WAY_MAX) {
      throw new MessagingError(
        'too-many-publishes',
        `${this.#pending.size} requests are waiting for their answer already: await some of them before you ask more.`,
      );
    }
    const envelope = question(await this.#open());
    return new Promise((resolve, reject) => {
      const timer = this.clock.after(timeoutMs, () => this.#expire(envelope, timeoutMs));
      this.#pending.set(envelope.id, { resolve, reject, timer, codec });
      this.window.publish(envelope, route).catch((error: unknown) => this.#take(envelope.id)?.reject(error));
    });
  }

  /** Nobody answers any more. */
  close(): void {
    for (const id of this.#pending.keys()) {
      this.#take(id)?.reject(
        new MessagingError('closed', 'The answer did not come before the service closed; what was asked for may have been done.'),
      );
    }
  }

  #open(): Promise<string> {
    this.#address ??= this.openReplies((reply) => void this.#receive(reply)).catch((error: unknown) => {
      this.#address = undefined;
      throw error;
    });
    return this.#address;
  }

  async #receive(reply: Envelope): Promise<void> {
    const pending = reply.causationId === undefined ? undefined : this.#take(reply.causationId);
    // Too late, or twice: a command may be handled more than once.
    if (pending === undefined) return;
    try {
      const answer = await answerOf(reply, pending.codec);
      if ('error' in answer)
        pending.reject(new RequestError(answer.error.code, `${reply.type} was refused by ${reply.source}: ${answer.error.message}`));
      else pending.resolve(answer.value);
    } catch (error) {
      pending.reject(error);
    }
  }

  #expire({ id, type }: Envelope, timeoutMs: number): void {
    this.#take(id)?.reject(
      new MessagingError(
        'request-timeout',
        `${type} ${id} was not answered within ${timeoutMs} ms: the service that handles it is away, busy or slow. It may or may not have been handled.`,
      ),
    );
  }

  #take(id: string): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    pending?.timer.cancel();
    return pending;
  }
}

/** What the handler at the other end threw. */
export class RequestError extends Error {
  override readonly name = 'RequestError';

  constructor(
    /** The code of the handler's error, or its name. */
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

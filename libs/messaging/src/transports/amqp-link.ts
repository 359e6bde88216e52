/**
 * One connection to an AMQP broker that comes back by itself. Its tenant sets up channels on every new connection and is told when one is lost.
 *
 *   open ─▶ connecting ⇄ (pause) ─▶ connected ─▶ lost ─▶ connecting …          close ends it from any state
 *
 * Publishing and consuming have a link each: a broker short of memory stops reading from connections that publish, and must still see the
 * acknowledgements that free it.
 */
import type { ChannelModel } from 'amqplib';
import type { Clock, Timer } from '@dovecote/ground';
import type { Backoff } from '../backoff.js';
import { MessagingError, reasonOf } from '../errors.js';
import type { Log } from '../log.js';
import type { BrokerAddress } from './amqp-address.js';

/** The library that speaks AMQP, as far as it is used. */
export type Connect = (
  url: string,
  options: { noDelay: boolean; timeout: number; clientProperties: Record<string, string> },
) => Promise<ChannelModel>;

export interface LinkSettings {
  readonly address: BrokerAddress;
  /** Shown in the broker's list of connections: "notifications (consuming)". */
  readonly name: string;
  /** How long the first connection may take; without end when not given. */
  readonly connectTimeoutMs: number | undefined;
  readonly connect: Connect;
  readonly clock: Clock;
  readonly backoff: Backoff;
  readonly log: Log;
}

export interface LinkTenant {
  /** Sets up its channels; when it rejects, the connection is dropped and tried again. */
  moveIn(connection: ChannelModel): Promise<void>;
  /** The channels are gone. */
  lost(): void;
}

/** Past this a connection attempt, or a farewell, counts as unanswered. */
const ANSWER_MS_MAX = 10_000;
const FAREWELL_MS_MAX = 2_000;

export class AmqpLink {
  #connection: ChannelModel | undefined;
  #isClosed = false;
  #wake: (() => void) | undefined;
  #lastError: unknown;

  constructor(
    private readonly settings: LinkSettings,
    private readonly tenant: LinkTenant,
  ) {}

  /** Resolves with the first connection. Rejects when the time is over, or when trying again cannot help (a wrong password). */
  async open(): Promise<void> {
    const { address, connectTimeoutMs, clock } = this.settings;
    const deadlineMs = connectTimeoutMs === undefined ? Number.POSITIVE_INFINITY : clock.monotonicMs() + connectTimeoutMs;
    for (let failures = 1; ; failures += 1) {
      try {
        await this.#connect();
        return;
      } catch (error) {
        if (this.#isClosed) throw closedError();
        const verdict = refusalOf(error, address.shown);
        if (verdict !== undefined) throw verdict;
        if (clock.monotonicMs() >= deadlineMs) {
          throw new MessagingError(
            'broker-unreachable',
            `No connection to the broker at ${address.shown} within ${connectTimeoutMs} ms (${reasonOf(error)}). Start the broker, or correct the URL.`,
            { cause: error },
          );
        }
        await this.#pause(failures, deadlineMs - clock.monotonicMs(), (delayMs) => {
          return `Cannot reach the broker at ${address.shown} (${reasonOf(error)}). Is it running? Trying again in ${delayMs} ms.`;
        });
      }
    }
  }

  /** Gives up this connection for a new one: one of its channels can no longer be used. */
  drop(reason: unknown): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#lastError ??= reason;
    void this.#farewell(connection);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#wake?.();
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#connection = undefined;
    this.tenant.lost();
    await this.#farewell(connection);
  }

  async #connect(): Promise<void> {
    const { address, name, connect } = this.settings;
    const connection = await connect(address.url, { noDelay: true, timeout: ANSWER_MS_MAX, clientProperties: { connection_name: name } });
    let isOpen = true;
    this.#lastError = undefined;
    connection.on('error', (error) => (this.#lastError ??= error));
    connection.on('close', (error) => {
      isOpen = false;
      this.#lost(connection, this.#lastError ?? error);
    });
    try {
      await this.tenant.moveIn(connection);
      // A connection lost in the middle can leave the last answer standing.
      if (!isOpen) throw this.#lastError ?? new Error('the connection was closed');
      if (this.#isClosed) throw closedError();
    } catch (error) {
      await this.#farewell(connection);
      this.tenant.lost();
      throw error;
    }
    this.#connection = connection;
  }

  #lost(connection: ChannelModel, error: unknown): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.tenant.lost();
    if (!this.#isClosed) void this.#reconnect(error ?? new Error('the broker closed the connection'));
  }

  async #reconnect(lostBecause: unknown): Promise<void> {
    const { address, log, name } = this.settings;
    let error = lostBecause;
    for (let failures = 1; !this.#isClosed; failures += 1) {
      const what = failures === 1 ? 'Lost the connection to' : 'Still no connection to';
      await this.#pause(failures, Number.POSITIVE_INFINITY, (delayMs) => {
        return `${name}: ${what} the broker at ${address.shown} (${reasonOf(error)}). Trying again in ${delayMs} ms; nothing is lost meanwhile.`;
      });
      if (this.#isClosed) return;
      try {
        await this.#connect();
        log.info(`${name}: connected to the broker at ${address.shown} again.`);
        return;
      } catch (failure) {
        error = failure;
      }
    }
  }

  async #pause(failures: number, limitMs: number, sentence: (delayMs: number) => string): Promise<void> {
    const delayMs = Math.ceil(Math.min(limitMs, this.settings.backoff.delayMs(failures)));
    this.settings.log.warn(sentence(delayMs));
    await this.#sleep(delayMs);
  }

  /** Ends early when the link closes. */
  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer: Timer = this.settings.clock.after(delayMs, resolve);
      this.#wake = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  /** A broker that does not answer must not hold up the shutdown. */
  async #farewell(connection: ChannelModel): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      const timer = this.settings.clock.after(FAREWELL_MS_MAX, resolve);
      connection.once('close', () => {
        timer.cancel();
        resolve();
      });
    });
    try {
      // Closed already, or closing: either way the event above is all there is to wait for.
      connection.close().catch(nothing);
    } catch {
      return;
    }
    await closed;
  }
}

/** What the broker refuses today it refuses tomorrow: the sentence says what to change. Nothing for what may pass. */
function refusalOf(error: unknown, address: string): MessagingError | undefined {
  if (error instanceof MessagingError) return error;
  const reason = reasonOf(error);
  const refused = (advice: string): MessagingError => {
    return new MessagingError('broker-refused', `The broker at ${address} refused this service: ${reason}. ${advice}`, { cause: error });
  };
  if (/ACCESS[-_]REFUSED/i.test(reason)) return refused('Check the user, the password and the permissions in the broker URL.');
  // The client does not pass on what the broker says when it closes in answer to connection.open.
  if (/NOT[-_]ALLOWED|Expected ConnectionOpenOk; got <ConnectionClose/i.test(reason)) {
    return refused('Check the virtual host at the end of the broker URL: it must exist, and the user must be allowed to use it.');
  }
  if (/PRECONDITION[-_]FAILED/i.test(reason)) {
    return refused('The exchange or queue exists with other properties: delete it, or give the queueType it was made with.');
  }
  return undefined;
}

function closedError(): MessagingError {
  return new MessagingError('closed', 'The service was shut down before it had reached the broker.');
}

function nothing(): void {}

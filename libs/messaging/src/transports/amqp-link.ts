/**
 * One connection to an AMQP broker that comes back by itself. Its tenant sets up channels on every new connection and is told when one is lost.
 *
 *   open ─▶ connecting ⇄ (pause) ─▶ connected ─▶ lost ─▶ connecting …          close ends it from any state
 *
 * Publishing and consuming have a link each: a broker short of memory stops reading from connections that publish, and must still see the
 * acknowledgements that free it.
 */
import { EventEmitter } from 'node:events';
import type { ChannelModel } from 'amqplib';
import type { Clock, Timer } from '@dovecote/ground';
import type { Backoff } from '../backoff.js';
import { MessagingError, reasonOf } from '../errors.js';
import type { Log } from '../log.js';
import type { BrokerAddress } from './amqp-address.js';
import { otherLanes } from './lanes/lane-topology.js';

/** The library that speaks AMQP, as far as it is used. */
export type Connect = (
  url: string,
  options: {
    noDelay: boolean;
    timeout: number;
    clientProperties: Record<string, string>;
    /** A local socket instead of host and port. */
    path?: string;
  },
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

/** Past this a connection attempt, or a farewell, counts as unanswered; the last attempt before the deadline gets the shorter time at least. */
const ANSWER_MS_MAX = 10_000;
const ANSWER_MS_MIN = 2_000;
const FAREWELL_MS_MAX = 2_000;

export class AmqpLink {
  #connection: ChannelModel | undefined;
  #isClosed = false;
  #wake: (() => void) | undefined;
  #movingIn: Arrival | undefined;

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
        await this.#connect(deadlineMs - clock.monotonicMs());
        return;
      } catch (error) {
        if (this.#isClosed) throw closedError();
        const verdict = refusalOf(error, address.shown);
        if (verdict !== undefined) throw verdict;
        if (clock.monotonicMs() >= deadlineMs) {
          throw new MessagingError(
            'broker-unreachable',
            `No connection to the broker at ${address.shown} within ${connectTimeoutMs} ms (${failureOf(error)}). Start the broker, or correct the URL.`,
            { cause: error },
          );
        }
        await this.#pause(failures, deadlineMs - clock.monotonicMs(), (delayMs) => {
          return `Cannot reach the broker at ${address.shown} (${failureOf(error)}). Is it running? Trying again in ${delayMs} ms.`;
        });
      }
    }
  }

  /** Gives up this connection for a new one: one of its channels can no longer be used. Nothing for a connection that was given up before. */
  drop(connection: ChannelModel, reason: unknown): void {
    if (connection === this.#movingIn?.connection) this.#movingIn.end(reason);
    if (connection !== this.#connection) return;
    void this.#farewell(connection);
    this.#lost(connection, reason);
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

  async #connect(limitMs = ANSWER_MS_MAX): Promise<void> {
    const { address, name, connect, log } = this.settings;
    const timeout = Math.max(ANSWER_MS_MIN, Math.ceil(Math.min(limitMs, ANSWER_MS_MAX)));
    const connection = await connect(address.url, { noDelay: true, timeout, clientProperties: { connection_name: name } });
    const arrival = new Arrival(connection);
    this.#movingIn = arrival;
    let lastError: unknown;
    connection.on('error', (error) => (lastError ??= error));
    connection.on('close', (error) => {
      const reason = lastError ?? error ?? new Error('the broker closed the connection');
      arrival.end(reason);
      this.#lost(connection, reason);
    });
    connection.on('blocked', (reason) =>
      log.warn(`${name}: the broker takes nothing for now (${reason}). What is published waits for it.`),
    );
    connection.on('unblocked', () => log.info(`${name}: the broker takes messages again.`));
    try {
      await this.tenant.moveIn(connection);
      // What ended in the same turn as the last answer came has rejected nothing.
      if (arrival.endedBecause !== undefined) throw arrival.endedBecause;
      if (this.#isClosed) throw closedError();
    } catch (error) {
      this.tenant.lost();
      await this.#farewell(connection);
      throw error;
    }
    this.#connection = connection;
  }

  #lost(connection: ChannelModel, error: unknown): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.tenant.lost();
    if (!this.#isClosed) void this.#reconnect(error);
  }

  async #reconnect(lostBecause: unknown): Promise<void> {
    const { address, log, name } = this.settings;
    let error = lostBecause;
    for (let failures = 1; !this.#isClosed; failures += 1) {
      const what = failures === 1 ? 'Lost the connection to' : 'Still no connection to';
      await this.#pause(failures, Number.POSITIVE_INFINITY, (delayMs) => {
        return `${name}: ${what} the broker at ${address.shown} (${failureOf(error)}). Trying again in ${delayMs} ms; nothing is lost meanwhile.`;
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
  #farewell(connection: ChannelModel): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.settings.clock.after(FAREWELL_MS_MAX, () => {
        destroy(connection);
        resolve();
      });
      const ended = (): void => {
        timer.cancel();
        resolve();
      };
      connection.once('close', ended);
      // Rejects when it is closed already.
      connection.close().then(ended, ended);
    });
  }
}

/** Ends the connection without a word. The client has no verb for that, so its socket is taken. */
function destroy({ connection }: ChannelModel): void {
  if ('stream' in connection && connection.stream instanceof EventEmitter && 'destroy' in connection.stream) {
    (connection.stream as EventEmitter & { destroy(): void }).destroy();
  }
}

/** What the client says about bytes it did not expect helps nobody who only mistyped a port. */
function failureOf(error: unknown): string {
  const reason = reasonOf(error);
  if (/wrong version number|packet length too long/i.test(reason))
    return 'there is no TLS at this port: write amqp: instead of amqps:, or another port';
  if (/^(?:Frame size|Invalid frame|Expected ConnectionStart)/i.test(reason))
    return 'what answers there is no AMQP broker: write another port';
  return reason;
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
    const other = otherLanes(reason);
    if (other !== undefined) return refused(`It has another number of lanes there: ${other.wayOut}.`);
    return refused('The exchange or queue exists with other properties: delete it, or give the queueType it was made with.');
  }
  return undefined;
}

function closedError(): MessagingError {
  return new MessagingError('closed', 'The service was shut down before it had reached the broker.');
}

/** A connection whose tenant is moving in. */
class Arrival {
  endedBecause: unknown;

  constructor(readonly connection: ChannelModel) {}

  end(reason: unknown): void {
    this.endedBecause ??= reason;
  }
}

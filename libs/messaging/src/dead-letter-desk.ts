/**
 * The dead letters of a service for somebody who is not that service: the command line, a script. `@dovecote/messaging/dead-letters` is this file alone, so that
 * it loads without NestJS. Makes nothing on the broker, and keeps nothing.
 */
import type { Clock, Random } from '@dovecote/ground';
import { DeadLetters } from './dead-letters.js';
import type { Log } from './log.js';
import { type BrokerOptions, checkOptions } from './options.js';
import type { StandardSchema } from './policies/validation.js';
import { chooseTransport } from './transports/choose-transport.js';

export {
  DeadLetters,
  type DeadLetter,
  type DeadLetterChoice,
  payloadOf,
  type RedriveOptions,
  type RedriveProgress,
} from './dead-letters.js';
export type { Death, DeathCause, Failure, MessageKind } from './envelope.js';
export { MessagingError, type MessagingErrorCode } from './errors.js';
export type { StandardSchema, StandardResult } from './policies/validation.js';
export { isWellFormed, typeMatcher } from './type-pattern.js';

export interface DeadLetterDeskOptions {
  readonly service: string;
  /** Where the service has its messages: a URL as in `DovecoteModule.forRoot`. */
  readonly broker: string | BrokerOptions;
  /** What the payload of a type must fit before it is sent again; nothing is checked when not given. */
  readonly schemaOf?: (type: string) => StandardSchema | undefined;
  /** How long a broker may take that cannot be reached, in milliseconds; 10,000. */
  readonly connectTimeoutMs?: number;
  /** Told of connections that are lost and come back; nobody when not given. */
  readonly log?: Log;
  /** Time and chance; the machine's own unless a test hands in others. */
  readonly ground?: { readonly clock: Clock; readonly random: Random };
}

export interface DeadLetterDesk {
  readonly letters: DeadLetters;
  /** What was looked at and not sent or thrown away is where it was. */
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 10_000;
const silent: Log = { info: nothing, warn: nothing, error: nothing };

/** Rejects with a `MessagingError` whose sentence says what to do. */
export async function openDeadLetters(options: DeadLetterDeskOptions): Promise<DeadLetterDesk> {
  const { service, broker, connectTimeoutMs = CONNECT_TIMEOUT_MS, schemaOf = nothing, log = silent, ground } = options;
  const settings = checkOptions({ service, broker, connectTimeoutMs, topology: 'check', ...(ground && { ground }) });
  const transport = chooseTransport(settings, log);
  try {
    await transport.open();
  } catch (error) {
    await transport.close();
    throw error;
  }
  return { letters: new DeadLetters(service, transport, schemaOf, settings.clock), close: () => transport.close() };
}

function nothing(): undefined {}

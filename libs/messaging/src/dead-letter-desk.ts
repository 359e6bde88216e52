/**
 * The dead letters of a service for somebody who is not that service: the command line, a script. `@dovecote/messaging/dead-letters` is this file alone, so that
 * it loads without NestJS. Makes nothing on the broker, and keeps nothing.
 */
import type { Clock, Random } from '@dovecote/ground';
import { ClaimCheck } from './claims/claim-check.js';
import type { ClaimStore } from './claims/claim-store.js';
import { DeadLetters } from './dead-letters.js';
import type { Log } from './log.js';
import { Codecs, type MessageCodec } from './message-codec.js';
import { type BrokerOptions, checkOptions } from './options.js';
import { Payloads } from './payloads.js';
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
export type { Claim, ClaimStore } from './claims/claim-store.js';
export { FolderClaimStore } from './claims/folder-claim-store.js';
export type { Death, DeathCause, Failure, MessageKind } from './envelope.js';
export { MessagingError, type MessagingErrorCode } from './errors.js';
export type { Encoded, MessageCodec, PayloadOutside } from './message-codec.js';
export type { StandardSchema, StandardResult } from './policies/validation.js';
export { isWellFormed, typeMatcher } from './type-pattern.js';

export interface DeadLetterDeskOptions {
  readonly service: string;
  /**
   * Where the service has its messages: a URL as in `DovecoteModule.forRoot`. `embedded:FOLDER` joins the process that has the broker of the folder, whatever its
   * durability, and opens the broker where no process has it; a folder that is not there is made.
   */
  readonly broker: string | BrokerOptions;
  /** What the payload of a type must fit before it is sent again; nothing is checked when not given. */
  readonly schemaOf?: (type: string) => StandardSchema | undefined;
  /** Formats that `DeadLetters.payload` reads beside JSON. */
  readonly codecs?: readonly MessageCodec[];
  /** Where it finds payloads that are kept apart: the store of whoever published them. */
  readonly claims?: ClaimStore;
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
  const { service, broker, connectTimeoutMs = CONNECT_TIMEOUT_MS, schemaOf = nothing, codecs = [], claims, log = silent, ground } = options;
  const settings = checkOptions({ service, broker, connectTimeoutMs, topology: 'check', ...(ground && { ground }) });
  const { clock } = settings;
  const check = claims && new ClaimCheck({ store: claims, overBytes: Number.POSITIVE_INFINITY, retentionMs: 0 }, clock);
  const payloads = new Payloads(new Codecs(codecs), check);
  const transport = chooseTransport(settings, log, { isGuest: true });
  try {
    await transport.open();
  } catch (error) {
    await transport.close();
    throw error;
  }
  const letters = new DeadLetters(service, transport, schemaOf, clock, () => payloads);
  return { letters, close: () => transport.close() };
}

function nothing(): undefined {}

import { CodedError } from '../errors.js';
import { notBuilt } from './arguments.js';
import { decodeFieldTable, encodeFieldTable, type FieldTable, fieldTableBytes, type FieldValue } from './field-table.js';

/**
 * The arguments of a queue: checked when it is declared, compared when it is declared again, and parsed once into plain values.
 *
 * Refusals are RabbitMQ's, word for word, as far as the type of a value is known: the width of a whole number is not, so that one
 * is called `signedint`, or `long` beyond 32 bits. Arguments that nobody knows are kept and ignored, as in RabbitMQ. Pure.
 */
export type QueueType = 'classic' | 'quorum';

export interface QueuePolicy {
  readonly type: QueueType;
  readonly deadLetterExchange: string | undefined;
  readonly deadLetterRoutingKey: string | undefined;
  /** Infinity for no bound. */
  readonly maxLength: number;
  readonly maxLengthBytes: number;
  readonly overflow: 'drop-head' | 'reject-publish' | 'reject-publish-dlx';
  /** Infinity where messages stay for ever. */
  readonly messageTtlMs: number;
  /** How long the queue may be unused before it goes; Infinity for ever. */
  readonly expiresMs: number;
  /** 0 for a queue without priorities. */
  readonly maxPriority: number;
  readonly isSingleActive: boolean;
  /** Of a quorum queue: how often a message may come back; Infinity for any number. */
  readonly deliveryLimit: number;
  /** Of a quorum queue: a dead letter stays until it is in every queue that it is for. */
  readonly deadLettersSurely: boolean;
  /** How long a delivery may be unacknowledged, in place of the broker's own limit. */
  readonly consumerTimeoutMs: number | undefined;
}

/** RabbitMQ's bound: ten years. */
const durationMsMax = 315_360_000_000;
const priorityMax = 255;
/** RabbitMQ 4.0's, for quorum queues. */
const deliveryLimitDefault = 20;

type Check = (value: FieldValue, given: FieldTable) => string | undefined;

const wholeNumber: Check = (value) => {
  if (typeof value !== 'number' || !Number.isInteger(value)) {
    return typeof value === 'bigint' ? undefined : `"expected integer, got ${typeName(value)}"`;
  }
  return value < 0 ? `{value_negative,${value}}` : undefined;
};

const duration: Check = (value, given) => {
  const wrong = wholeNumber(value, given);
  return wrong ?? (Number(value) > durationMsMax ? `{value_too_large,${valueText(value)}}` : undefined);
};

const text: Check = (value) => (typeof value === 'string' ? undefined : `{unacceptable_type,${typeName(value)}}`);

const unsupported =
  (what: string, known: readonly string[]): Check =>
  (value, given) =>
    text(value, given) ?? (known.includes(value as string) ? undefined : `"unsupported ${what} '${valueText(value)}'"`);

const positive: Check = (value, given) => wholeNumber(value, given) ?? (Number(value) === 0 ? '{value_zero,0}' : undefined);

const oneOf =
  (known: readonly string[], wrong: string): Check =>
  (value, given) =>
    text(value, given) ?? (known.includes(value as string) ? undefined : wrong);

/** What each argument may be, in the order in which RabbitMQ looks at them. */
const checks: Readonly<Record<string, Check>> = {
  'x-expires': (value, given) => duration(value, given) ?? (value === 0 ? '{value_zero,0}' : undefined),
  'x-message-ttl': duration,
  'x-dead-letter-exchange': text,
  'x-dead-letter-routing-key': (value, given) =>
    text(value, given) ?? (given['x-dead-letter-exchange'] === undefined ? 'routing_key_but_no_dlx_defined' : undefined),
  'x-dead-letter-strategy': oneOf(['at-most-once', 'at-least-once'], 'invalid_dlx_strategy'),
  'x-max-length': wholeNumber,
  'x-max-length-bytes': wholeNumber,
  'x-max-in-memory-length': wholeNumber,
  'x-max-in-memory-bytes': wholeNumber,
  'x-max-priority': (value, given) =>
    wholeNumber(value, given) ?? (Number(value) > priorityMax ? `{max_value_exceeded,${valueText(value)}}` : undefined),
  'x-overflow': oneOf(['drop-head', 'reject-publish', 'reject-publish-dlx'], 'invalid_overflow'),
  'x-queue-mode': unsupported('queue mode', ['default', 'lazy']),
  'x-queue-version': (value, given) =>
    wholeNumber(value, given) ?? (value === 1 || value === 2 ? undefined : `"unsupported queue version '${valueText(value)}'"`),
  'x-single-active-consumer': (value) => (typeof value === 'boolean' ? undefined : `{unacceptable_type,${typeName(value)}}`),
  'x-quorum-initial-group-size': positive,
  'x-queue-leader-locator': oneOf(['client-local', 'balanced', 'random', 'least-leaders', 'min-masters'], 'invalid_queue_locator_arg'),
};

const typeCheck = unsupported('queue type', ['classic', 'quorum', 'stream']);

/** The arguments that a type of queue knows, in the order in which they are compared; what only others know is refused. */
const knownBy: Readonly<Record<QueueType | 'stream', readonly string[]>> = {
  classic: [
    ...['x-expires', 'x-message-ttl', 'x-dead-letter-exchange', 'x-dead-letter-routing-key', 'x-max-length', 'x-max-length-bytes'],
    ...['x-max-priority', 'x-overflow', 'x-queue-mode', 'x-queue-version', 'x-single-active-consumer', 'x-queue-type'],
    ...['x-queue-master-locator', 'x-queue-leader-locator'],
  ],
  quorum: [
    ...['x-dead-letter-exchange', 'x-dead-letter-routing-key', 'x-dead-letter-strategy', 'x-expires', 'x-max-length', 'x-max-length-bytes'],
    ...['x-max-in-memory-length', 'x-max-in-memory-bytes', 'x-overflow', 'x-single-active-consumer', 'x-queue-type'],
    ...['x-quorum-initial-group-size', 'x-delivery-limit', 'x-message-ttl', 'x-queue-leader-locator'],
  ],
  stream: [
    ...['x-max-length-bytes', 'x-queue-type', 'x-max-age', 'x-stream-max-segment-size-bytes', 'x-initial-cluster-size'],
    'x-queue-leader-locator',
  ],
};
const known = new Set(Object.values(knownBy).flat());

/** The type of queue that arguments which were checked ask for. */
export function queueTypeOf(given: FieldTable): QueueType {
  return given['x-queue-type'] === 'quorum' ? 'quorum' : 'classic';
}

/** Throws for arguments that cannot be, and for those that are not built. */
export function checkQueueArguments(name: string, virtualHost: string, given: FieldTable): void {
  const place = `queue '${name}' in vhost '${virtualHost}'`;
  checkArgument(place, 'x-queue-type', typeCheck, given);
  if (given['x-queue-type'] === 'stream') throw notBuilt(`x-queue-type 'stream' of queue '${name}'`);
  const type = queueTypeOf(given);
  for (const [argument, check] of Object.entries(checks))
    if (knownBy[type].includes(argument)) checkArgument(place, argument, check, given);
  for (const argument of Object.keys(given)) {
    if (!known.has(argument) || knownBy[type].includes(argument)) continue;
    throw new CodedError('invalid-argument', `invalid arg '${argument}' for ${place} of queue type rabbit_${type}_queue`);
  }
}

function checkArgument(place: string, argument: string, check: Check, given: FieldTable): void {
  const value = given[argument];
  const wrong = value === undefined ? undefined : check(value, given);
  if (wrong === undefined) return;
  const invalid =
    argument === 'x-dead-letter-exchange'
      ? `invalid type '${typeName(value!)}' for arg '${argument}' in ${place}`
      : `invalid arg '${argument}' for ${place}: ${wrong}`;
  throw new CodedError('invalid-argument', invalid);
}

/** A quorum queue has a name of its own, and outlives whoever declared it. Throws for one that is to be otherwise. */
export function checkQuorumProperties(
  name: string,
  virtualHost: string,
  { durable, exclusive, autoDelete }: { readonly durable: boolean; readonly exclusive: boolean; readonly autoDelete: boolean },
): void {
  if (name === '') throw new CodedError('invalid-argument', 'Cannot declare a server-named queue for type rabbit_quorum_queue');
  const wrong = autoDelete ? 'auto-delete' : exclusive ? 'exclusive-owner' : durable ? undefined : 'non-durable';
  if (wrong === undefined) return;
  throw new CodedError('invalid-argument', `invalid property '${wrong}' for queue '${name}' in vhost '${virtualHost}'`);
}

/** Throws where an argument that means something differs from what the queue was declared with. */
export function checkSameQueueArguments(name: string, virtualHost: string, current: FieldTable, received: FieldTable): void {
  for (const argument of knownBy[queueTypeOf(current)]) {
    const otherwise = argument === 'x-queue-type' ? 'classic' : undefined;
    const now = current[argument] ?? otherwise;
    const then = received[argument] ?? otherwise;
    if (now === then) continue;
    if (now !== undefined && then !== undefined && valueText(now) === valueText(then)) continue;
    const difference =
      now === undefined
        ? `received ${valueAndType(then!)} but current is none`
        : then === undefined
          ? `received none but current is ${valueAndType(now)}`
          : `received '${valueText(then)}' but current is '${valueText(now)}'`;
    throw new CodedError(
      'inequivalent-arguments',
      `inequivalent arg '${argument}' for queue '${name}' in vhost '${virtualHost}': ${difference}`,
    );
  }
}

/** What arguments that were checked ask for; undefined for a plain queue. */
export function parseQueuePolicy(given: FieldTable): QueuePolicy | undefined {
  const number = (argument: string, otherwise: number): number => {
    const value = given[argument];
    return value === undefined ? otherwise : Number(value);
  };
  const string = (argument: string): string | undefined => given[argument] as string | undefined;
  const type = queueTypeOf(given);
  const wanted = string('x-overflow') as QueuePolicy['overflow'] | undefined;
  // A quorum queue does not know the third, and drops.
  const overflow = wanted === undefined || (type === 'quorum' && wanted === 'reject-publish-dlx') ? 'drop-head' : wanted;
  const policy: QueuePolicy = {
    type,
    deadLetterExchange: string('x-dead-letter-exchange'),
    deadLetterRoutingKey: string('x-dead-letter-routing-key'),
    maxLength: number('x-max-length', Infinity),
    maxLengthBytes: number('x-max-length-bytes', Infinity),
    overflow,
    messageTtlMs: number('x-message-ttl', Infinity),
    expiresMs: number('x-expires', Infinity),
    maxPriority: number('x-max-priority', 0),
    isSingleActive: given['x-single-active-consumer'] === true,
    deliveryLimit: deliveryLimit(given['x-delivery-limit']),
    deadLettersSurely: type === 'quorum' && overflow === 'reject-publish' && given['x-dead-letter-strategy'] === 'at-least-once',
    consumerTimeoutMs: timeoutOf(given),
  };
  const isPlain =
    type === 'classic' &&
    policy.consumerTimeoutMs === undefined &&
    policy.deadLetterExchange === undefined &&
    policy.maxLength === Infinity &&
    policy.maxLengthBytes === Infinity &&
    policy.messageTtlMs === Infinity &&
    policy.expiresMs === Infinity &&
    policy.maxPriority === 0 &&
    !policy.isSingleActive;
  return isPlain ? undefined : policy;
}

/** RabbitMQ does not refuse what is no number of milliseconds, and takes none of it. */
function timeoutOf({ 'x-consumer-timeout': value }: FieldTable): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) ? value : undefined;
}

/** RabbitMQ does not look at the value: what is no number limits nothing, nor does a negative one. */
function deliveryLimit(value: FieldValue | undefined): number {
  if (value === undefined) return deliveryLimitDefault;
  const number = typeof value === 'object' && value !== null && 'float' in value ? value.float : value;
  return (typeof number === 'number' || typeof number === 'bigint') && number >= 0 ? Number(number) : Infinity;
}

/** What a consumer asks for. Throws for arguments that cannot be, and for those that are not built. */
export function checkConsumerArguments(
  queue: string,
  virtualHost: string,
  type: QueueType,
  given: FieldTable,
): { readonly priority: number; readonly timeoutMs: number | undefined } {
  const place = `queue '${queue}' in vhost '${virtualHost}'`;
  const priority = given['x-priority'];
  if (priority !== undefined && typeof priority !== 'bigint' && !Number.isInteger(priority)) {
    throw new CodedError('invalid-argument', `invalid arg 'x-priority' for ${place}: "expected integer, got ${typeName(priority)}"`);
  }
  for (const argument of ['x-stream-offset', 'x-stream-filter', 'x-stream-match-unfiltered']) {
    if (given[argument] === undefined) continue;
    throw new CodedError('invalid-argument', `invalid arg '${argument}' for ${place} of queue type rabbit_${type}_queue`);
  }
  return { priority: Number(priority ?? 0), timeoutMs: timeoutOf(given) };
}

/** Arguments as they are kept: the bytes of their table in base64. */
export function argumentsText(given: FieldTable): string {
  const bytes = Buffer.alloc(fieldTableBytes(given));
  encodeFieldTable(given, bytes, 0);
  return bytes.toString('base64');
}

export function argumentsFrom(kept: string | undefined): FieldTable {
  if (kept === undefined) return {};
  const bytes = Buffer.from(kept, 'base64');
  return decodeFieldTable(bytes, 0, bytes.length);
}

function valueAndType(value: FieldValue): string {
  return `the value '${valueText(value)}' of type '${typeName(value)}'`;
}

/** Whole numbers are the same whatever their width, and 10.0 is not 10. */
function valueText(value: FieldValue): string {
  if (typeof value !== 'object') return String(value);
  if (value !== null && 'float' in value && typeof value.float === 'number') return `${value.float}.0`;
  return JSON.stringify(value);
}

function typeName(value: FieldValue): string {
  if (value === null) return 'void';
  if (typeof value === 'string') return 'longstr';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'bigint') return 'long';
  if (typeof value === 'number') return !Number.isInteger(value) ? 'double' : value === (value | 0) ? 'signedint' : 'long';
  if (Buffer.isBuffer(value)) return 'binary';
  if (Array.isArray(value)) return 'array';
  if ('timestamp' in value) return 'timestamp';
  if ('float' in value) return 'double';
  return 'decimal' in value ? 'decimal' : 'table';
}

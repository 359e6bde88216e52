import { CodedError } from '../errors.js';
import { notBuilt } from './arguments.js';
import { decodeFieldTable, encodeFieldTable, type FieldTable, fieldTableBytes, type FieldValue } from './field-table.js';

/**
 * The arguments of a queue: checked when it is declared, compared when it is declared again, and parsed once into plain values.
 *
 * Refusals are RabbitMQ's, word for word, as far as the type of a value is known: the width of a whole number is not, so that one
 * is called `signedint`, or `long` beyond 32 bits. Arguments that nobody knows are kept and ignored, as in RabbitMQ. Pure.
 */
export interface QueuePolicy {
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
}

/** RabbitMQ's bound: ten years. */
const durationMsMax = 315_360_000_000;
const priorityMax = 255;

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

/** Every argument that means something to a classic queue, in the order in which RabbitMQ compares them. */
const checks: Readonly<Record<string, Check>> = {
  'x-expires': (value, given) => duration(value, given) ?? (value === 0 ? '{value_zero,0}' : undefined),
  'x-message-ttl': duration,
  'x-dead-letter-exchange': text,
  'x-dead-letter-routing-key': (value, given) =>
    text(value, given) ?? (given['x-dead-letter-exchange'] === undefined ? 'routing_key_but_no_dlx_defined' : undefined),
  'x-max-length': wholeNumber,
  'x-max-length-bytes': wholeNumber,
  'x-max-priority': (value, given) =>
    wholeNumber(value, given) ?? (Number(value) > priorityMax ? `{max_value_exceeded,${valueText(value)}}` : undefined),
  'x-overflow': (value, given) =>
    text(value, given) ??
    (['drop-head', 'reject-publish', 'reject-publish-dlx'].includes(value as string) ? undefined : 'invalid_overflow'),
  'x-queue-mode': unsupported('queue mode', ['default', 'lazy']),
  'x-queue-version': (value, given) =>
    wholeNumber(value, given) ?? (value === 1 || value === 2 ? undefined : `"unsupported queue version '${valueText(value)}'"`),
  'x-single-active-consumer': (value) => (typeof value === 'boolean' ? undefined : `{unacceptable_type,${typeName(value)}}`),
  'x-queue-leader-locator': (value, given) =>
    text(value, given) ??
    (['client-local', 'balanced', 'random', 'least-leaders'].includes(value as string) ? undefined : 'invalid_queue_locator_arg'),
  'x-queue-type': unsupported('queue type', ['classic', 'quorum', 'stream']),
};

/** What belongs to other types of queues, and is refused on a classic one. */
const foreign = new Set([
  'x-dead-letter-strategy',
  'x-delivery-limit',
  'x-max-age',
  'x-max-in-memory-length',
  'x-max-in-memory-bytes',
  'x-stream-max-segment-size-bytes',
  'x-stream-filter-size-bytes',
  'x-initial-cluster-size',
  'x-quorum-initial-group-size',
]);

/** Throws for arguments that cannot be, and for those that are not built. */
export function checkQueueArguments(name: string, virtualHost: string, given: FieldTable): void {
  const place = `queue '${name}' in vhost '${virtualHost}'`;
  for (const [argument, check] of Object.entries(checks)) {
    const value = given[argument];
    const wrong = value === undefined ? undefined : check(value, given);
    if (wrong === undefined) continue;
    const invalid =
      argument === 'x-dead-letter-exchange'
        ? `invalid type '${typeName(value!)}' for arg '${argument}' in ${place}`
        : `invalid arg '${argument}' for ${place}: ${wrong}`;
    throw new CodedError('invalid-argument', invalid);
  }
  const type = given['x-queue-type'];
  if (type !== undefined && type !== 'classic') throw notBuilt(`x-queue-type '${valueText(type)}' of queue '${name}'`);
  for (const argument of Object.keys(given)) {
    if (foreign.has(argument)) {
      throw new CodedError('invalid-argument', `invalid arg '${argument}' for ${place} of queue type rabbit_classic_queue`);
    }
    if (argument === 'x-consumer-timeout') throw notBuilt(`the argument '${argument}' of queue '${name}'`);
  }
}

/** Throws where an argument that means something differs from what the queue was declared with. */
export function checkSameQueueArguments(name: string, virtualHost: string, current: FieldTable, received: FieldTable): void {
  for (const argument of Object.keys(checks)) {
    const now = current[argument];
    const then = received[argument];
    if (now === then || (argument === 'x-queue-type' && (now ?? 'classic') === (then ?? 'classic'))) continue;
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
  const policy: QueuePolicy = {
    deadLetterExchange: string('x-dead-letter-exchange'),
    deadLetterRoutingKey: string('x-dead-letter-routing-key'),
    maxLength: number('x-max-length', Infinity),
    maxLengthBytes: number('x-max-length-bytes', Infinity),
    overflow: (string('x-overflow') as QueuePolicy['overflow'] | undefined) ?? 'drop-head',
    messageTtlMs: number('x-message-ttl', Infinity),
    expiresMs: number('x-expires', Infinity),
    maxPriority: number('x-max-priority', 0),
    isSingleActive: given['x-single-active-consumer'] === true,
  };
  const isPlain =
    policy.deadLetterExchange === undefined &&
    policy.maxLength === Infinity &&
    policy.maxLengthBytes === Infinity &&
    policy.messageTtlMs === Infinity &&
    policy.expiresMs === Infinity &&
    policy.maxPriority === 0 &&
    !policy.isSingleActive;
  return isPlain ? undefined : policy;
}

/** The priority that a consumer asks for, 0 if it does not. Throws for arguments that cannot be, and for those that are not built. */
export function checkConsumerArguments(queue: string, virtualHost: string, given: FieldTable): number {
  const place = `queue '${queue}' in vhost '${virtualHost}'`;
  const priority = given['x-priority'];
  if (priority !== undefined && typeof priority !== 'bigint' && !Number.isInteger(priority)) {
    throw new CodedError('invalid-argument', `invalid arg 'x-priority' for ${place}: "expected integer, got ${typeName(priority)}"`);
  }
  for (const argument of ['x-stream-offset', 'x-stream-filter', 'x-stream-match-unfiltered']) {
    if (given[argument] === undefined) continue;
    throw new CodedError('invalid-argument', `invalid arg '${argument}' for ${place} of queue type rabbit_classic_queue`);
  }
  if (given['x-consumer-timeout'] !== undefined) throw notBuilt(`the argument 'x-consumer-timeout' of a consumer of queue '${queue}'`);
  return Number(priority ?? 0);
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

import type { Clock } from '@dovecote/ground';
import { propertiesStart } from './content.js';
import type { Deadlines, Due } from './deadlines.js';
import { findProperty } from './properties.js';

/** Bytes in front of the image of a message that may expire: when it came, in milliseconds since 1970. */
export const enqueuedAtBytes = 6;

/** RabbitMQ's bound: ten years. */
const expirationMsMax = 315_360_000_000;

/** What is wrong with the property `expiration`, in RabbitMQ's words; undefined when nothing is. */
export function expirationFault(text: string): string | undefined {
  const digits = /^[+-]?\d+/.exec(text)?.[0];
  if (digits === undefined) return 'no_integer';
  if (digits.length < text.length) return `{leftover_string,${JSON.stringify(text.slice(digits.length))}}`;
  if (Number(digits) < 0) return `{value_negative,${digits}}`;
  return Number(digits) > expirationMsMax ? `{value_too_large,${digits}}` : undefined;
}

/**
 * When the messages of one queue expire: the earlier of what the queue says for all and what a message says for itself, counted from
 * the moment at which it came.
 *
 * That moment stands in front of the message's image, in memory as in the journal, so that it costs nothing where nothing expires
 * and is the same after a restart. All messages of a queue with a time to live have it, and all with the property `expiration`.
 *
 * Only the first message of a queue is looked at. One whose time is 0 goes to a consumer that can take it at once, or never.
 */
export class Expiry implements Due {
  dueAt = Infinity;
  duePlace = -1;
  /** Messages below this sequence have had their chance. */
  offeredBelow = 0;

  constructor(
    private readonly ttlMs: number,
    private readonly clock: Clock,
    private readonly deadlines: Deadlines,
    /** Sees to it that the queue looks at its first message. */
    private readonly wake: () => void,
  ) {}

  due(): void {
    this.wake();
  }

  /** The message was out with a consumer and comes back: one that lives for no time at all is over. */
  hadItsChance(sequence: number): void {
    if (sequence >= this.offeredBelow) this.offeredBelow = sequence + 1;
  }

  /** Whether the message must not be delivered any more. */
  isOver(bytes: Buffer, offset: number, sequence: number): boolean {
    const lifeMs = this.lifeMs(bytes, offset);
    if (lifeMs === Infinity) return false;
    if (lifeMs === 0) return sequence < this.offeredBelow;
    return bytes.readUIntBE(offset - enqueuedAtBytes, enqueuedAtBytes) + lifeMs <= this.clock.now();
  }

  /** The message is the first: it will be looked at again when its time is over. */
  watch(bytes: Buffer, offset: number): void {
    const lifeMs = this.lifeMs(bytes, offset);
    if (lifeMs === Infinity) return;
    this.deadlines.schedule(this, bytes.readUIntBE(offset - enqueuedAtBytes, enqueuedAtBytes) + lifeMs);
  }

  private lifeMs(bytes: Buffer, offset: number): number {
    const at = findProperty(bytes, propertiesStart(bytes, offset), 'expiration');
    if (at < 0) return this.ttlMs;
    return Math.min(Number(bytes.toString('latin1', at + 1, at + 1 + bytes[at]!)), this.ttlMs);
  }
}

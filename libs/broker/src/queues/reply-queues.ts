import type { Random } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { Arena } from '../storage/arena.js';
import { Queue, type QueueWorld } from './queue.js';
import type { VisitHolding } from './trimmer.js';
import type { Turn } from './turn.js';

/** The name under which a client asks for replies, and which it gives to whoever is to reply. */
export const replyToName = 'amq.rabbitmq.reply-to';

const tokenBytes = 24;

/**
 * Direct reply-to: a way back to one consumer, without a queue that anybody declared.
 *
 * Each is a queue that has no other way in than the default exchange with its name, and no other way out than the consumer it was
 * made for. The name is long and by chance, so that only who was told it can reply. Nothing is kept: what is on its way when the
 * consumer goes is gone, and what comes later finds no queue.
 */
export class ReplyQueues {
  private readonly byName = new Map<string, Queue>();

  constructor(
    private readonly arena: Arena,
    private readonly turn: Turn,
    private readonly random: Random,
    private readonly world: QueueWorld,
  ) {}

  open(): Queue {
    const name = `${replyToName}.${this.random.bytes(tokenBytes).toString('base64url')}`;
    const settings = { id: 0, name, durable: false, exclusive: false, autoDelete: true };
    const queue = new Queue(settings, undefined, this.arena, this.turn, undefined, this.world, undefined);
    this.byName.set(name, queue);
    return queue;
  }

  find(name: string): Queue | undefined {
    return this.byName.get(name);
  }

  forEachHolding(isWanted: readonly boolean[], visit: VisitHolding): void {
    for (const queue of this.byName.values()) queue.forEachHolding(isWanted, visit);
  }

  /** The consumer is gone. False when the queue is none of these. */
  close(queue: Queue): boolean {
    if (!this.byName.delete(queue.name)) return false;
    queue.clear();
    return true;
  }
}

export function noReplyConsumer(): CodedError {
  return new CodedError('invalid-argument', 'fast reply consumer does not exist');
}

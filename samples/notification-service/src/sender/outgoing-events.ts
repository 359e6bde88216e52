/**
 * Publishes events and does not let go of one before the broker has confirmed it.
 *
 * The publisher repeats a message across reconnects up to a deadline; past it we hand the event over again under the same id, so that a broker
 * that is away for an hour costs an hour and no event. What is not confirmed yet lives in this process only: a sender that is killed forgets it, and
 * nobody was promised otherwise. At most `UNCONFIRMED_MAX` wait; whoever makes events looks at `isFull` first.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { MessagingError, Publisher } from '@dovecote/messaging';
import { FactFile } from '../facts/fact-file.js';

const UNCONFIRMED_MAX = 5_000;
const REPEAT_AFTER_MS = 500;

@Injectable()
export class OutgoingEvents {
  private unconfirmed = 0;

  constructor(
    private readonly publisher: Publisher,
    private readonly facts: FactFile,
  ) {}

  get isFull(): boolean {
    return this.unconfirmed >= UNCONFIRMED_MAX;
  }

  /** Resolves when the broker has confirmed the event. Rejects where asking again cannot help, as with an event class that is not declared. */
  async send(event: object): Promise<void> {
    const id = randomUUID();
    this.facts.append('sent', id);
    this.unconfirmed += 1;
    try {
      while (!(await this.isConfirmed(event, id))) await delay(REPEAT_AFTER_MS);
      this.facts.append('confirmed', id);
    } finally {
      this.unconfirmed -= 1;
    }
  }

  private async isConfirmed(event: object, id: string): Promise<boolean> {
    try {
      await this.publisher.publish(event, { id });
      return true;
    } catch (error) {
      if (error instanceof MessagingError && error.retryable) return false;
      throw error;
    }
  }
}

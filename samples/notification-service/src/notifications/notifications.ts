/**
 * The notification service: turns events into notifications. It knows what happened from the events alone, and none of the services they come from.
 *
 * A method returns when its notification went out, and only then is the event acknowledged: killed in the middle, the service gets it again.
 */
import { Injectable } from '@nestjs/common';
import { type Message, Subscribe } from '@dovecote/messaging';
import { MemberJoined, OrderPlaced, PaymentReceived, PostLiked, PostPublished } from '../contracts.js';
import { Letterbox } from './letterbox.js';

@Injectable()
export class Notifications {
  constructor(private readonly letterbox: Letterbox) {}

  @Subscribe(PostPublished)
  async postPublished(event: PostPublished, message: Message): Promise<void> {
    await this.letterbox.post(message, event.follower, `${event.author} published “${event.title}”.`);
  }

  @Subscribe(MemberJoined)
  async memberJoined(event: MemberJoined, message: Message): Promise<void> {
    await this.letterbox.post(message, event.owner, `${event.member} joined your group ${event.group}.`);
  }

  @Subscribe(PostLiked)
  async postLiked(event: PostLiked, message: Message): Promise<void> {
    await this.letterbox.post(message, event.author, `${event.likedBy} likes your post “${event.title}”.`);
  }

  @Subscribe(OrderPlaced)
  async orderPlaced(event: OrderPlaced, message: Message): Promise<void> {
    await this.letterbox.post(message, event.customer, `Your order of ${event.item} over ${money(event.totalCents)} is placed.`);
  }

  @Subscribe(PaymentReceived)
  async paymentReceived(event: PaymentReceived, message: Message): Promise<void> {
    await this.letterbox.post(message, event.payee, `${event.payer} paid you ${money(event.amountCents)}.`);
  }
}

function money(cents: number): string {
  return `€${(cents / 100).toFixed(2)}`;
}

/**
 * What the services tell each other: one class for each event, shared by whoever publishes it and whoever listens.
 *
 * This file is the only thing the services have in common. An event says what happened, never what somebody should do about it, so a sixth
 * service can listen tomorrow without a word to the first five. The key keeps events about the same thing in order where a transport can.
 */
import { EventMessage } from '@dovecote/messaging';

@EventMessage('posts.post-published', { key: (event: PostPublished) => event.postId })
export class PostPublished {
  constructor(
    readonly postId: string,
    readonly author: string,
    readonly title: string,
    readonly follower: string,
  ) {}
}

@EventMessage('groups.member-joined', { key: (event: MemberJoined) => event.groupId })
export class MemberJoined {
  constructor(
    readonly groupId: string,
    readonly group: string,
    readonly member: string,
    readonly owner: string,
  ) {}
}

@EventMessage('likes.post-liked', { key: (event: PostLiked) => event.postId })
export class PostLiked {
  constructor(
    readonly postId: string,
    readonly title: string,
    readonly author: string,
    readonly likedBy: string,
  ) {}
}

@EventMessage('orders.order-placed', { key: (event: OrderPlaced) => event.orderId })
export class OrderPlaced {
  constructor(
    readonly orderId: string,
    readonly customer: string,
    readonly item: string,
    readonly totalCents: number,
  ) {}
}

@EventMessage('payments.payment-received', { key: (event: PaymentReceived) => event.paymentId })
export class PaymentReceived {
  constructor(
    readonly paymentId: string,
    readonly payer: string,
    readonly payee: string,
    readonly amountCents: number,
  ) {}
}

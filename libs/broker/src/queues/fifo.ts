import type { ReturnedMessage } from './returned.js';

/** Messages in the order in which they were put in: what a quorum queue keeps apart from its ring. An object a message; usually short. */
export class Fifo {
  private messages: ReturnedMessage[] = [];
  private head = 0;

  get length(): number {
    return this.messages.length - this.head;
  }

  get first(): ReturnedMessage | undefined {
    return this.messages[this.head];
  }

  push(message: ReturnedMessage): void {
    this.messages.push(message);
  }

  /** There must be one. */
  shift(): ReturnedMessage {
    const first = this.messages[this.head++]!;
    if (this.head > 1024 && this.head * 2 > this.messages.length) {
      this.messages = this.messages.slice(this.head);
      this.head = 0;
    }
    return first;
  }
}

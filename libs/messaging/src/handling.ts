/**
 * Which message is being handled: what a handler publishes came of it, also where it is published three calls further down. In memory, along the promises of
 * the handler; measured at half a microsecond for ten promises on Node 20, and next to nothing from Node 24 on.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Message } from './message.js';

const current = new AsyncLocalStorage<Message>();

export function handling<T>(message: Message, run: () => T): T {
  return current.run(message, run);
}

export function messageInHand(): Message | undefined {
  return current.getStore();
}

import type { Message } from '../message.js';

/** Calls a handler, or what stands before it. */
export type Handle = (event: object, message: Message) => Promise<unknown>;

/** One thing around a handler. Those that a handler does not ask for are not there. */
export type Step = (next: Handle) => Handle;

/** The first step is the outermost. */
export function around(handle: Handle, steps: readonly Step[]): Handle {
  return steps.reduceRight<Handle>((next, step) => step(next), handle);
}

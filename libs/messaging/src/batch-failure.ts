import type { Message } from './message.js';

/** Thrown by a handler of batches: these messages failed, each for its reason, and the others of the batch are done. */
export class BatchFailure extends Error {
  override readonly name = 'BatchFailure';

  constructor(readonly failures: ReadonlyMap<Message, unknown>) {
    super(`${failures.size} messages of the batch failed`);
  }
}

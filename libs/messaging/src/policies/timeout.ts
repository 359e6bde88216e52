import type { Clock } from '@dovecote/ground';
import { MessagingError } from '../errors.js';
import { type Message, abortMessage } from '../message.js';
import type { Step } from './step.js';

/**
 * Gives a handler so much time. Past it the message's signal is aborted and the attempt has failed, whether the handler stops or not: what it does after
 * that may overlap with the next attempt.
 */
export function timeout(clock: Clock, timeoutMs: number, abort: (message: Message) => void = abortMessage): Step {
  return (next) => (event, message) =>
    new Promise((resolve, reject) => {
      const timer = clock.after(timeoutMs, () => {
        abort(message);
        reject(new MessagingError('handler-timeout', `it was not done within ${timeoutMs} ms`));
      });
      next(event, message).then(
        (value) => {
          timer.cancel();
          resolve(value);
        },
        (error: unknown) => {
          timer.cancel();
          reject(error as Error);
        },
      );
    });
}

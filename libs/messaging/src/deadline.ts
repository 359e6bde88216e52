/** Keeps nothing; who waits no longer than that does not end what it waited for. */
import type { Clock, Timer } from '@dovecote/ground';

/** Rejects with what `late` says where `work` is not over after `limitMs`. */
export async function withinTime<Result>(clock: Clock, limitMs: number, work: Promise<Result>, late: () => Error): Promise<Result> {
  let timer: Timer | undefined;
  const isOver = new Promise<never>((_resolve, reject) => (timer = clock.after(limitMs, () => reject(late()))));
  try {
    return await Promise.race([work, isOver]);
  } finally {
    timer?.cancel();
  }
}

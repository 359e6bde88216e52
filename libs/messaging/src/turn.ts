/**
 * Resolves in the next turn of the event loop: what this process has under way has gone on by then. A message to oneself, because a test suite that
 * others run with any clock cannot ask theirs. For tests only.
 */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port2.once('message', () => {
      port1.close();
      resolve();
    });
    port1.postMessage(undefined);
  });
}

/** Resolves when it is so, in one of the next turns; rejects when it is not after very many. */
export async function until(isTrue: () => boolean): Promise<void> {
  for (let turns = 0; !isTrue(); turns++) {
    if (turns > 20_000) throw new Error('what the test waits for did not happen');
    await turn();
  }
}

/** Enough turns for what is under way in this process. */
export async function settle(): Promise<void> {
  for (let turns = 0; turns < 20; turns++) await turn();
}

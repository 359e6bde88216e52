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

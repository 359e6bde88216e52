/**
 * Time, as everything above sees it: what the hour is, how long something took, and "call me later".
 *
 * The real clock is Node's. The simulated one stands still until somebody moves it, so that a test of a
 * thirty-minute timeout takes no time and a run with a seed always unfolds the same way.
 */
export interface Clock {
  /** Milliseconds since 1970-01-01 UTC. May jump when somebody sets the machine's clock: never measure with it. */
  now(): number;
  /** Milliseconds since some fixed moment, with fractions; never goes back. */
  monotonicMs(): number;
  /** Calls `run` once, `delayMs` from now or later. A pending timer does not keep a real process alive. */
  after(delayMs: number, run: () => void): Timer;
  /** Calls `run` once in the next turn of the event loop, after the input that is waiting now was read. */
  defer(run: () => void): void;
}

export interface Timer {
  /** Forgets the call. Harmless when it was made already. */
  cancel(): void;
}

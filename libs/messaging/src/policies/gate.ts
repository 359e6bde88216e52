/**
 * What must open before a handler takes its next message: one small thing for each of concurrency, rate and a circuit breaker. Asked before each message,
 * so without a promise. In memory, per process; after a restart all of them are open.
 */
export interface Gate {
  /** How long the next message has to wait: 0 where it may start now, infinite where only the end of one that runs can open the gate. */
  waitMs(nowMs: number): number;
  started(nowMs: number): void;
  ended(isSuccess: boolean, nowMs: number): void;
}

/** The longest wait of all. */
export function waitAt(gates: readonly Gate[], nowMs: number): number {
  let longestMs = 0;
  for (const gate of gates) longestMs = Math.max(longestMs, gate.waitMs(nowMs));
  return longestMs;
}

/** What every `Clock` must do. */
import assert from 'node:assert/strict';
import type { Clock } from './clock.js';
import { type ContractCase, type ContractSubject, type OpenSubject, contractCases } from './contract.js';

export function clockContract(open: OpenSubject<ContractSubject<Clock>>): readonly ContractCase[] {
  return contractCases(open, cases);
}

const cases: Readonly<Record<string, (subject: ContractSubject<Clock>) => Promise<void>>> = {
  'tells whole milliseconds since 1970': async ({ port }) => {
    assert.ok(Number.isInteger(port.now()));
    assert.ok(port.now() > Date.UTC(2020));
  },
  'calls no earlier than asked': async ({ port }) => {
    for (const delayMs of [0, 0.5, 1, 3.25]) {
      const beforeMs = port.monotonicMs();
      await new Promise<void>((resolve) => void port.after(delayMs, resolve));
      assert.ok(port.monotonicMs() >= beforeMs + delayMs, `${port.monotonicMs() - beforeMs} ms instead of ${delayMs}`);
    }
  },
  'calls the earlier due first': async ({ port }) => {
    const calls: string[] = [];
    await new Promise<void>((resolve) => {
      port.after(12, () => resolve(void calls.push('late')));
      port.after(1, () => calls.push('soon'));
    });
    assert.deepEqual(calls, ['soon', 'late']);
  },
  'never calls before the asking returned': async ({ port }) => {
    const calls: string[] = [];
    await new Promise<void>((resolve) => {
      port.after(0, () => calls.push('after'));
      port.defer(() => calls.push('defer'));
      port.after(5, resolve);
      calls.push('returned');
    });
    assert.equal(calls[0], 'returned');
    assert.deepEqual(calls.toSorted(), ['after', 'defer', 'returned']);
  },
  'defers past every promise that can go on now': async ({ port }) => {
    let isCalled = false;
    const called = new Promise<void>((resolve) => port.defer(() => resolve(void (isCalled = true))));
    for (let turn = 0; turn < 50; turn++) await Promise.resolve();
    assert.equal(isCalled, false);
    await called;
  },
  'forgets a cancelled call, and takes a late cancel in good part': async ({ port }) => {
    let calls = 0;
    const cancelled = port.after(1, () => calls++);
    cancelled.cancel();
    cancelled.cancel();
    await new Promise<void>((resolve) => {
      const made = port.after(5, () => {
        made.cancel();
        resolve();
      });
    });
    assert.equal(calls, 0);
  },
  'keeps deferred calls in order, and what they defer comes after them': async ({ port }) => {
    const calls: number[] = [];
    await new Promise<void>((resolve) => {
      port.defer(() => {
        calls.push(1);
        port.defer(() => resolve(void calls.push(3)));
      });
      port.defer(() => calls.push(2));
    });
    assert.deepEqual(calls, [1, 2, 3]);
  },
  'does not take a delay of more than 2^31 ms for none': async ({ port }) => {
    let calls = 0;
    const timers = [port.after(2 ** 31 + 5, () => calls++), port.after(Number.MAX_SAFE_INTEGER, () => calls++)];
    await new Promise<void>((resolve) => void port.after(5, resolve));
    assert.equal(calls, 0);
    for (const timer of timers) timer.cancel();
  },
};

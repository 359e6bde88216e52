export { Harness, type HarnessOptions, startHarness, type TestingBuilder } from './harness.js';
export type { Outcome } from './outcome.js';
export type { Fact } from './record.js';

// Tests stand beside what they test (src/name.spec.ts); `tsc -b` compiles them into dist, and jest only runs them (native ESM, no transform).
const common = {
  testEnvironment: 'node',
  transform: {},
  roots: ['libs', 'apps', 'samples', 'tools'].map((room) => `<rootDir>/${room}`),
};
export default {
  maxWorkers: 2,
  workerIdleMemoryLimit: '700MB',
  testTimeout: 120_000, // only ever met by a test that hangs: loaded machines are slow
  projects: [{ ...common, displayName: 'unit', testMatch: ['**/dist/**/*.spec.js'] }],
  collectCoverageFrom: ['libs/*/dist/**/*.js', 'apps/*/dist/**/*.js'],
  coverageProvider: 'v8',
};

// Prints `passed failed skipped` from the results that jest wrote. A test file that could not run counts as one failure.
import { readFileSync } from 'node:fs';

const results = JSON.parse(readFileSync(process.argv[2], 'utf8'));
console.log(
  results.numPassedTests,
  results.numFailedTests + results.numRuntimeErrorTestSuites,
  results.numPendingTests + results.numTodoTests,
);

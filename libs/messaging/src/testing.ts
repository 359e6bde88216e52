/**
 * What a test needs of messaging: the suites that every transport must pass, and what it parks, as plain cases for any runner.
 *
 *   for (const { name, run } of transportContract(openMyBroker)) it(name, run);
 *   for (const { name, run } of parkingStoreContract(openMyBroker)) it(name, run);
 *
 * The suite itself is tested by transports that break one promise each (broken-transports.ts).
 */
export { parkingStoreContract } from './parking-contract.js';
export { type ContractCase, type TransportSubject, transportContract } from './transport-contract.js';

/**
 * What a test needs of messaging: the suites that every transport, what it parks, and every claim store must pass, as plain cases for any runner.
 *
 *   for (const { name, run } of transportContract(openMyBroker)) it(name, run);
 *   for (const { name, run } of parkingStoreContract(openMyBroker)) it(name, run);
 *
 * The suites themselves are tested by transports and stores that break one promise each (broken-transports.ts, claims/broken-claim-stores.ts).
 */
export { parkingStoreContract } from './parking-contract.js';
export { type ClaimStoreCase, type ClaimStoreSubject, claimStoreContract } from './claims/claim-store-contract.js';
export { type ContractCase, type TransportSubject, transportContract } from './transport-contract.js';

/**
 * What a test needs of messaging: the suite that every transport must pass, as plain cases for any runner.
 *
 *   for (const { name, run } of transportContract(openMyBroker)) it(name, run);
 *
 * The suite itself is tested by transports that break one promise each (broken-transports.ts).
 */
export { type ContractCase, type TransportSubject, transportContract } from './transport-contract.js';

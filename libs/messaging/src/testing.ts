/**
 * What a test needs of messaging: the suites that every transport, what it parks, and every claim store must pass, as plain cases for any runner.
 *
 *   for (const { name, run } of transportContract(openMyBroker)) it(name, run);
 *   for (const { name, run } of parkingStoreContract(openMyBroker)) it(name, run);
 *
 * The suites themselves are tested by transports and stores that break one promise each (broken-transports.ts, claims/broken-claim-stores.ts).
 * Behind them, what @dovecote/testing/harness puts in the place of an application's broker.
 */
export { parkingStoreContract } from './parking-contract.js';
export { type ClaimStoreCase, type ClaimStoreSubject, claimStoreContract } from './claims/claim-store-contract.js';
export type { ContractCase } from './contract-case.js';
export { type TransportSubject, transportContract } from './transport-contract.js';
export { messagingOver } from './dovecote.module.js';
export { messageDefinitionOf } from './message-definition.js';
export { Messaging } from './messaging.js';
export { messagingOf } from './messaging-of.js';
export type { Telemetry } from './telemetry/telemetry.js';

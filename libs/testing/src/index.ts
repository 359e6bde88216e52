export { startBroker, type TestBroker, type TestBrokerOptions } from './test-broker.js';

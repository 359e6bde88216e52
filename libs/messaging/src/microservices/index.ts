/**
 * Controllers with `@EventPattern` and `@MessagePattern`, and `ClientProxy`, over the brokers of this package. Apart from the rest of it, so that only who uses
 * it needs @nestjs/microservices.
 */
export { DOVECOTE, DovecoteServer } from './dovecote-server.js';
export { DovecoteClient, type DovecoteClientOptions } from './dovecote-client.js';
export { DovecoteContext } from './dovecote-context.js';
export { DovecoteRecord, DovecoteRecordBuilder, type DovecoteRecordOptions } from './dovecote-record.js';
export { ErrorsAsThrown } from './errors-as-thrown.js';

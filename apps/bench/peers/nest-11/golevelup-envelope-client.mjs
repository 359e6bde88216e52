/** @golevelup/nestjs-rabbitmq with what our messages say beside their body: its publisher fills in the attributes of CloudEvents and the properties of AMQP. */
import { randomUUID } from 'node:crypto';
import { fail, runClient } from '../../dist/transports/client-program.js';
import { clientWith } from './golevelup.mjs';

function envelopeOf({ orderId }, name) {
  const messageId = randomUUID();
  const now = new Date();
  const [type, appId] = [`${name}.placed`, `${name}-publisher`];
  const headers = {
    cloudEvents_specversion: '1.0',
    cloudEvents_id: messageId,
    cloudEvents_source: appId,
    cloudEvents_type: type,
    cloudEvents_subject: orderId,
    cloudEvents_partitionkey: orderId,
    cloudEvents_dataversion: '1',
    cloudEvents_time: now.toISOString(),
  };
  const timestamp = Math.floor(now.getTime() / 1000);
  return { persistent: true, contentType: 'application/json', messageId, timestamp, type, appId, headers };
}

runClient(clientWith(envelopeOf)).catch(fail);

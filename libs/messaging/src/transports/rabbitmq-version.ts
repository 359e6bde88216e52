/**
 * Which RabbitMQ it must be. Quorum queues of this service are without a limit of returns (topology.ts), which is -1 since RabbitMQ 4.0. Before, -1 was taken
 * too, and was below every count: 3.10 was seen to drop each message that came back to its queue.
 */
import type { ChannelModel } from 'amqplib';
import { MessagingError } from '../errors.js';
import type { QueueType } from './topology.js';

const MAJOR_VERSION_MIN = 4;

/** Throws a `MessagingError` where messages would be lost. */
export function refuseOldRabbit({ connection }: ChannelModel, queueType: QueueType, address: string): void {
  const { product, version } = connection.serverProperties as { readonly product?: unknown; readonly version?: unknown };
  if (queueType !== 'quorum' || product !== 'RabbitMQ' || typeof version !== 'string') return;
  if (Number.parseInt(version, 10) >= MAJOR_VERSION_MIN) return;
  throw new MessagingError(
    'unsupported',
    `The broker at ${address} is RabbitMQ ${version}, whose quorum queues would drop what comes back to them: use RabbitMQ ${MAJOR_VERSION_MIN}.0 or newer, or say queueType: 'classic' in the options of the broker.`,
  );
}

/**
 * What messaging declares on a broker that speaks AMQP, built in or not:
 *
 *   topic exchange dovecote.events ──(routing key: the event's type)──▶ queue dovecote.<service>, one for each service, durable
 *
 * The names are public: clients in other languages publish to the exchange and bind their own queues to it.
 */
export const EVENTS_EXCHANGE = 'dovecote.events';

/** The queue that everything which runs under one service name shares. */
export function queueOf(service: string): string {
  return `dovecote.${service}`;
}

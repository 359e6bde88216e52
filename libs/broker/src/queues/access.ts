/** What a user may do: make and unmake things, put messages into them, take messages out. */
export type Deed = 'configure' | 'write' | 'read';

/**
 * What one user may do in one virtual host. It changes while it is held: what is revoked is refused from then on. Sessions without one
 * may do everything: they are the broker's own, or of the process it lives in. Implemented by the engine; nothing of it is kept here.
 */
export interface Access {
  readonly user: string;
  /** Whether a publish needs no question at all, whatever its exchange and its keys. */
  readonly publishesFreely: boolean;
  /** Throws a CodedError `access-refused` with the sentence of RabbitMQ. The default exchange has the empty name. */
  check(deed: Deed, kind: 'exchange' | 'queue', name: string): void;
  /** The same for a routing key on a topic exchange. */
  checkTopic(deed: 'write' | 'read', exchange: string, routingKey: string): void;
}

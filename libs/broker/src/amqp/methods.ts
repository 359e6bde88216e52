/**
 * The wire as a table: every class and method of AMQP 0-9-1 with RabbitMQ's additions. Readers, writers (method-codec.ts) and the
 * types of what handlers get come from it; there is no other place that knows a field's order or size.
 *
 * Wire code: no I/O. Fields whose name begins with `reserved` mean nothing any more: they are read over and written as zero.
 */
export type FieldKind = 'bit' | 'octet' | 'short' | 'long' | 'longlong' | 'shortstr' | 'longstr' | 'table';

/** Who may send the method. */
type Sender = 'client' | 'server' | 'both';

interface MethodShape {
  readonly class: number;
  readonly method: number;
  readonly from: Sender;
  readonly fields: { readonly [name: string]: FieldKind };
}

export const methods = {
  'connection.start': {
    class: 10,
    method: 10,
    from: 'server',
    fields: { versionMajor: 'octet', versionMinor: 'octet', serverProperties: 'table', mechanisms: 'longstr', locales: 'longstr' },
  },
  'connection.start-ok': {
    class: 10,
    method: 11,
    from: 'client',
    fields: { clientProperties: 'table', mechanism: 'shortstr', response: 'longstr', locale: 'shortstr' },
  },
  'connection.secure': { class: 10, method: 20, from: 'server', fields: { challenge: 'longstr' } },
  'connection.secure-ok': { class: 10, method: 21, from: 'client', fields: { response: 'longstr' } },
  'connection.tune': { class: 10, method: 30, from: 'server', fields: { channelMax: 'short', frameMax: 'long', heartbeat: 'short' } },
  'connection.tune-ok': { class: 10, method: 31, from: 'client', fields: { channelMax: 'short', frameMax: 'long', heartbeat: 'short' } },
  'connection.open': {
    class: 10,
    method: 40,
    from: 'client',
    fields: { virtualHost: 'shortstr', reserved1: 'shortstr', reserved2: 'bit' },
  },
  'connection.open-ok': { class: 10, method: 41, from: 'server', fields: { reserved1: 'shortstr' } },
  'connection.close': {
    class: 10,
    method: 50,
    from: 'both',
    fields: { replyCode: 'short', replyText: 'shortstr', failedClass: 'short', failedMethod: 'short' },
  },
  'connection.close-ok': { class: 10, method: 51, from: 'both', fields: {} },
  'connection.blocked': { class: 10, method: 60, from: 'both', fields: { reason: 'shortstr' } },
  'connection.unblocked': { class: 10, method: 61, from: 'both', fields: {} },
  'connection.update-secret': { class: 10, method: 70, from: 'client', fields: { newSecret: 'longstr', reason: 'shortstr' } },
  'connection.update-secret-ok': { class: 10, method: 71, from: 'server', fields: {} },

  'channel.open': { class: 20, method: 10, from: 'client', fields: { reserved1: 'shortstr' } },
  'channel.open-ok': { class: 20, method: 11, from: 'server', fields: { reserved1: 'longstr' } },
  'channel.flow': { class: 20, method: 20, from: 'both', fields: { isActive: 'bit' } },
  'channel.flow-ok': { class: 20, method: 21, from: 'both', fields: { isActive: 'bit' } },
  'channel.close': {
    class: 20,
    method: 40,
    from: 'both',
    fields: { replyCode: 'short', replyText: 'shortstr', failedClass: 'short', failedMethod: 'short' },
  },
  'channel.close-ok': { class: 20, method: 41, from: 'both', fields: {} },

  'access.request': {
    class: 30,
    method: 10,
    from: 'client',
    fields: { realm: 'shortstr', exclusive: 'bit', passive: 'bit', active: 'bit', write: 'bit', read: 'bit' },
  },
  'access.request-ok': { class: 30, method: 11, from: 'server', fields: { ticket: 'short' } },

  'exchange.declare': {
    class: 40,
    method: 10,
    from: 'client',
    fields: {
      reserved1: 'short',
      exchange: 'shortstr',
      type: 'shortstr',
      passive: 'bit',
      durable: 'bit',
      autoDelete: 'bit',
      internal: 'bit',
      noWait: 'bit',
      arguments: 'table',
    },
  },
  'exchange.declare-ok': { class: 40, method: 11, from: 'server', fields: {} },
  'exchange.delete': {
    class: 40,
    method: 20,
    from: 'client',
    fields: { reserved1: 'short', exchange: 'shortstr', ifUnused: 'bit', noWait: 'bit' },
  },
  'exchange.delete-ok': { class: 40, method: 21, from: 'server', fields: {} },
  'exchange.bind': {
    class: 40,
    method: 30,
    from: 'client',
    fields: { reserved1: 'short', destination: 'shortstr', source: 'shortstr', routingKey: 'shortstr', noWait: 'bit', arguments: 'table' },
  },
  'exchange.bind-ok': { class: 40, method: 31, from: 'server', fields: {} },
  'exchange.unbind': {
    class: 40,
    method: 40,
    from: 'client',
    fields: { reserved1: 'short', destination: 'shortstr', source: 'shortstr', routingKey: 'shortstr', noWait: 'bit', arguments: 'table' },
  },
  'exchange.unbind-ok': { class: 40, method: 51, from: 'server', fields: {} },

  'queue.declare': {
    class: 50,
    method: 10,
    from: 'client',
    fields: {
      reserved1: 'short',
      queue: 'shortstr',
      passive: 'bit',
      durable: 'bit',
      exclusive: 'bit',
      autoDelete: 'bit',
      noWait: 'bit',
      arguments: 'table',
    },
  },
  'queue.declare-ok': { class: 50, method: 11, from: 'server', fields: { queue: 'shortstr', messageCount: 'long', consumerCount: 'long' } },
  'queue.bind': {
    class: 50,
    method: 20,
    from: 'client',
    fields: { reserved1: 'short', queue: 'shortstr', exchange: 'shortstr', routingKey: 'shortstr', noWait: 'bit', arguments: 'table' },
  },
  'queue.bind-ok': { class: 50, method: 21, from: 'server', fields: {} },
  'queue.purge': { class: 50, method: 30, from: 'client', fields: { reserved1: 'short', queue: 'shortstr', noWait: 'bit' } },
  'queue.purge-ok': { class: 50, method: 31, from: 'server', fields: { messageCount: 'long' } },
  'queue.delete': {
    class: 50,
    method: 40,
    from: 'client',
    fields: { reserved1: 'short', queue: 'shortstr', ifUnused: 'bit', ifEmpty: 'bit', noWait: 'bit' },
  },
  'queue.delete-ok': { class: 50, method: 41, from: 'server', fields: { messageCount: 'long' } },
  'queue.unbind': {
    class: 50,
    method: 50,
    from: 'client',
    fields: { reserved1: 'short', queue: 'shortstr', exchange: 'shortstr', routingKey: 'shortstr', arguments: 'table' },
  },
  'queue.unbind-ok': { class: 50, method: 51, from: 'server', fields: {} },

  'basic.qos': { class: 60, method: 10, from: 'client', fields: { prefetchSize: 'long', prefetchCount: 'short', isGlobal: 'bit' } },
  'basic.qos-ok': { class: 60, method: 11, from: 'server', fields: {} },
  'basic.consume': {
    class: 60,
    method: 20,
    from: 'client',
    fields: {
      reserved1: 'short',
      queue: 'shortstr',
      consumerTag: 'shortstr',
      noLocal: 'bit',
      noAck: 'bit',
      exclusive: 'bit',
      noWait: 'bit',
      arguments: 'table',
    },
  },
  'basic.consume-ok': { class: 60, method: 21, from: 'server', fields: { consumerTag: 'shortstr' } },
  'basic.cancel': { class: 60, method: 30, from: 'both', fields: { consumerTag: 'shortstr', noWait: 'bit' } },
  'basic.cancel-ok': { class: 60, method: 31, from: 'both', fields: { consumerTag: 'shortstr' } },
  'basic.publish': {
    class: 60,
    method: 40,
    from: 'client',
    fields: { reserved1: 'short', exchange: 'shortstr', routingKey: 'shortstr', mandatory: 'bit', immediate: 'bit' },
  },
  'basic.return': {
    class: 60,
    method: 50,
    from: 'server',
    fields: { replyCode: 'short', replyText: 'shortstr', exchange: 'shortstr', routingKey: 'shortstr' },
  },
  'basic.deliver': {
    class: 60,
    method: 60,
    from: 'server',
    fields: { consumerTag: 'shortstr', deliveryTag: 'longlong', redelivered: 'bit', exchange: 'shortstr', routingKey: 'shortstr' },
  },
  'basic.get': { class: 60, method: 70, from: 'client', fields: { reserved1: 'short', queue: 'shortstr', noAck: 'bit' } },
  'basic.get-ok': {
    class: 60,
    method: 71,
    from: 'server',
    fields: { deliveryTag: 'longlong', redelivered: 'bit', exchange: 'shortstr', routingKey: 'shortstr', messageCount: 'long' },
  },
  'basic.get-empty': { class: 60, method: 72, from: 'server', fields: { reserved1: 'shortstr' } },
  'basic.ack': { class: 60, method: 80, from: 'both', fields: { deliveryTag: 'longlong', multiple: 'bit' } },
  'basic.reject': { class: 60, method: 90, from: 'client', fields: { deliveryTag: 'longlong', requeue: 'bit' } },
  'basic.recover-async': { class: 60, method: 100, from: 'client', fields: { requeue: 'bit' } },
  'basic.recover': { class: 60, method: 110, from: 'client', fields: { requeue: 'bit' } },
  'basic.recover-ok': { class: 60, method: 111, from: 'server', fields: {} },
  'basic.nack': { class: 60, method: 120, from: 'both', fields: { deliveryTag: 'longlong', multiple: 'bit', requeue: 'bit' } },

  'confirm.select': { class: 85, method: 10, from: 'client', fields: { noWait: 'bit' } },
  'confirm.select-ok': { class: 85, method: 11, from: 'server', fields: {} },

  'tx.select': { class: 90, method: 10, from: 'client', fields: {} },
  'tx.select-ok': { class: 90, method: 11, from: 'server', fields: {} },
  'tx.commit': { class: 90, method: 20, from: 'client', fields: {} },
  'tx.commit-ok': { class: 90, method: 21, from: 'server', fields: {} },
  'tx.rollback': { class: 90, method: 30, from: 'client', fields: {} },
  'tx.rollback-ok': { class: 90, method: 31, from: 'server', fields: {} },
} as const satisfies Record<string, MethodShape>;

export type MethodName = keyof typeof methods;

type NamesFrom<S extends Sender> = { [N in MethodName]: (typeof methods)[N]['from'] extends S ? N : never }[MethodName];

/** What a client may send, and so what must be answered. */
export type ClientMethodName = NamesFrom<'client' | 'both'>;

export type ConnectionMethodName = Extract<ClientMethodName, `connection.${string}`>;
export type ChannelMethodName = Exclude<ClientMethodName, ConnectionMethodName>;

/** Class and method in one number, as they stand on the wire. */
export function methodId(name: MethodName): number {
  const { class: classId, method } = methods[name];
  return classId * 0x10000 + method;
}

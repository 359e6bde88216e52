import { replyToName } from '../queues/reply-queues.js';
import type { Channel } from './channel.js';
import type { Arguments } from './method-codec.js';
import type { ChannelMethodName } from './methods.js';
import { AmqpError } from './replies.js';

/**
 * What each method on a channel does. The type demands an entry for everything that a client may send, so nothing is left
 * unanswered. A handler throws CodedError or AmqpError to refuse; the connection turns that into a close.
 *
 * Handlers keep nothing: state is in the channel, its session and the virtual host.
 */
type Handlers = {
  readonly [N in Exclude<ChannelMethodName, 'channel.open' | 'channel.close' | 'channel.close-ok' | 'basic.publish'>]: (
    channel: Channel,
    values: Arguments<N>,
  ) => void;
};

/** Methods whose answers wait for a commit: they may be pipelined, and are answered in order once they are durable. */
export const definitionMethods: ReadonlySet<string> = new Set<ChannelMethodName>([
  'exchange.declare',
  'exchange.delete',
  'exchange.bind',
  'exchange.unbind',
  'queue.declare',
  'queue.bind',
  'queue.unbind',
  'queue.purge',
  'queue.delete',
  'tx.commit',
]);

/** Methods that have no answer, so that none can overtake one that waits. */
export const unansweredMethods: ReadonlySet<string> = new Set<ChannelMethodName>([
  'basic.publish',
  'basic.ack',
  'basic.nack',
  'basic.reject',
  'basic.recover-async',
]);

/** Methods that look into a queue, which is named by their first string: they see what was published before them. */
export const lookingMethods: ReadonlySet<string> = new Set<ChannelMethodName>([
  'basic.get',
  'queue.declare',
  'queue.purge',
  'queue.delete',
]);

export const channelMethods: Handlers = {
  'channel.flow': (channel, { isActive }) => {
    if (!isActive) throw new AmqpError('not-implemented', 'active=false');
    channel.line.send('channel.flow-ok', { isActive }, channel.id);
  },
  'channel.flow-ok': () => refuseUnimplemented(),

  'access.request': (channel) => channel.line.send('access.request-ok', { ticket: 1 }, channel.id),

  'exchange.declare': (channel, { exchange, type, passive, durable, autoDelete, internal, noWait, arguments: given }) => {
    channel.line.host.declareExchange(channel.session, withoutLineBreaks(exchange), type, {
      passive,
      durable,
      autoDelete,
      internal,
      arguments: given,
    });
    if (!noWait) channel.line.sendAfterCommit('exchange.declare-ok', {}, channel.id);
  },
  'exchange.delete': (channel, { exchange, ifUnused, noWait }) => {
    channel.line.host.deleteExchange(channel.session, withoutLineBreaks(exchange), { ifUnused });
    if (!noWait) channel.line.sendAfterCommit('exchange.delete-ok', {}, channel.id);
  },
  'exchange.bind': (channel, { destination, source, routingKey, noWait, arguments: given }) => {
    const [to, from] = [withoutLineBreaks(destination), withoutLineBreaks(source)];
    channel.line.host.bindExchange(channel.session, to, from, routingKey, given);
    if (!noWait) channel.line.sendAfterCommit('exchange.bind-ok', {}, channel.id);
  },
  'exchange.unbind': (channel, { destination, source, routingKey, noWait, arguments: given }) => {
    const [to, from] = [withoutLineBreaks(destination), withoutLineBreaks(source)];
    channel.line.host.unbindExchange(channel.session, to, from, routingKey, given);
    if (!noWait) channel.line.sendAfterCommit('exchange.unbind-ok', {}, channel.id);
  },

  'queue.declare': (channel, { queue: name, passive, durable, exclusive, autoDelete, noWait, arguments: given }) => {
    if (name.startsWith(replyToName)) return declareReplyQueue(channel, name, noWait);
    const queue = channel.line.host.declareQueue(channel.session, name, { passive, durable, exclusive, autoDelete, arguments: given });
    channel.lastQueue = queue.name;
    if (noWait) return;
    const { messageCount, consumerCount } = queue;
    channel.line.sendAfterCommit('queue.declare-ok', { queue: queue.name, messageCount, consumerCount }, channel.id);
  },
  'queue.bind': (channel, { queue: name, exchange, routingKey, noWait, arguments: given }) => {
    const queue = queueName(channel, name);
    const key = name === '' && routingKey === '' ? queue : routingKey;
    channel.line.host.bindQueue(channel.session, queue, withoutLineBreaks(exchange), key, given);
    if (!noWait) channel.line.sendAfterCommit('queue.bind-ok', {}, channel.id);
  },
  'queue.unbind': (channel, { queue: name, exchange, routingKey, arguments: given }) => {
    const queue = queueName(channel, name);
    const key = name === '' && routingKey === '' ? queue : routingKey;
    channel.line.host.unbindQueue(channel.session, queue, withoutLineBreaks(exchange), key, given);
    channel.line.sendAfterCommit('queue.unbind-ok', {}, channel.id);
  },
  'queue.purge': (channel, { queue: name, noWait }) => {
    const messageCount = channel.line.host.purgeQueue(channel.session, queueName(channel, name));
    if (!noWait) channel.line.sendAfterCommit('queue.purge-ok', { messageCount }, channel.id);
  },
  'queue.delete': (channel, { queue: name, ifUnused, ifEmpty, noWait }) => {
    const messageCount = channel.line.host.deleteQueue(channel.session, queueName(channel, name), { ifUnused, ifEmpty });
    if (!noWait) channel.line.sendAfterCommit('queue.delete-ok', { messageCount }, channel.id);
  },

  'basic.qos': (channel, { prefetchSize, prefetchCount, isGlobal }) => {
    if (prefetchSize !== 0) throw new AmqpError('not-implemented', `prefetch_size!=0 (${prefetchSize})`);
    const { session } = channel;
    const before = session.sharedPrefetch;
    session.sharedPrefetch = isGlobal ? prefetchCount : 0; // one for each consumer ends the one for all, as in RabbitMQ
    if (!isGlobal) channel.prefetch = prefetchCount;
    if (session.sharedPrefetch !== before) session.wakeQueues();
    channel.line.send('basic.qos-ok', {}, channel.id);
  },
  'basic.consume': (channel, { queue: name, consumerTag, noAck, exclusive, noWait, arguments: given }) => {
    const { line, session, prefetch } = channel;
    const tag = consumerTag === '' ? `amq.ctag-${line.random.bytes(16).toString('base64url')}` : consumerTag;
    if (name === replyToName) consumeReplies(channel, tag, noAck);
    else {
      session.checkNewTag(tag); // before the queue is looked for, as RabbitMQ does
      const queue = line.host.findReadableQueue(session, name === '' ? lastQueueName(channel) : name);
      session.consume(queue, { tag, noAck, exclusive, prefetch, arguments: given });
    }
    if (!noWait) line.send('basic.consume-ok', { consumerTag: tag }, channel.id);
  },
  'basic.cancel': (channel, { consumerTag, noWait }) => {
    channel.session.cancel(consumerTag);
    if (!noWait) channel.line.send('basic.cancel-ok', { consumerTag }, channel.id);
  },
  'basic.cancel-ok': () => refuseUnimplemented(),
  'basic.get': (channel, { queue: name, noAck }) => {
    const { line, session } = channel;
    const queue = line.host.findReadableQueue(session, name === '' ? lastQueueName(channel) : name);
    if (!session.get(queue, noAck)) line.send('basic.get-empty', {}, channel.id);
  },

  'basic.ack': (channel, { deliveryTag, multiple }) => {
    if (!channel.session.acknowledge(deliveryTag, multiple)) throw unknownDeliveryTag(deliveryTag);
  },
  'basic.reject': (channel, { deliveryTag, requeue }) => {
    if (!channel.session.reject(deliveryTag, false, requeue)) throw unknownDeliveryTag(deliveryTag);
  },
  'basic.nack': (channel, { deliveryTag, multiple, requeue }) => {
    if (!channel.session.reject(deliveryTag, multiple, requeue)) throw unknownDeliveryTag(deliveryTag);
  },
  'basic.recover': (channel, { requeue }) => {
    recover(channel, requeue);
    channel.line.send('basic.recover-ok', {}, channel.id);
  },
  'basic.recover-async': (channel, { requeue }) => recover(channel, requeue),

  'confirm.select': (channel, { noWait }) => {
    if (channel.session.isTransactional) throw new AmqpError('precondition-failed', 'cannot switch from tx to confirm mode');
    channel.session.isConfirming = true;
    if (!noWait) channel.line.send('confirm.select-ok', {}, channel.id);
  },

  'tx.select': ({ line, session, id }) => {
    if (session.isConfirming) throw new AmqpError('precondition-failed', 'cannot switch from confirm to tx mode');
    session.beginTransactions();
    line.send('tx.select-ok', {}, id);
  },
  'tx.commit': ({ line, session, id }) => {
    if (!session.isTransactional) throw notTransactional();
    const isWhole = session.commitTransaction((bytes, start, length) => line.returnMessage(id, bytes, start, length));
    if (!isWhole) throw new AmqpError('precondition-failed', 'partial tx completion');
    line.sendAfterCommit('tx.commit-ok', {}, id);
  },
  'tx.rollback': ({ line, session, id }) => {
    if (!session.isTransactional) throw notTransactional();
    session.rollBackTransaction();
    line.send('tx.rollback-ok', {}, id);
  },
};

export function unknownDeliveryTag(tag: number): AmqpError {
  return new AmqpError('precondition-failed', `unknown delivery tag ${tag}`);
}

function recover(channel: Channel, requeue: boolean): void {
  if (!requeue) throw new AmqpError('not-implemented', 'requeue=false');
  channel.session.recover();
}

function refuseUnimplemented(): never {
  throw new AmqpError('command-invalid', 'unimplemented method');
}

function notTransactional(): AmqpError {
  return new AmqpError('precondition-failed', 'channel is not transactional');
}

/** To declare the way back for replies says whether it is there: responders ask so before they work for nobody. */
function declareReplyQueue(channel: Channel, queue: string, noWait: boolean): void {
  const { host } = channel.line;
  if (queue !== replyToName && !host.hasReplyQueue(queue)) {
    throw new AmqpError('not-found', `no queue '${queue}' in vhost '${host.name}'`);
  }
  channel.lastQueue = queue;
  if (!noWait) channel.line.sendAfterCommit('queue.declare-ok', { queue, messageCount: 0, consumerCount: 1 }, channel.id);
}

/** Direct reply-to: the replies to what this channel publishes from now on come to this consumer. */
function consumeReplies(channel: Channel, tag: string, noAck: boolean): void {
  const { line, publisher, session, prefetch } = channel;
  if (!noAck) throw new AmqpError('precondition-failed', 'reply consumer cannot acknowledge');
  if (publisher.replyQueue !== undefined && !publisher.replyQueue.isDeleted) {
    throw new AmqpError('precondition-failed', 'reply consumer already set');
  }
  const queue = line.host.openReplyQueue();
  try {
    session.consume(queue, { tag, noAck, exclusive: false, prefetch, arguments: {} });
  } catch (error) {
    line.host.consumerLeft(queue);
    throw error;
  }
  publisher.replyQueue = queue;
}

/** RabbitMQ takes line breaks out of names when it defines something, and only then. */
function withoutLineBreaks(name: string): string {
  return name.includes('\n') || name.includes('\r') ? name.replace(/[\r\n]/g, '') : name;
}

function queueName(channel: Channel, name: string): string {
  return name === '' ? lastQueueName(channel) : withoutLineBreaks(name);
}

function lastQueueName(channel: Channel): string {
  if (channel.lastQueue === undefined) throw new AmqpError('not-found', 'no previously declared queue');
  return channel.lastQueue;
}

import { method, publish } from './scripted-client.js';
import type { Conversation } from './exchange-conversations.js';

/** For tests: what is said about direct reply-to, and what a RabbitMQ 4.0.5 answered to the very same bytes. */
const replies = 'amq.rabbitmq.reply-to';
const consume = (noAck: boolean): Buffer => method('basic.consume', { queue: replies, consumerTag: 'c', noAck });
const refused = (code: number, text: string, classId: number, methodId: number): string =>
  `channel.close 1 ${JSON.stringify({ replyCode: code, replyText: text, failedClass: classId, failedMethod: methodId })}`;
const noQueue = (name: string): string => `NOT_FOUND - no queue '${name}' in vhost '/'`;
const consumed = 'basic.consume-ok 1 {"consumerTag":"c"}';
const declared = `queue.declare-ok 1 {"queue":"${replies}","messageCount":0,"consumerCount":1}`;

export const replyConversations: readonly Conversation[] = [
  ['consume with acknowledgements', [consume(false)], [refused(406, 'PRECONDITION_FAILED - reply consumer cannot acknowledge', 60, 20)]],
  [
    'consume twice',
    [consume(true), method('basic.consume', { queue: replies, consumerTag: 'd', noAck: true })],
    [consumed, refused(406, 'PRECONDITION_FAILED - reply consumer already set', 60, 20)],
  ],
  [
    'consume twice, with acknowledgements',
    [consume(true), consume(false)],
    [consumed, refused(406, 'PRECONDITION_FAILED - reply consumer cannot acknowledge', 60, 20)],
  ],
  [
    'consume, cancel, and consume again',
    [consume(true), method('basic.cancel', { consumerTag: 'c' }), consume(true)],
    [consumed, 'basic.cancel-ok 1 {"consumerTag":"c"}', consumed],
  ],
  [
    'a request without a consumer, which comes before a bad expiration',
    [publish({}, '', { replyTo: replies, expiration: 'x' })],
    [refused(406, 'PRECONDITION_FAILED - fast reply consumer does not exist', 60, 40)],
  ],
  [
    'declare, actively and passively',
    [method('queue.declare', { queue: replies }), method('queue.declare', { queue: replies, passive: true })],
    [declared, declared],
  ],
  [
    'declare a way that is not there',
    [method('queue.declare', { queue: `${replies}.x` })],
    [refused(404, noQueue(`${replies}.x`), 50, 10)],
  ],
  [
    'consume from a way that is not there',
    [method('basic.consume', { queue: `${replies}.x`, noAck: true })],
    [refused(404, noQueue(`${replies}.x`), 60, 20)],
  ],
  ['get', [method('basic.get', { queue: replies })], [refused(404, noQueue(replies), 60, 70)]],
  ['bind', [method('queue.bind', { queue: replies, exchange: 'amq.direct' })], [refused(404, noQueue(replies), 50, 20)]],
  ['purge', [method('queue.purge', { queue: replies })], [refused(404, noQueue(replies), 50, 30)]],
  ['delete', [method('queue.delete', { queue: replies })], ['queue.delete-ok 1 {"messageCount":0}']],
  [
    'a reply to nobody',
    [publish({ routingKey: `${replies}.x`, mandatory: true }, '')],
    [
      `basic.return 1 {"replyCode":312,"replyText":"NO_ROUTE","exchange":"","routingKey":"${replies}.x"}`,
      'header 1 003c000000000000000000000000',
    ],
  ],
  ['flow on', [method('channel.flow', { isActive: true })], ['channel.flow-ok 1 {"isActive":true}']],
];

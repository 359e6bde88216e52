/** Messages of every shape that travels over AMQP, for the tests of what writes and reads their bytes. */
import { type Envelope, noHeaders, plainEvent } from '../envelope.js';
import type { Publishable } from './amqp-publish-frames.js';

export const QUEUE = 'sent';

export function event(id: string, more: Partial<Envelope> = {}): Envelope {
  const said = { type: 'shop.placed', source: 'shop', time: '2026-01-02T03:04:05.678Z', key: 'order-7', version: 1 };
  return { ...plainEvent, ...said, id, contentType: 'application/json', body: Buffer.from('{"total":7}'), ...more };
}

export function toQueue(envelope: Envelope, more: Partial<Publishable> = {}): Publishable {
  return { envelope, address: { exchange: '', routingKey: QUEUE }, isMandatory: false, ...more };
}

const death = { cause: 'fatal', atMs: 5, reason: 'né', group: 'readers', handler: 'Readers.read' } as const;
export const messages: readonly Publishable[] = [
  toQueue(event('plain')),
  toQueue(event('again', { key: 'order-8' })),
  toQueue(event('another-version', { version: 2 })),
  toQueue(event('a-stranger', { time: undefined, key: undefined, version: undefined, source: 'straße', contentType: 'text/plain' })),
  toQueue(event('odd-time', { time: 'yesterday' })),
  toQueue(event('größe', { key: '鍵'.repeat(300), type: 'shop.größe' })),
  toQueue(
    event('told-more', {
      headers: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', note: 'ü'.repeat(200), '': '' },
    }),
  ),
  toQueue(event('of-another', { correlationId: 'first', causationId: 'previous', dataSchema: 'urn:x', dataRef: 'file:y' })),
  toQueue(event('asked', { kind: 'query', correlationId: 'asked', replyTo: 'answers', expiresAtMs: 1_800_000_000_000 }), {
    isMandatory: true,
  }),
  toQueue(event('dead', { trail: { failures: 3, starts: 1, history: [{ atMs: 4, reason: 'x'.repeat(300) }], death } })),
  toQueue(event('twice'), { address: { exchange: '', routingKey: 'nowhere', copies: QUEUE } }),
  toQueue(event('empty', { body: new Uint8Array(0) })),
  toQueue(event('a-view', { body: new Uint8Array(Buffer.from('[{"a":1}]').buffer, 1, 7) })),
  toQueue(event('large', { body: Buffer.alloc(300_000, 'abc') })),
  toQueue(event('as-large-as-a-frame', { body: Buffer.alloc(131_072 - 8, 'abc') })),
  toQueue(event('last', { headers: noHeaders })),
];

/**
 * The parts of the load generator that could make a figure wrong without anybody noticing: what it counts, and what it lets through.
 */
import { describe, expect, it } from '@jest/globals';
import { ConfirmWindow } from './confirm-window.js';
import { type AmqpConnection, parseAmqpUrl } from './connection.js';
import { FrameScanner } from './frame-scanner.js';
import { Publisher, STAMP_EVERY, UNSTAMPED } from './publisher.js';
import { topicFew, topicMany } from './topology.js';
import {
  deliverTriple,
  frame,
  FrameType,
  FRAME_BYTES_MAX,
  longString,
  Method,
  methodFrame,
  publishTriple,
  readU64,
  shortString,
  u16,
  u64,
  u8,
} from './wire.js';

/** Everything a scanner told, as lines. */
function scan(pieces: readonly Buffer[], source?: Buffer): string[] {
  const told: string[] = [];
  const scanner = new FrameScanner({
    onDeliver: (bytes, offset) => told.push(`deliver ${readU64(bytes, offset + 1 + (bytes[offset] as number))}`),
    onBody: (bytes, offset, length) => told.push(`body ${bytes.toString('latin1', offset, offset + length)}`),
    onConfirm: (tag, isMultiple, isRejected) => told.push(`${isRejected ? 'nack' : 'ack'} ${tag} ${isMultiple}`),
    onMethod: (id, payload) => told.push(`method ${id} ${payload.length}`),
  });
  // As a socket does, every piece is read into the same buffer, and what was there before is gone.
  const shared = source ?? Buffer.alloc(FRAME_BYTES_MAX * 2);
  for (const piece of pieces) {
    shared.fill(0xff, 0, 64);
    piece.copy(shared);
    scanner.push(shared, piece.length);
  }
  return told;
}

describe('the frame scanner', () => {
  const stream = Buffer.concat([
    methodFrame(1, Method.queueDeclareOk, shortString('q'), u64(0)),
    deliverTriple(1, 'tag', 7, 'q', Buffer.from('first')),
    frame(FrameType.heartbeat, 0, Buffer.alloc(0)),
    methodFrame(1, Method.basicAck, u64(4_294_967_297), u8(1)),
    methodFrame(1, Method.basicAck, u64(3), u8(0)),
    methodFrame(1, Method.basicNack, u64(9), u8(3)),
    deliverTriple(1, '', 8, 'q', Buffer.from('second')),
  ]);
  const expected = [
    `method ${Method.queueDeclareOk} 14`,
    'deliver 7',
    'body first',
    'ack 4294967297 true',
    'ack 3 false',
    'nack 9 true',
    'deliver 8',
    'body second',
  ];

  it('tells the same wherever the stream is cut in two, in three, and byte by byte', () => {
    expect(scan([stream])).toEqual(expected);
    for (let cut = 0; cut <= stream.length; cut++) {
      expect(scan([stream.subarray(0, cut), stream.subarray(cut)])).toEqual(expected);
      const middle = cut + Math.floor((stream.length - cut) / 3);
      expect(scan([stream.subarray(0, cut), stream.subarray(cut, middle), stream.subarray(middle)])).toEqual(expected);
    }
    expect(scan(Array.from(stream, (byte) => Buffer.from([byte])))).toEqual(expected);
  });

  it('takes the largest frame that was agreed, in pieces, and refuses a larger one', () => {
    const largest = frame(FrameType.body, 1, Buffer.alloc(FRAME_BYTES_MAX - 8, 0x61));
    const pieces = [largest.subarray(0, 5), largest.subarray(5, 70_000), largest.subarray(70_000)];
    expect(scan(pieces)).toEqual([`body ${'a'.repeat(FRAME_BYTES_MAX - 8)}`]);
    expect(() => scan([frame(FrameType.body, 1, Buffer.alloc(FRAME_BYTES_MAX - 7))])).toThrow('more than agreed');
  });

  it('refuses what is not AMQP', () => {
    expect(() => scan([Buffer.from('HTTP/1.1 400 Bad Request\r\n')])).toThrow('not AMQP');
    expect(() => scan([frame(7, 1, Buffer.alloc(1))])).toThrow('unknown type 7');
    const broken = Buffer.from(stream);
    broken[broken.length - 1] = 0;
    expect(() => scan([broken])).toThrow('end octet');
  });
});

describe('the confirm window', () => {
  const tags = (window: ConfirmWindow, tag: number, isMultiple: boolean): number[] => {
    const seen: number[] = [];
    window.confirm(tag, isMultiple, (each) => seen.push(each));
    return seen;
  };

  it('counts each message once, whether confirmed singly, out of order, or all up to one', () => {
    const window = new ConfirmWindow(10);
    window.publish(8);
    expect(tags(window, 5, false)).toEqual([5]);
    expect(tags(window, 2, false)).toEqual([2]);
    expect([window.confirmed, window.inFlight]).toEqual([2, 6]);
    expect(tags(window, 6, true)).toEqual([1, 3, 4, 6]);
    expect(tags(window, 6, true)).toEqual([]);
    expect(tags(window, 0, true)).toEqual([7, 8]);
    expect([window.confirmed, window.inFlight]).toEqual([8, 0]);
  });

  it('gives no room behind an unconfirmed message that its slots still have to remember', () => {
    const window = new ConfirmWindow(3);
    expect(window.room).toBe(4);
    window.publish(4);
    tags(window, 4, false);
    tags(window, 3, false);
    expect([window.inFlight, window.room]).toEqual([2, 0]);
    tags(window, 1, false);
    expect(window.room).toBe(1);
    window.publish(1);
    expect(tags(window, 5, true)).toEqual([2, 5]);
    expect(window.room).toBe(4);
  });

  it('throws when a server confirms what was not published, or one message twice', () => {
    const window = new ConfirmWindow(8);
    window.publish(3);
    expect(() => tags(window, 4, true)).toThrow('not published');
    expect(() => tags(window, 0, false)).toThrow('not published');
    tags(window, 2, false);
    expect(() => tags(window, 2, false)).toThrow('twice');
    tags(window, 1, false);
    expect(() => tags(window, 1, false)).toThrow('twice');
  });
});

describe('what the generator writes', () => {
  it('is a publish of three frames that its own scanner takes apart', () => {
    const triple = publishTriple(1, { routingKey: 'orders', body: Buffer.from('hello'), isPersistent: true });
    const publish = methodFrame(1, Method.basicPublish, u16(0), shortString(''), shortString('orders'), u8(0));
    expect(triple.subarray(0, publish.length)).toEqual(publish);
    expect(scan([triple])).toEqual([`method ${Method.basicPublish} 15`, 'body hello']);
    const deliveryMode = triple[publish.length + 7 + 14];
    expect(deliveryMode).toBe(2);
    expect(longString('ab')).toEqual(Buffer.from([0, 0, 0, 2, 97, 98]));
  });
});

describe('the publisher', () => {
  it('lets messages of different lengths take turns, and stamps one in sixteen with its number and the moment it was due', async () => {
    const written: Buffer[] = [];
    const connection = {
      traffic: {},
      unwrittenBytes: 0,
      write: (bytes: Buffer, done?: () => void) => {
        written.push(Buffer.from(bytes));
        if (done !== undefined) setImmediate(done);
      },
    } as unknown as AmqpConnection;
    const kinds = [{ routingKey: 'a' }, { routingKey: 'bb', exchange: 'x' }, { routingKey: 'ccc', headers: { n: 1 } }];
    const count = 30_000; // more than once around the ring
    const dueAt = (n: number): number => 1000 + n / 2;
    const room = (): number => Number.POSITIVE_INFINITY;
    const publisher = new Publisher(connection, { kinds, bodyBytes: 20, isPersistent: false, room, dueAt });
    publisher.run(count);
    while (publisher.published < count) await new Promise((resolve) => setImmediate(resolve));
    const keys: string[] = [];
    let stamps = 0;
    const scanner = new FrameScanner({
      onDeliver: () => undefined,
      onConfirm: () => undefined,
      onMethod: (_id, payload) => {
        const keyAt = 7 + payload[6]!;
        keys.push(payload.toString('latin1', keyAt + 1, keyAt + 1 + payload[keyAt]!));
      },
      onBody: (bytes, offset) => {
        const n = keys.length - 1;
        if (bytes[offset] === UNSTAMPED) return;
        stamps++;
        expect([n % STAMP_EVERY, bytes.readDoubleBE(offset), bytes.readUInt32BE(offset + 8)]).toEqual([0, dueAt(n), n]);
      },
    });
    for (const bytes of written) scanner.push(bytes, bytes.length);
    expect(keys).toEqual(Array.from({ length: count }, (_, n) => kinds[n % kinds.length]!.routingKey));
    expect(stamps).toBe(Math.ceil(count / STAMP_EVERY));
  });
});

describe('the topologies', () => {
  const matches = (pattern: readonly string[], key: readonly string[]): boolean => {
    const [word, ...rest] = pattern;
    if (word === undefined) return key.length === 0;
    if (word === '#') return matches(rest, key) || (key.length > 0 && matches(pattern, key.slice(1)));
    return key.length > 0 && (word === '*' || word === key[0]) && matches(rest, key.slice(1));
  };

  it.each([
    ['few', topicFew('t'), 1, 1],
    ['many', topicMany('t'), 1000, 10],
  ])('say how many bindings and queues a key of topic-%s reaches', (_name, { bindings, kinds, deliveriesEach }, fit, queues) => {
    for (const { routingKey } of [kinds[0]!, kinds[54_321]!]) {
      const found = bindings.filter(({ key }) => matches(key.split('.'), routingKey.split('.')));
      expect(found).toHaveLength(fit);
      expect(new Set(found.map(({ queue }) => queue)).size).toBe(queues);
    }
    expect(deliveriesEach).toBe(queues);
    expect(new Set(bindings.map(({ key }) => key)).size).toBe(bindings.length);
  });
});

describe('an AMQP URL', () => {
  it('is read with its defaults, and refused with a sentence', () => {
    expect(parseAmqpUrl('amqp://peer')).toEqual({ host: 'peer', port: 5672, user: 'guest', password: 'guest', virtualHost: '/' });
    expect(parseAmqpUrl('amqp://a:b%40c@peer:1/d%2Fe')).toEqual({ host: 'peer', port: 1, user: 'a', password: 'b@c', virtualHost: 'd/e' });
    for (const wrong of ['http://peer', 'peer:5672', '']) expect(() => parseAmqpUrl(wrong)).toThrow('no AMQP URL');
  });
});

import { describe, expect, it } from '@jest/globals';
import { SeededRandom } from '@dovecote/ground/testing';
import { writeContent } from '../queues/content.js';
import { MalformedError } from '../queues/field-table.js';
import { nowhere, type Route } from '../queues/route.js';
import type { VirtualHost } from '../queues/virtual-host.js';
import { viewOf } from '../small-copy.js';
import { DeliveryWriter } from './delivery.js';
import { FrameReader, type FrameReceiver } from './frames.js';
import { type Arguments, decodeArguments, encodeMethod, methodById, methodFrame, methodFrameBytes } from './method-codec.js';
import { type FieldKind, methodId, type MethodName, methods } from './methods.js';
import { BlockPool, Output } from './output.js';
import { erlangSnippet, replyText } from './replies.js';
import { RouteCache } from './route-cache.js';
import { describeFrame, frame, LoopbackNetwork, method, publish, type ScriptedClient } from './scripted-client.js';

const names = Object.keys(methods) as MethodName[];

function randomValue(kind: FieldKind, random: SeededRandom): unknown {
  switch (kind) {
    case 'bit':
      return random.below(2) === 1;
    case 'octet':
      return random.below(256);
    case 'short':
      return random.below(65_536);
    case 'long':
      return random.below(2 ** 32);
    case 'longlong':
      return random.below(2 ** 21) * 2 ** 32 + random.below(2 ** 32);
    case 'shortstr':
      return 'é'.repeat(random.below(128));
    case 'longstr':
      return random.bytes(random.below(300));
    default:
      return random.below(2) === 0 ? {} : { key: random.below(1000), text: 'value', list: [true, null] };
  }
}

function randomArguments<N extends MethodName>(name: N, random: SeededRandom): Arguments<N> {
  const fields = Object.entries(methods[name].fields).filter(([field]) => !field.startsWith('reserved'));
  return Object.fromEntries(fields.map(([field, kind]) => [field, randomValue(kind, random)])) as Arguments<N>;
}

describe('the method table', () => {
  it('gives every method a number of its own, with the one that is out of line', () => {
    expect(new Set(names.map((name) => methodId(name))).size).toBe(names.length);
    expect(methodId('exchange.unbind-ok')).toBe(40 * 65_536 + 51);
    expect(methodById(60 * 65_536 + 40)?.name).toBe('basic.publish');
    expect(methodById(77 * 65_536 + 1)).toBeUndefined();
  });

  it.each(names)('%s comes back as it was written, and is refused when cut anywhere or followed by anything', (name) => {
    const random = new SeededRandom(methodId(name));
    for (let round = 0; round < 2; round++) {
      const values = randomArguments(name, random);
      const bytes = Buffer.alloc(methodFrameBytes(name, values) + 4);
      expect(encodeMethod(name, values, 513, bytes, 2)).toBe(bytes.length - 2);
      expect(bytes.readUInt16BE(3)).toBe(513);
      expect(bytes.readUInt32BE(9)).toBe(methodId(name));
      const entry = methodById(methodId(name))!;
      const end = bytes.length - 3;
      expect(decodeArguments(entry, bytes, 13, end)).toEqual(values);
      for (let cut = 13; cut < end; cut++) expect(() => decodeArguments(entry, bytes, 13, cut)).toThrow(MalformedError);
      expect(() => decodeArguments(entry, bytes, 13, end + 1)).toThrow(MalformedError);
    }
  });

  it('packs neighbouring bits into one octet, the first lowest, and writes reserved fields as zero', () => {
    const bits = { passive: false, durable: true, exclusive: false, autoDelete: true, noWait: true };
    const declared = methodFrame('queue.declare', { queue: 'q', ...bits, arguments: {} }, 1);
    expect(declared.subarray(7).toString('hex')).toBe('0032000a000001711a00000000ce');
  });

  it('refuses a name that is not UTF-8', () => {
    const entry = methodById(methodId('channel.close'))!;
    const bytes = Buffer.from([0, 200, 2, 0xff, 0xfe, 0, 0, 0, 0]);
    expect(() => decodeArguments(entry, bytes, 0, bytes.length)).toThrow('Malformed UTF-8 in shortstr');
  });
});

/** Writes down what a reader gives it; holds at every `holdEvery`th offer. */
class Recorder implements FrameReceiver {
  readonly frames: string[] = [];
  offers = 0;
  reader: FrameReader | undefined;

  constructor(
    private readonly holdEvery = 0,
    private readonly isFast = false,
  ) {}

  takeFast(bytes: Buffer, view: DataView, at: number, end: number): number {
    if (!this.isFast || end - at < 7 || at + 8 + view.getUint32(at + 3) > end) return at;
    if (this.mustHold()) return at;
    const next = at + 8 + view.getUint32(at + 3);
    this.frames.push(`${bytes[at]} ${view.getUint16(at + 1)} ${bytes.toString('hex', at + 7, next - 1)}`);
    return next;
  }

  takeFrame(type: number, channel: number, bytes: Buffer, start: number, end: number): boolean {
    if (this.mustHold()) return false;
    this.frames.push(`${type} ${channel} ${bytes.toString('hex', start, end)}`);
    return true;
  }

  refuseFrame(reason: string, type: number, size: number, payload: Buffer, endOctet: number): void {
    this.frames.push(`${reason} ${type} ${size} ${payload.toString('hex')} ${endOctet}`);
  }

  private mustHold(): boolean {
    if (this.holdEvery === 0 || ++this.offers % this.holdEvery !== 0) return false;
    this.reader!.hold();
    return true;
  }
}

function readInPieces(pieces: readonly Buffer[], recorder: Recorder, frameBytesMax = 4096): readonly string[] {
  const reader = new FrameReader(recorder, frameBytesMax);
  recorder.reader = reader;
  for (const piece of pieces) {
    reader.push(Buffer.from(piece));
    if (recorder.frames.length % 2 === 0) reader.release();
  }
  for (let round = 0; round < 100; round++) reader.release();
  return recorder.frames;
}

describe('the frame reader', () => {
  const stream = Buffer.concat([
    method('queue.declare', { queue: 'a-queue' }, 1),
    frame(8, 0, Buffer.alloc(0)),
    publish({ exchange: 'x', routingKey: 'key' }, 'a body', { messageId: '1' }, { channel: 65_535 }),
    frame(3, 2, Buffer.alloc(300, 7)),
    method('basic.ack', { deliveryTag: 5 }, 1),
  ]);
  const whole = readInPieces([stream], new Recorder());

  it.each([
    ['as they come', 0, false],
    ['with a receiver that holds now and then', 3, false],
    ['through the fast lane', 0, true],
    ['through a fast lane that holds', 2, true],
  ])('gives the same frames wherever the bytes are split, %s', (_how, holdEvery, isFast) => {
    expect(whole).toHaveLength(7);
    for (let cut = 0; cut <= stream.length; cut++) {
      expect(readInPieces([stream.subarray(0, cut), stream.subarray(cut)], new Recorder(holdEvery, isFast))).toEqual(whole);
    }
    const bytes = [...stream].map((byte) => Buffer.from([byte]));
    expect(readInPieces(bytes, new Recorder(holdEvery, isFast))).toEqual(whole);
  });

  it('refuses a frame that is too large from its head alone, and one without its end', () => {
    const large = Buffer.from([3, 0, 1, 0xff, 0xff, 0xff, 0xff]);
    for (let cut = 0; cut <= 7; cut++) {
      expect(readInPieces([large.subarray(0, cut), large.subarray(cut), stream], new Recorder())).toEqual(['too-large 3 4294967295  0']);
    }
    const broken = Buffer.from([1, 0, 1, 0, 0, 0, 2, 9, 9, 0xcd]);
    for (let cut = 0; cut <= 10; cut++) {
      expect(readInPieces([broken.subarray(0, cut), broken.subarray(cut), stream], new Recorder())).toEqual(['no-frame-end 1 2 0909 205']);
    }
  });

  it('takes a frame of exactly the limit, and forgives the eight bytes that clients forget', () => {
    expect(readInPieces([frame(3, 1, Buffer.alloc(4096 - 8))], new Recorder())).toHaveLength(1);
    expect(readInPieces([frame(3, 1, Buffer.alloc(4096))], new Recorder())[0]).toMatch(/^3 1 /);
    expect(readInPieces([frame(3, 1, Buffer.alloc(4097))], new Recorder())[0]).toMatch(/^too-large/);
  });
});

/** An output whose every flush goes to a client. */
async function outputTo(): Promise<{ output: Output; client: ScriptedClient; writer: DeliveryWriter }> {
  const network = new LoopbackNetwork();
  let output: Output | undefined;
  await network.listen({ host: '', port: 0 }, (socket) => {
    const queue = { flushSoon: (flushable: { isFlushQueued: boolean }) => void (flushable.isFlushQueued = true) };
    output = new Output(socket, queue, new BlockPool(), () => undefined);
  });
  const client = network.client();
  return { output: output!, client, writer: new DeliveryWriter(output!) };
}

describe('deliveries', () => {
  it('are, byte for byte, what the table would have written', async () => {
    const { output, client, writer } = await outputTo();
    writer.payloadBytesMax = 131_064;
    const tag = Buffer.from('\x03tag');
    for (const [size, deliveryTag, redelivered] of [
      [0, 1, false],
      [5, 2 ** 40 + 7, true],
      [60_000, 3, false],
    ] as const) {
      const image = Buffer.concat([Buffer.alloc(3), writeContent('an exchange', 'a key', { messageId: 'm' }, Buffer.alloc(size, 0x62))]);
      writer.deliver(700, tag, deliveryTag, redelivered, image, 3, image.length - 3);
      output.flush();
      const values = { consumerTag: 'tag', deliveryTag, redelivered, exchange: 'an exchange', routingKey: 'a key' };
      const content = publish({}, Buffer.alloc(size, 0x62), { messageId: 'm' }, { channel: 700 });
      const contentAt = method('basic.publish', {}, 700).length;
      const expected = Buffer.concat([methodFrame('basic.deliver', values, 700), content.subarray(contentAt)]);
      expect(client.takeBytes().equals(expected)).toBe(true);
    }
    writer.confirm(700, 2 ** 33 + 1, true);
    output.flush();
    expect(client.takeBytes().equals(method('basic.ack', { deliveryTag: 2 ** 33 + 1, multiple: true }, 700))).toBe(true);
  });

  it.each([200_000, 5_000])(
    'cut a body of %i bytes to the frames of that connection, also across the blocks of the output',
    async (size) => {
      const { output, client, writer } = await outputTo();
      writer.payloadBytesMax = 4088;
      const body = new SeededRandom(1).bytes(size);
      const image = writeContent('', 'q', {}, body);
      for (let round = 1; round <= 3; round++) writer.deliver(1, Buffer.from('\x01t'), round, false, image, 0, image.length);
      writer.got(1, 4, false, 9, image, 0, image.length);
      writer.returnUnroutable(1, image, 0, image.length);
      output.flush();
      const received = client.takeBytes();
      const bodies: Buffer[] = [];
      const heads: string[] = [];
      for (let at = 0; at < received.length;) {
        const end = at + 8 + received.readUInt32BE(at + 3);
        expect(end - at).toBeLessThanOrEqual(4096);
        if (received[at] === 3) bodies.push(received.subarray(at + 7, end - 1));
        else heads.push(describeFrame(received.subarray(at, end)).split(' ')[0]!);
        at = end;
      }
      expect(heads.filter((head) => head !== 'header')).toEqual([
        'basic.deliver',
        'basic.deliver',
        'basic.deliver',
        'basic.get-ok',
        'basic.return',
      ]);
      expect(Buffer.concat(bodies).equals(Buffer.concat([body, body, body, body, body]))).toBe(true);
    },
  );

  it('give every block back once the socket has taken it', async () => {
    const { output, client, writer } = await outputTo();
    writer.payloadBytesMax = 131_064;
    const image = writeContent('', 'q', {}, Buffer.alloc(30_000, 1));
    client.isStalled = true;
    for (let round = 1; round <= 20; round++) writer.deliver(1, Buffer.from('\x01t'), round, false, image, 0, image.length);
    output.flush();
    const large = output.sentBytes;
    client.unstall();
    expect(client.takeBytes().length).toBe(large);
    expect(client.take()).toEqual([]);
  });
});

describe('the route cache', () => {
  it('answers with the route of the very bytes, grows when keys push each other out, and forgets when bindings change', () => {
    const host = { epoch: 1 } as VirtualHost;
    const cache = new RouteCache(host);
    const route = (name: string): Route & { readonly name: string } => ({ ...nowhere, name });
    const lookUp = (key: string): Route | undefined => {
      const bytes = Buffer.from(key);
      return cache.find(bytes, viewOf(bytes), 0, bytes.length);
    };
    const keys = Array.from({ length: 10_000 }, (_, index) => `exchange.key-${index}`);
    let missed = 0;
    for (let round = 0; round < 8; round++) {
      missed = 0;
      for (const key of keys) {
        const found = lookUp(key);
        if (found !== undefined) expect(found).toMatchObject({ name: key });
        else {
          missed++;
          const bytes = Buffer.from(key);
          cache.keep(bytes, viewOf(bytes), 0, bytes.length, route(key));
        }
      }
    }
    expect(missed).toBeLessThan(keys.length / 10);
    host.epoch++;
    expect(lookUp(keys[0]!)).toBeUndefined();
  });
});

describe('reply texts', () => {
  it('fit into 255 bytes and are never cut within a character', () => {
    expect(replyText('not-found', "no queue 'q' in vhost '/'")).toBe("NOT_FOUND - no queue 'q' in vhost '/'");
    for (let length = 100; length < 140; length++) {
      const text = replyText('not-found', `${'x'.repeat(length % 3)}${'é'.repeat(length)}`);
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(255);
      expect(text).not.toContain('\ufffd');
    }
  });

  it('show bytes as Erlang would', () => {
    expect(erlangSnippet(Buffer.alloc(0))).toBe('all octets = <<>>');
    expect(erlangSnippet(Buffer.from([1, 200]))).toBe('all octets = <<1,200>>');
    expect(erlangSnippet(Buffer.from('hello "world" and more'))).toBe('first 16 octets = <<"hello \\"world\\" an">>');
  });
});

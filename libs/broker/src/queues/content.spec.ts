import { describe, expect, it } from '@jest/globals';
import { SeededRandom } from '@dovecote/ground/testing';
import { copyBytes, sameBytes, viewOf } from '../small-copy.js';
import { CommonProperties, type OwnProperties, type SharedProperties } from './common-properties.js';
import {
  bodyLength,
  bodyStart,
  contentExchange,
  contentRoutingKey,
  frameEnd,
  propertiesEnd,
  propertiesStart,
  routingEnd,
  passingImage,
  writeContent,
  writePassingContent,
} from './content.js';
import {
  checkFieldTable,
  decodeFieldTable,
  encodeFieldTable,
  type FieldTable,
  fieldTableBytes,
  findField,
  MalformedError,
  tableDepthMax,
} from './field-table.js';
import { nameText, shortText, textBytes, writeText } from './short-text.js';
import {
  decodeProperties,
  encodeProperties,
  findProperty,
  type MessageProperties,
  propertiesBytes,
  visitProperties,
} from './properties.js';

function encode(table: FieldTable): Buffer {
  const bytes = Buffer.alloc(fieldTableBytes(table));
  expect(encodeFieldTable(table, bytes, 0)).toBe(bytes.length);
  return bytes;
}

function raw(...fields: readonly (readonly [name: string, tag: string, value: readonly number[]])[]): Buffer {
  const body = Buffer.concat(fields.map(([name, tag, value]) => Buffer.from([name.length, ...Buffer.from(name + tag), ...value])));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, body]);
}

const everything: FieldTable = {
  text: 'größer als ASCII',
  empty: '',
  small: -5,
  large: 2 ** 40,
  exact: -(2n ** 62n),
  fraction: 1.5,
  whole: { float: 2 },
  yes: true,
  no: false,
  nothing: null,
  bytes: Buffer.from([0xff, 0, 1]),
  when: { timestamp: 1_700_000_000 },
  price: { decimal: { scale: 2, value: -1999 } },
  list: [1, 'two', [3, { four: [] }], null],
  table: { inner: { inner: { deep: true } }, '': 'a name may be empty' },
};

const allProperties: MessageProperties = {
  contentType: 'application/json',
  contentEncoding: 'gzip',
  headers: everything,
  deliveryMode: 2,
  priority: 9,
  correlationId: 'c',
  replyTo: 'r',
  expiration: '1000',
  messageId: 'm',
  timestamp: 1_700_000_000,
  type: 't',
  userId: 'u',
  appId: 'a',
  clusterId: 'cl',
};

describe('field tables', () => {
  it('come back as they were written', () => {
    const bytes = encode(everything);
    expect(decodeFieldTable(bytes, 0, bytes.length)).toEqual(everything);
    expect(checkFieldTable(bytes, 0, bytes.length)).toBe(bytes.length);
  });

  it.each([
    ['t', [2], true],
    ['b', [0xff], -1],
    ['B', [0xff], 255],
    ['s', [0xff, 0xfe], -2],
    ['U', [0xff, 0xfe], -2],
    ['u', [0xff, 0xfe], 65_534],
    ['I', [0xff, 0xff, 0xff, 0xff], -1],
    ['i', [0xff, 0xff, 0xff, 0xff], 4_294_967_295],
    ['l', [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], -1],
    ['L', [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], -1],
    ['l', [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 2n ** 63n - 1n],
    ['f', [0x3f, 0xc0, 0, 0], 1.5],
    ['d', [0x3f, 0xf0, 0, 0, 0, 0, 0, 0], { float: 1 }],
    ['S', [0, 0, 0, 2, 0xff, 0xfe], Buffer.from([0xff, 0xfe])],
    ['V', [], null],
  ])('know what RabbitMQ means by the tag %s', (tag, value, expected) => {
    const bytes = raw(['field', tag, value]);
    expect(decodeFieldTable(bytes, 0, bytes.length)).toEqual({ field: expected });
  });

  it('never write the tag L, which few clients can read', () => {
    expect(encode({ a: 2n ** 60n, b: 2 ** 50 }).includes('L')).toBe(false);
  });

  it('keep a field called __proto__ as a field', () => {
    const bytes = raw(['__proto__', 'F', [0, 0, 0, 4, 1, 0x61, 0x74, 1]]);
    const table = decodeFieldTable(bytes, 0, bytes.length);
    expect(Object.keys(table)).toEqual(['__proto__']);
    expect('a' in table).toBe(false);
  });

  it('are refused when cut anywhere, with an unknown tag, or nested too deeply', () => {
    const bytes = encode(everything);
    for (let end = 0; end < bytes.length; end++) expect(() => decodeFieldTable(bytes, 0, end)).toThrow(MalformedError);
    expect(() => decodeFieldTable(raw(['a', 'Z', [1]]), 0, 8)).toThrow('unknown type tag 90');
    const nested = (levels: number): FieldTable => (levels === 1 ? {} : { inner: nested(levels - 1) });
    const deep = encode(nested(tableDepthMax));
    expect(checkFieldTable(deep, 0, deep.length)).toBe(deep.length);
    const deeper = encode(nested(tableDepthMax + 1));
    expect(() => decodeFieldTable(deeper, 0, deeper.length)).toThrow('nested deeper');
    const list = (levels: number): FieldTable['x'] => (levels === 1 ? [] : [list(levels - 1)]);
    const deepList = encode({ list: list(tableDepthMax + 1)! });
    expect(() => checkFieldTable(deepList, 0, deepList.length)).toThrow('nested deeper');
  });

  it('survive random bytes: a table or a MalformedError, never anything else', () => {
    const random = new SeededRandom(7);
    let decoded = 0;
    for (let round = 0; round < 4_000; round++) {
      const body = random.bytes(random.below(40));
      const bytes = Buffer.concat([Buffer.from([0, 0, 0, body.length]), body]);
      try {
        decodeFieldTable(bytes, 0, bytes.length);
        decoded++;
      } catch (error) {
        if (!(error instanceof MalformedError)) throw error;
      }
    }
    expect(decoded).toBeGreaterThan(3);
  });

  it('are searched without being decoded', () => {
    const bytes = encode(everything);
    expect(bytes[findField(bytes, 0, 'yes')]).toBe('t'.charCodeAt(0));
    expect(findField(bytes, 0, 'deep')).toBe(-1);
    expect(findField(encode({}), 0, 'yes')).toBe(-1);
  });
});

/** What a visitor is told, by one that reads another message each time. */
function visited(bytes: Buffer, offset: number, end: number): MessageProperties {
  const properties: Record<string, unknown> = {};
  const other = Buffer.alloc(propertiesBytes({ messageId: 'other' }));
  encodeProperties({ messageId: 'other' }, other, 0);
  visitProperties(bytes, offset, end, {
    wants: () => true,
    property: (name, value) => {
      properties[name] = value;
      decodeProperties(other, 0, other.length);
    },
    header: (name, value) => {
      properties['headers'] = { ...(properties['headers'] as FieldTable | undefined), [name]: value };
      decodeProperties(other, 0, other.length);
    },
  });
  return properties;
}

describe('properties', () => {
  it('come back as they were written, all and each alone', () => {
    const names = Object.keys(allProperties) as (keyof MessageProperties)[];
    const alone = names.map((name) => ({ [name]: allProperties[name] }));
    for (const properties of [allProperties, {}, ...alone]) {
      const bytes = Buffer.alloc(propertiesBytes(properties) + 3);
      expect(encodeProperties(properties, bytes, 3)).toBe(bytes.length);
      expect(visited(bytes, 3, bytes.length)).toEqual(properties);
      expect(decodeProperties(bytes, 3, bytes.length)).toEqual(properties);
      for (const name of names) expect(findProperty(bytes, 3, name) >= 0).toBe(name in properties);
    }
  });

  it('are refused when cut anywhere, when something stands behind them, and with flags that mean nothing', () => {
    const bytes = Buffer.alloc(propertiesBytes(allProperties) + 1);
    encodeProperties(allProperties, bytes, 0);
    for (let end = 0; end <= bytes.length; end++) {
      if (end === bytes.length - 1) continue;
      expect(() => decodeProperties(bytes, 0, end)).toThrow(MalformedError);
    }
    expect(() => decodeProperties(Buffer.from([0, 1, 0, 0]), 0, 4)).toThrow('flags');
    expect(() => propertiesBytes({ messageId: 'x'.repeat(256) })).toThrow('at most 255');
  });
});

describe('short texts', () => {
  it('are the bytes and the texts that Node makes, whatever their length and their characters', () => {
    const random = new SeededRandom(11);
    const alphabets = [
      [0x61, 0x7a],
      [0x20, 0x7f],
      [0x60, 0xff],
      [0x400, 0x4ff],
      [0xd7ff, 0xe001],
      [0x1f600, 0x1f64f],
    ] as const;
    for (let step = 0; step < 5000; step++) {
      const [from, to] = alphabets[random.below(alphabets.length)]!;
      const characters = Array.from({ length: random.below(step % 10 === 0 ? 200 : 70) }, () =>
        String.fromCodePoint(from + random.below(to - from + 1)),
      );
      const text = characters.join('') + (random.chance(0.1) ? 'é' : '');
      const wanted = Buffer.from(text);
      expect(textBytes(text)).toBe(wanted.length);
      const into = Buffer.alloc(wanted.length + 4, 0xee);
      expect(writeText(text, into, 2)).toBe(wanted.length + 2);
      expect(into).toEqual(Buffer.concat([Buffer.from([0xee, 0xee]), wanted, Buffer.from([0xee, 0xee])]));
      // What is no UTF-8 too, and the same text again and again.
      const bytes = random.chance(0.2) ? random.bytes(random.below(8)) : wanted;
      const isShort = bytes.length <= 64 && bytes.every((byte) => byte < 0x80);
      for (let time = 0; time < 2; time++) expect(nameText(bytes, 0, bytes.length)).toBe(bytes.toString('utf8'));
      for (let time = 0; time < 2; time++) expect(shortText(bytes, 0, bytes.length)).toBe(isShort ? bytes.toString('utf8') : undefined);
    }
  });
});

describe('the content image', () => {
  it.each([0, 1, 70_000])('of a body of %i bytes is read by its accessors', (length) => {
    const body = Buffer.alloc(length, 0x61);
    const image = Buffer.concat([Buffer.alloc(5), writeContent('exchange', 'a.routing.key', allProperties, body)]);
    expect(contentExchange(image, 5)).toBe('exchange');
    expect(contentRoutingKey(image, 5)).toBe('a.routing.key');
    expect(image[routingEnd(image, 5)]).toBe(0);
    expect(decodeProperties(image, propertiesStart(image, 5), propertiesEnd(image, 5))).toEqual(allProperties);
    expect(bodyLength(image, 5)).toBe(length);
    expect(length === 0 || image.subarray(bodyStart(image, 5), -1).equals(body)).toBe(true);
    expect(image[image.length - 1]).toBe(frameEnd);
  });

  it('is the same where it is copied at once, unless it may not fit there', () => {
    const { headers: _mixed, ...plain } = allProperties;
    const headers = { name: 'é'.repeat(40), ['n'.repeat(80)]: '' };
    for (const properties of [{}, plain, { headers }, { ...plain, headers }]) {
      for (const bodyBytes of [0, 1, 5000]) {
        const body = Buffer.alloc(bodyBytes, 0x62);
        const image = writeContent('exchange', 'a.routing.key', properties, body);
        passingImage.fill(0xee);
        expect(writePassingContent('exchange', 'a.routing.key', properties, body)).toBe(image.length);
        expect(passingImage.subarray(0, image.length)).toEqual(image);
        expect(passingImage[image.length]).toBe(0xee);
      }
    }
    const long = 'é'.repeat(86);
    expect(writePassingContent(long, 'key', {}, Buffer.alloc(0))).toBe(0);
    expect(writePassingContent('', 'key', { messageId: long }, Buffer.alloc(0))).toBe(0);
    expect(writePassingContent('', 'key', { headers: { [long]: '' } }, Buffer.alloc(0))).toBe(0);
    expect(writePassingContent('', 'key', { headers: { long: 'x'.repeat(6000) } }, Buffer.alloc(0))).toBe(0);
    expect(writePassingContent('', 'key', { headers: { number: 1 } }, Buffer.alloc(0))).toBe(0);
    expect(writePassingContent('', 'key', {}, passingImage)).toBe(0);
  });

  it('has in common what was put together once, and reads as if it had not been', () => {
    const { headers: _mixed, contentType, contentEncoding, deliveryMode, type, userId, appId, clusterId, ...rest } = allProperties;
    const shared = { contentType, contentEncoding, deliveryMode, type, userId, appId, clusterId } as SharedProperties;
    const own = rest as OwnProperties;
    const commons: SharedProperties[] = [{}, { headers: { a: 'b' } }, shared, { ...shared, headers: { a: 'x'.repeat(127), b: '' } }];
    const besides: OwnProperties[] = [{}, own, { headers: { c: 'd' } }, { ...own, headers: { c: 'd', ['n'.repeat(85)]: 'f' } }];
    const body = Buffer.from('body');
    for (const common of commons) {
      for (const beside of besides) {
        const both = new CommonProperties(common);
        passingImage.fill(0xee);
        const length = writePassingContent('exchange', 'a.routing.key', beside, body, both);
        const image = passingImage.subarray(0, length);
        const properties = decodeProperties(image, propertiesStart(image, 0), propertiesEnd(image, 0));
        expect(properties).toEqual({ ...common, ...beside, headers: { ...common.headers, ...beside.headers } });
        expect(properties).toEqual(both.with(beside));
        expect([contentRoutingKey(image, 0), bodyLength(image, 0), passingImage[length]]).toEqual(['a.routing.key', 4, 0xee]);
        expect(image.subarray(bodyStart(image, 0), -1)).toEqual(body);
      }
    }
    expect(() => new CommonProperties({ headers: { CC: ['key'] } })).toThrow('where one message goes');
  });

  it.each<[string, SharedProperties, OwnProperties]>([
    ['no ASCII in common', { type: 'größer' }, {}],
    ['no ASCII of its own', {}, { headers: { key: 'größer' } }],
    ['half a character', {}, { messageId: '\ud83d' }],
    ['what is no text in common', { headers: { number: 1 } }, {}],
    ['what is no text of its own', {}, { headers: { number: 1 } }],
    ['a long text', {}, { headers: { text: 'x'.repeat(128) } }],
    ['a long name', {}, { headers: { ['n'.repeat(86)]: 'x' } }],
    ['a long property', {}, { messageId: 'x'.repeat(128) }],
    ['a high priority', {}, { priority: 128 }],
    ['more than fits', { headers: { text: 'x'.repeat(17_000) } }, {}],
  ])('is not written with what is in common where there is %s', (_what, common, own) => {
    expect(writePassingContent('', 'key', own, Buffer.alloc(0), new CommonProperties(common))).toBe(0);
  });

  it('refuses names that do not fit', () => {
    expect(() => writeContent('', 'k'.repeat(256), {}, Buffer.alloc(0))).toThrow('at most 255');
  });
});

describe('the small copy', () => {
  it('copies exactly what it should, at every length and alignment', () => {
    const source = new SeededRandom(3).bytes(700);
    for (let length = 0; length <= 520; length++) {
      const into = Buffer.alloc(700, 0x55);
      const start = length % 7;
      const at = (length * 3) % 11;
      copyBytes(into, viewOf(into), at, source, viewOf(source), start, length);
      const expected = Buffer.alloc(700, 0x55);
      source.copy(expected, at, start, start + length);
      expect(into.equals(expected)).toBe(true);
      expect(sameBytes(into, viewOf(into), at, source, viewOf(source), start, length)).toBe(true);
      into[at + ((length * 5 + 3) % Math.max(length, 1))]! ^= 1;
      expect(sameBytes(into, viewOf(into), at, source, viewOf(source), start, length)).toBe(length === 0);
    }
  });
});

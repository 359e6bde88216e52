import { describe, expect, it } from '@jest/globals';
import { SeededRandom } from '@dovecote/ground/testing';
import { apis } from './apis.js';
import type { ApiCodec } from './api.js';
import { Cursor, MalformedError } from './cursor.js';
import { isLent, RequestFrames } from './request-frames.js';
import { type FetchResponse, readFetchRequest, writeFetchResponse } from './fetch-wire.js';
import { type ProduceTopicResponse, readProduceRequest, writeProduceResponse } from './produce-wire.js';
import { type AnyField, Field, type Struct } from './schema.js';
import { Writer } from './writer.js';

type AnyCodec = ApiCodec<Struct, Struct>;
type Values = Record<string, unknown>;

const codecs = [...apis.values()].map((api) => (api as unknown as { codec: AnyCodec }).codec);

/** A value that `version` can carry; what it cannot is the fallback, as a reader finds it. */
function randomStruct(struct: Struct, version: number, random: SeededRandom): Values {
  return Object.fromEntries(Object.entries(struct).map(([name, field]) => [name, randomField(field, version, random)]));
}

function randomField(field: AnyField, version: number, random: SeededRandom): unknown {
  const { from, to, nullableFrom } = field.versions;
  if (version < from || version > to) return absent(field, version);
  if (version >= nullableFrom && random.chance(0.2)) return null;
  return randomValue(field, version, random);
}

function absent(field: AnyField, version: number): unknown {
  const { struct } = field.shape;
  if (struct === undefined || field.fallback !== null || version >= field.versions.nullableFrom) return field.fallback;
  return Object.fromEntries(Object.entries(struct).map(([name, inner]) => [name, absent(inner, version)]));
}

function randomValue({ shape }: AnyField, version: number, random: SeededRandom): unknown {
  switch (shape.kind) {
    case 'bool':
      return random.chance(0.5);
    case 'int8':
      return random.below(256) - 128;
    case 'int16':
      return random.below(65_536) - 32_768;
    case 'uint16':
      return random.below(65_536);
    case 'int32':
      return random.below(2 ** 32) - 2 ** 31;
    case 'int64':
      return (random.below(2 ** 21) * 2 ** 32 + random.below(2 ** 32)) * (random.chance(0.5) ? 1 : -1) || 0;
    case 'float64':
      return random.below(1000) / 8;
    case 'uuid':
      return random.bytes(16).toString('base64url');
    case 'string':
      return 'aé€😀'.repeat(random.below(random.chance(0.1) ? 200 : 4));
    case 'bytes':
    case 'records':
      return Buffer.alloc(random.below(random.chance(0.02) ? 20_000 : 40), random.below(256));
    case 'array':
      return Array.from({ length: random.below(3) }, () => randomValue(shape.element!, version, random));
    case 'struct':
      return randomStruct(shape.struct!, version, random);
  }
}

function written(write: (writer: Writer, value: never) => void, value: Values): Buffer {
  const writer = new Writer(64);
  writer.begin();
  write(writer, value as never);
  return Buffer.concat(writer.finish()).subarray(4);
}

function versionsOf({ table }: AnyCodec): number[] {
  return Array.from({ length: table.versions[1] - table.versions[0] + 1 }, (_, i) => table.versions[0] + i);
}

describe('the messages', () => {
  it.each(codecs.map((codec) => [codec.table.name, codec] as const))('%s is read as it was written, in every version', (_name, codec) => {
    for (const version of versionsOf(codec)) {
      const random = new SeededRandom(`${codec.table.name} ${version}`);
      for (let i = 0; i < 6; i++) {
        const request = randomStruct(codec.table.request, version, random);
        const response = randomStruct(codec.table.response, version, random);
        const requestCursor = Cursor.over(written(codec.writeRequest(version), request));
        expect(codec.readRequest(version)(requestCursor)).toEqual(request);
        expect(requestCursor.left).toBe(0);
        const responseCursor = Cursor.over(written(codec.writeResponse(version), response));
        expect(codec.readResponse(version)(responseCursor)).toEqual(response);
        expect(responseCursor.left).toBe(0);
      }
    }
  });

  it('are refused where they end too early, at every byte, and where they are garbage', () => {
    for (const codec of codecs) {
      for (const version of versionsOf(codec)) {
        const random = new SeededRandom(`cut ${codec.table.name} ${version}`);
        const whole = written(codec.writeRequest(version), randomStruct(codec.table.request, version, random)).subarray(0, 600);
        for (let end = 0; end < whole.length; end++) {
          try {
            codec.readRequest(version)(Cursor.over(whole.subarray(0, end)));
          } catch (error) {
            expect(error).toBeInstanceOf(MalformedError);
          }
        }
        for (let i = 0; i < 50; i++) {
          try {
            codec.readRequest(version)(Cursor.over(random.bytes(random.below(64))));
          } catch (error) {
            expect(error).toBeInstanceOf(MalformedError);
          }
        }
      }
    }
  });

  it('do not believe a count that the bytes cannot hold', () => {
    const metadata = codecs.find(({ table }) => table.name === 'Metadata')!;
    expect(() => metadata.readRequest(1)(Cursor.over(Buffer.from('7fffffff00', 'hex')))).toThrow(/array of 2147483647 elements/);
    expect(() => metadata.readRequest(9)(Cursor.over(Buffer.from('ffffffff0f', 'hex')))).toThrow(MalformedError);
  });

  it('pass over tagged fields that are not known, and read those that are', () => {
    const apiVersions = codecs.find(({ table }) => table.name === 'ApiVersions')!;
    const bytes = Buffer.concat([Buffer.from([2, 0x61, 2, 0x62]), Buffer.from([2, 99, 3, 1, 2, 3, 100, 0])]);
    const cursor = Cursor.over(bytes);
    expect(apiVersions.readRequest(3)(cursor)).toEqual({ clientSoftwareName: 'a', clientSoftwareVersion: 'b' });
    expect(cursor.left).toBe(0);
    const fetching = codecs.find(({ table }) => table.name === 'Fetch')!;
    const response = randomStruct(fetching.table.response, 12, new SeededRandom(1)) as { responses: unknown };
    const partition = { ...(randomStruct({ p: fetching.table.response['responses']! }, 12, new SeededRandom(7)) as { p: unknown[] }) };
    expect(codecOf(fetching, 12, { ...response, responses: partition.p })).toEqual({ ...response, responses: partition.p });
  });

  it('carry large record batches through without a copy', () => {
    const writer = new Writer(64);
    const batch = Buffer.alloc(100_000, 1);
    const produce = codecs.find(({ table }) => table.name === 'Produce')!;
    writer.begin();
    const request = {
      transactionalId: null,
      acks: 1,
      timeoutMs: 1,
      topicData: [{ name: 't', topicId: '', partitionData: [{ index: 0, records: batch }] }],
    };
    produce.writeRequest(3)(writer, request);
    const parts = writer.finish();
    expect(parts[1]).toBe(batch);
    expect(Buffer.concat(parts).readInt32BE(0)).toBe(parts[0]!.length + batch.length - 4);
  });
});

function codecOf(codec: AnyCodec, version: number, response: Values): unknown {
  return codec.readResponse(version)(Cursor.over(written(codec.writeResponse(version), response)));
}

describe('what is written out by hand', () => {
  const random = new SeededRandom(11);
  const codecNamed = (name: string): AnyCodec => codecs.find(({ table }) => table.name === name)!;
  const handWritten = [codecNamed('Produce'), codecNamed('Fetch')];
  const byHand = (write: (writer: Writer) => void): Buffer => written((writer) => write(writer), {});
  const cases = handWritten.flatMap((codec) => {
    const [first, last] = codec.table.versions;
    return Array.from({ length: last - first + 1 }, (_, n) => [codec.table.name, first + n, codec] as const);
  });

  function readByHand(name: string, bytes: Buffer, version: number): object {
    const cursor = Cursor.over(bytes);
    const request = name === 'Produce' ? readProduceRequest(cursor, version) : readFetchRequest(cursor, version);
    expect(cursor.left).toBe(0);
    return request;
  }

  it.each(cases)('reads %s %i as the table does, and no less of it', (name, version, codec) => {
    for (let round = 0; round < 12; round++) {
      const bytes = written(codec.writeRequest(version), randomStruct(codec.table.request, version, random));
      const read = readByHand(name, bytes, version);
      expect(codec.readRequest(version)(Cursor.over(bytes))).toMatchObject(read);
      for (let at = 0; at < bytes.length; at += 1 + random.below(Math.ceil(bytes.length / 20))) {
        expect(() => readByHand(name, bytes.subarray(0, at), version)).toThrow(MalformedError);
      }
    }
  });

  it.each(cases)('is refused in %s %i where lengths are not what they can be', (name, version, codec) => {
    for (let round = 0; round < 60; round++) {
      const bytes = Buffer.from(written(codec.writeRequest(version), randomStruct(codec.table.request, version, random)));
      for (let n = random.below(4); n >= 0; n--) bytes[random.below(bytes.length)] = random.chance(0.5) ? 0xff : random.below(256);
      try {
        if (name === 'Produce') readProduceRequest(Cursor.over(bytes), version);
        else readFetchRequest(Cursor.over(bytes), version);
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedError); // anything else would end more than the connection
      }
    }
  });

  /** Without tagged fields, which only the table writes. */
  function untagged(struct: Struct): Struct {
    return Object.fromEntries(
      Object.entries(struct)
        .filter(([, { versions }]) => versions.tag === undefined)
        .map(([name, field]) => {
          const { element } = field.shape;
          const inner = element?.shape.struct;
          if (element === undefined || inner === undefined) return [name, field];
          const bare = new Field({ kind: 'struct', struct: untagged(inner) }, element.versions, element.fallback);
          return [name, new Field({ kind: 'array', element: bare }, field.versions, field.fallback)];
        }),
    );
  }

  it.each(cases)('writes answers to %s %i as the table does', (name, version, codec) => {
    for (let round = 0; round < 12; round++) {
      const response = randomStruct(untagged(codec.table.response), version, random);
      response['throttleTimeMs'] = 0;
      if (name === 'Fetch') {
        for (const { partitions } of response['responses'] as { partitions: Values[] }[]) {
          for (const partition of partitions) {
            partition['preferredReadReplica'] = -1;
            partition['records'] = Array.from({ length: random.below(3) }, () =>
              Buffer.alloc(random.below(random.chance(0.05) ? 40_000 : 50), 1),
            );
          }
        }
      }
      const expected = written(codec.writeResponse(version), response);
      const write = (writer: Writer): void =>
        name === 'Produce'
          ? writeProduceResponse(writer, response['responses'] as ProduceTopicResponse[], version)
          : writeFetchResponse(writer, response as unknown as FetchResponse, version);
      expect(byHand(write).equals(expected)).toBe(true);
    }
  });
});

describe('the framing', () => {
  const frame = (body: Buffer): Buffer => Buffer.concat([Buffer.from([0, 0, body.length >> 8, body.length & 255]), body]);
  const bodies = [Buffer.from('one'), Buffer.alloc(0), Buffer.alloc(300, 2), Buffer.from('four')];
  const stream = Buffer.concat(bodies.map(frame));

  function cut(chunks: readonly Buffer[]): Buffer[] {
    const frames = new RequestFrames(() => 1000);
    const found: Buffer[] = [];
    for (const chunk of chunks) {
      frames.push(chunk);
      for (let next = frames.next(); next !== undefined; next = frames.next()) found.push(next);
    }
    expect(frames.isInside).toBe(false);
    return found;
  }

  it('finds the same requests wherever the stream is split', () => {
    for (let at = 0; at <= stream.length; at++) {
      const chunks = [stream.subarray(0, at), stream.subarray(at)].filter(({ length }) => length > 0);
      expect(cut(chunks)).toEqual(bodies);
      expect(
        cut(
          [...stream.subarray(0, at)]
            .map((byte) => Buffer.from([byte]))
            .concat(stream.subarray(at))
            .filter(({ length }) => length > 0),
        ),
      ).toEqual(bodies);
    }
  });

  /** As a socket that fills the room it is given: what is found is copied at once or never, as its reader may do. */
  function cutFilled(pieces: readonly Buffer[]): { found: Buffer[]; lent: number } {
    const frames = new RequestFrames(() => 2 ** 20);
    const found: Buffer[] = [];
    let lent = 0;
    for (const piece of pieces) {
      for (let at = 0; at < piece.length;) {
        const room = frames.room();
        const length = piece.copy(room, 0, at);
        at += length;
        frames.filled(length);
        for (let next = frames.next(); next !== undefined; next = frames.next()) {
          if (isLent(next)) lent++;
          found.push(isLent(next) ? Buffer.from(next) : next);
        }
        frames.settle();
      }
    }
    expect(frames.isInside).toBe(false);
    return { found, lent };
  }

  it('finds them in memory that is used again, and lends only small ones', () => {
    for (let at = 0; at <= stream.length; at++) {
      const { found, lent } = cutFilled([stream.subarray(0, at), stream.subarray(at)]);
      expect(found).toEqual(bodies);
      expect(lent > 0 || (at > 0 && at < 4)).toBe(true); // a size in two pieces is joined with what follows
      expect(cutFilled([...stream.subarray(0, at)].map((byte) => Buffer.from([byte])).concat(stream.subarray(at))).found).toEqual(bodies);
    }
    const random = new SeededRandom(3);
    const sizes = [8192, 8193, 60_000, 65_535, 40_000, 5, 8190, 33_000];
    const large = sizes.map((length) => Buffer.from(random.bytes(length)));
    const together = Buffer.concat(large.map(frame));
    for (let round = 0; round < 50; round++) {
      const pieces: Buffer[] = [];
      for (let at = 0; at < together.length; at += pieces.at(-1)!.length)
        pieces.push(together.subarray(at, at + 1 + random.below(random.chance(0.5) ? 70_000 : 100)));
      expect(cutFilled(pieces).found.every((found, n) => found.equals(large[n]!))).toBe(true);
    }
  });

  it('refuses a size that is negative or too large before anything is allocated', () => {
    for (const size of ['80000000', 'ffffffff', '000003e9', '7fffffff', '47455420']) {
      const frames = new RequestFrames(() => 1000);
      frames.push(Buffer.from(size, 'hex'));
      expect(() => frames.next()).toThrow(/announces -?\d+ bytes/);
    }
  });

  it('gathers a request of many megabytes without taking more than comes', () => {
    const frames = new RequestFrames(() => 2 ** 30);
    const size = Buffer.alloc(4);
    size.writeInt32BE(5_000_000);
    frames.push(size);
    expect(frames.next()).toBeUndefined();
    const body = Buffer.from(Uint32Array.from({ length: 1_250_000 }, (_, i) => i).buffer);
    for (let at = 0; at < body.length; at += 65_536) {
      frames.push(body.subarray(at, at + 65_536));
      const whole = frames.next();
      expect(whole === undefined).toBe(at + 65_536 < body.length);
      if (whole !== undefined) expect(whole.equals(body)).toBe(true);
    }
  });
});

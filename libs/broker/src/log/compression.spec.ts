import { describe, expect, it } from '@jest/globals';
import { SeededRandom } from '@dovecote/ground/testing';
import { codecNames, codecOf, compress, decompress, UnreadablePayload } from './compression.js';
import { folderOfKafka, linesInFolder } from './folder-of-kafka.js';
import { BatchHead, batchHeadBytes } from './record-batch.js';
import { RecordCursor } from './records.js';
import { packSnappy, unpackSnappy } from './snappy.js';
import { unpackLz4 } from './lz4.js';

const random = new SeededRandom(7);

function sample(length: number): Buffer {
  const bytes = random.bytes(length);
  // Words that come again, near and far.
  for (let at = 0; at + 20 < length; at += 1 + random.below(40))
    if (random.chance(0.6)) bytes.copy(bytes, at + 8, random.below(at + 1), random.below(at + 1) + 12);
  return bytes;
}

describe('compression', () => {
  it.each(codecNames)('of Kafka is read: %s', (name) => {
    const file = Buffer.from(folderOfKafka['00000000000000000000.log']!, 'base64');
    const head = new BatchHead();
    for (let at = 0; at < file.length; at += head.bytes) {
      head.read(file, at);
      if (head.codec !== codecOf[name] || head.producerId === 5) continue;
      const payload = decompress(head.codec, file.subarray(at + batchHeadBytes, at + head.bytes));
      const cursor = new RecordCursor(payload, 0, payload.length);
      const lines: string[] = [];
      while (cursor.next()) lines.push(cursor.value!.toString());
      expect(lines).toEqual(linesInFolder);
    }
  });

  it.each(codecNames)('brings back what was packed: %s', (name) => {
    const codec = codecOf[name];
    const texts = [Buffer.alloc(0), Buffer.from('a'), Buffer.alloc(300_000, 'abc'), Buffer.alloc(70_000)];
    for (const bytes of [...texts, ...Array.from({ length: 60 }, () => sample(random.below(random.chance(0.2) ? 200_000 : 600)))]) {
      const packed = compress(codec, bytes, 3);
      expect(decompress(codec, packed).equals(bytes)).toBe(true);
    }
    if (name !== 'uncompressed' && name !== 'zstd') expect(compress(codec, Buffer.alloc(300_000, 'abc'), 3).length).toBeLessThan(20_000);
  });

  it.each(codecNames.slice(1))('cut or damaged anywhere is refused or harmless, and never takes more memory than it may: %s', (name) => {
    const codec = codecOf[name];
    const packed = compress(codec, sample(3000), 3);
    const attempt = (bytes: Buffer): void => {
      try {
        decompress(codec, bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(UnreadablePayload);
      }
    };
    for (let end = 0; end < packed.length; end += 3) attempt(packed.subarray(0, end));
    for (let round = 0; round < 500; round++) {
      const damaged = Buffer.from(packed);
      damaged[random.below(damaged.length)] = random.below(256);
      attempt(damaged);
      attempt(random.bytes(random.below(200)));
    }
  });

  it('reads snappy without a frame, and refuses one that says it is huge', () => {
    const framed = packSnappy(Buffer.from('hello hello hello hello'));
    expect(unpackSnappy(framed.subarray(20), 1000).toString()).toBe('hello hello hello hello');
    expect(() => unpackSnappy(Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 0]), 1000)).toThrow(RangeError);
    expect(() => unpackLz4(compress(codecOf.lz4, Buffer.alloc(5000), 1), 1000)).toThrow(RangeError);
  });
});

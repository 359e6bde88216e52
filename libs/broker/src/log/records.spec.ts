import { describe, expect, it } from '@jest/globals';
import { crc32c } from '@dovecote/ground';
import { SeededRandom } from '@dovecote/ground/testing';
import { BatchHead, batchHeadBytes } from './record-batch.js';
import { encodeBatch, RecordCursor, type RecordContent } from './records.js';

describe('records', () => {
  it('survive a round trip, with every kind of nothing in them', () => {
    const records: RecordContent[] = [
      { key: null, value: null, timestamp: 1_700_000_000_000 },
      {
        key: Buffer.from('k'),
        value: Buffer.alloc(0),
        timestamp: 1_699_999_000_000,
        headers: [
          { key: 'ü', value: null },
          { key: '', value: Buffer.from('v') },
        ],
      },
      { key: Buffer.alloc(0), value: Buffer.alloc(70_000, 1), timestamp: 1_800_000_000_000 },
    ];
    const bytes = encodeBatch(records);
    const head = new BatchHead().read(bytes, 0);
    const cursor = new RecordCursor(bytes, batchHeadBytes, bytes.length);
    const found: RecordContent[] = [];
    while (cursor.next())
      found.push({
        key: cursor.key,
        value: cursor.value,
        timestamp: head.baseTimestamp + cursor.timestampDelta,
        headers: cursor.headers(),
      });
    expect(found.map(({ key, value, timestamp }) => ({ key, value, timestamp }))).toEqual(
      records.map(({ key, value, timestamp }) => ({ key, value, timestamp })),
    );
    expect(found[1]!.headers).toEqual(records[1]!.headers);
    expect(head.maxTimestamp).toBe(1_800_000_000_000);
  });

  it('are refused cut at any byte and never read past their end', () => {
    const bytes = encodeBatch([
      { key: Buffer.from('key'), value: Buffer.from('value'), timestamp: 1_000 },
      { key: Buffer.from('k'), value: Buffer.from('v'.repeat(200)), timestamp: 1_000 },
    ]);
    for (let end = batchHeadBytes + 1; end < bytes.length; end++) {
      const cursor = new RecordCursor(bytes.subarray(0, end), batchHeadBytes, end);
      let count = 0;
      try {
        while (cursor.next()) count++;
      } catch (error) {
        expect((error as Error).name).toBe('BrokenRecord');
      }
      expect(count).toBeLessThan(2);
    }
  });

  it('have the sum that everybody else computes', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
    const bytes = new SeededRandom('sums').bytes(5000);
    for (const cut of [0, 1, 15, 16, 33, 4000])
      expect(crc32c(bytes, crc32c(bytes, 0, 3, 3 + cut), 3 + cut)).toBe(crc32c(bytes.subarray(3)));
  });
});

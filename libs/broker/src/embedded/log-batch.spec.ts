/** What readers get of batches that other brokers send. */
import { describe, expect, it } from '@jest/globals';
import { encodeBatch } from '../log/records.js';
import { type DecodedBatches, decodeBatches } from './log-batch.js';

describe('decodeBatches', () => {
  it('leaves out a batch that is cut off, and goes on at it', () => {
    const batch = (value: string, baseOffset: number): Buffer => {
      const bytes = encodeBatch([{ key: null, value: Buffer.from(value), timestamp: 1 }]);
      bytes.writeBigInt64BE(BigInt(baseOffset), 0);
      return bytes;
    };
    const decode = (part: Buffer): DecodedBatches => decodeBatches({ parts: [part], bytes: part.length, aborted: undefined }, 0);
    const both = Buffer.concat([batch('whole', 0), batch('cut off', 1)]);
    const whole = decode(both);
    expect([whole.records.map(({ value }) => value?.toString()), whole.nextOffset]).toEqual([['whole', 'cut off'], 2]);
    for (let length = batch('whole', 0).length; length < both.length; length++) {
      const { records, nextOffset } = decode(both.subarray(0, length));
      expect([records.map(({ value }) => value?.toString()), nextOffset]).toEqual([['whole'], 1]);
    }
  });
});

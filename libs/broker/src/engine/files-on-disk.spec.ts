/**
 * docs/files-on-disk.md, held to the bytes: a reader that knows only what stands there, and the example in it.
 */
import { describe, expect, it } from '@jest/globals';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import { simulatedGround } from '@dovecote/ground/testing';
import { Broker } from '../broker.js';
import type { MessageProperties } from '../queues/properties.js';

const page = readFileSync(fileURLToPath(new URL('../../../../docs/files-on-disk.md', import.meta.url)), 'utf8');

/** Runs the example of the page; answers the files of the data folder. */
async function example(properties: MessageProperties = { deliveryMode: 2 }): Promise<ReadonlyMap<string, Buffer>> {
  const machine = simulatedGround('files-on-disk');
  const { clock, disk } = machine;
  const { ground } = machine.startProcess();
  const broker = await clock.drive(Broker.open({ data: '/data', ground }));
  const session = broker.session();
  await clock.drive(session.declareQueue('q', { durable: true }));
  await clock.drive(session.publish({ exchange: '', routingKey: 'q', body: Buffer.from('hi'), properties }));
  await clock.drive(session.consume('q', {}, (delivery) => delivery.acknowledge()));
  await clock.runUntilIdle();
  await clock.drive(broker.close());
  const files = new Map<string, Buffer>();
  for (const name of await clock.drive(disk.list('/data/journal'))) {
    const file = await clock.drive(disk.open(`/data/journal/${name}`, 'read'));
    const bytes = Buffer.alloc(await clock.drive(file.size()));
    await clock.drive(file.read(bytes, 0));
    files.set(name, bytes);
  }
  return files;
}

function hexdump(bytes: Buffer): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = bytes.subarray(at, at + 16);
    const hex = [...row].map((byte) => byte.toString(16).padStart(2, '0'));
    const text = row.toString('latin1').replace(/[^\x20-\x7e]/g, '.');
    lines.push(`${at.toString(16).padStart(4, '0')}  ${hex.slice(0, 8).join(' ')}  ${hex.slice(8).join(' ')}`.padEnd(56) + text);
  }
  return lines.join('\n');
}

/** Reads a file as the page says, and nothing else. */
function read(bytes: Buffer): { head: object; batches: { oldestFile: number; sequence: number; durable: number; records: string[] }[] } {
  assert.equal(bytes.toString('latin1', 0, 8), 'DOVECOTE');
  const head = { version: bytes.readUInt32BE(8), number: bytes.readUInt32BE(12), flags: bytes.readUInt32BE(16) };
  const salt = bytes.readUInt32BE(20);
  assert.equal(bytes.readUInt32BE(24), crc32(bytes.subarray(0, 24)));
  const batches = [];
  for (let at = 28; at < bytes.length;) {
    assert.equal(bytes.readUInt32BE(at), 0xd04eba7c);
    const end = at + bytes.readUInt32BE(at + 4);
    assert.equal(bytes.readUInt32BE(at + 8), crc32(bytes.subarray(at + 12, end), salt));
    const records: string[] = [];
    for (let record = at + 32; record < end;) {
      const length = bytes.readUInt32BE(record);
      records.push(describeRecord(bytes.subarray(record + 4, record + 4 + length)));
      record += 4 + length;
    }
    batches.push({
      oldestFile: bytes.readUInt32BE(at + 12),
      sequence: bytes.readDoubleBE(at + 16),
      durable: bytes.readDoubleBE(at + 24),
      records,
    });
    at = end;
  }
  return { head, batches };
}

function describeRecord(record: Buffer): string {
  switch (record[0]) {
    case 1: {
      const queues = record.readUInt32BE(1);
      const targets = Array.from({ length: queues }, (_, i) => `${record.readUInt32BE(5 + i * 10)}@${record.readUIntBE(9 + i * 10, 6)}`);
      return `message to ${targets.join()}: ${describeContent(record.subarray(5 + queues * 10))}`;
    }
    case 2:
      return `settled in ${record.readUInt32BE(1)} from ${record.readUIntBE(5, 6)}: ${record.readUInt32BE(11)}`;
    case 3:
      return `delivered in ${record.readUInt32BE(1)} below ${record.readUIntBE(5, 6)}`;
    case 4:
      return `definition ${(JSON.parse(record.toString('utf8', 1)) as { do: string }).do}`;
    case 5: {
      const queues = record.readUInt32BE(1);
      const came = new Date(record.readUIntBE(5 + queues * 10, 6)).getUTCFullYear();
      return `timed, came in ${came}, to ${record.readUInt32BE(5)}@${record.readUIntBE(9, 6)}: ${describeContent(record.subarray(11 + queues * 10))}`;
    }
    default:
      throw new Error(`a record of the unknown kind ${record[0]}`);
  }
}

function describeContent(content: Buffer): string {
  const exchange = content.toString('utf8', 1, 1 + content[0]!);
  let at = 1 + exchange.length;
  const key = content.toString('utf8', at + 1, at + 1 + content[at]!);
  at += 1 + key.length + 1;
  assert.equal(content[at], 0xce);
  assert.equal(content[at + 1], 2);
  const headerBytes = content.readUInt32BE(at + 4);
  assert.equal(content.readUInt16BE(at + 8), 60);
  const bodyBytes = Number(content.readBigUInt64BE(at + 12));
  const flags = content.readUInt16BE(at + 20);
  at += 8 + headerBytes;
  assert.equal(content[at], 0xce);
  assert.equal(content[at + 1], 3);
  assert.equal(content.readUInt32BE(at + 4), bodyBytes);
  assert.equal(content[at + 8 + bodyBytes], 0xce);
  assert.equal(at + 9 + bodyBytes, content.length);
  return `'${exchange}' '${key}' flags ${flags.toString(16)} body '${content.toString('utf8', at + 8, at + 8 + bodyBytes)}'`;
}

describe('docs/files-on-disk.md', () => {
  it('describes what the broker writes', async () => {
    const files = await example();
    expect([...files.keys()]).toEqual(['0000000000000001.log']);
    const { head, batches } = read(files.get('0000000000000001.log')!);
    expect(head).toEqual({ version: 1, number: 1, flags: 1 });
    expect(batches.map(({ oldestFile, sequence, durable }) => [oldestFile, sequence, durable])).toEqual(
      batches.map((_, i) => [1, i + 1, i]),
    );
    expect(batches.flatMap(({ records }) => records)).toEqual([
      'definition checkpoint',
      'definition declare-queue',
      "message to 1@1: '' 'q' flags 1000 body 'hi'",
      'settled in 1 from 1: 1',
      'definition close',
    ]);
  });

  it('describes a message that may expire', async () => {
    const files = await example({ deliveryMode: 2, expiration: '500' });
    const records = read(files.get('0000000000000001.log')!).batches.flatMap((batch) => batch.records);
    const year = new Date(simulatedGround(1).clock.now()).getUTCFullYear();
    expect(records).toContain(`timed, came in ${year}, to 1@1: '' 'q' flags 1100 body 'hi'`);
  });

  it('shows the bytes of its example as they are', async () => {
    const files = await example();
    const shown = /```hexdump\n([\s\S]*?)```/.exec(page)?.[1]?.trimEnd();
    expect(shown).toBe(hexdump(files.get('0000000000000001.log')!));
  });
});

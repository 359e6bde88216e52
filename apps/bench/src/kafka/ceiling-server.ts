/**
 * What the load generator is measured against to learn what it costs itself: a server that reads nothing of a request but its size and its key, and answers with
 * bytes made beforehand.
 *
 *   node ceiling-server.js TOPIC RECORDS_IN_A_BATCH BATCH_BYTES FETCH_BYTES
 *
 * Produce requests are answered with the offset that is next on their connection; fetches with batches from the offset they ask for. A program, started by the benchmark.
 */
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { fetchAnswer, produceAnswer } from './answers.js';
import { fetchRequest, readI64, recordBatch } from './wire.js';

const [topic = '', recordsText, batchBytesText, fetchBytesText] = process.argv.slice(2);
const records = Number(recordsText);
const batchBytes = Number(batchBytesText);
const readBufferBytes = 262_144;

const produced = produceAnswer(topic, 0);
const batch = Buffer.alloc(batchBytes);
recordBatch(1, 1, 0).copy(batch);
batch.writeInt32BE(batchBytes - 12, 8);
batch.writeInt32BE(records, 57);
const batches = Array.from({ length: Math.max(1, Math.floor(Number(fetchBytesText) / batchBytes)) }, () => Buffer.from(batch));
const fetched = fetchAnswer(topic, Buffer.concat(batches));
/** Of the request: where the offset stands behind its size. */
const askedAt = fetchRequest(topic, 0, { maxWaitMs: 0, minBytes: 0, bytesMax: 0 }).offsetAt;

function serve(socket: Socket): (chunk: Buffer) => void {
  let left = 0;
  let head = Buffer.alloc(0);
  let nextOffset = 0;
  return (chunk) => {
    const out: Buffer[] = [];
    let at = 0;
    while (at < chunk.length) {
      if (left > 0) {
        const taken = Math.min(left, chunk.length - at);
        left -= taken;
        at += taken;
        continue;
      }
      const wanted = head.length < 8 ? 8 : askedAt + 8;
      const piece = chunk.subarray(at, at + wanted - head.length);
      head = Buffer.concat([head, piece]);
      at += piece.length;
      if (head.length < 8) break;
      const isFetch = head.readInt16BE(4) === 1;
      if (isFetch && head.length < askedAt + 8) continue;
      left = head.readInt32BE(0) + 4 - head.length;
      if (isFetch) out.push(fetchedFrom(readI64(head, askedAt)));
      else {
        const one = Buffer.from(produced.bytes);
        one.writeBigInt64BE(BigInt(nextOffset), produced.where);
        nextOffset += records;
        out.push(one);
      }
      head = Buffer.alloc(0);
    }
    if (out.length > 0) socket.write(out.length === 1 ? out[0]! : Buffer.concat(out));
  };
}

function fetchedFrom(offset: number): Buffer {
  const { bytes, where } = fetched;
  for (let n = 0; n < batches.length; n++) bytes.writeBigInt64BE(BigInt(offset + n * records), where + n * batchBytes);
  return bytes;
}

const server = createServer({ noDelay: true, highWaterMark: readBufferBytes }, (socket) => {
  socket.on('error', () => socket.destroy());
  socket.on('data', serve(socket));
});
server.listen(0, '127.0.0.1', () => console.log(`ceiling: listening on 127.0.0.1:${(server.address() as AddressInfo).port}`));

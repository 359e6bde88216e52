/**
 * What the load generator is measured against to learn what it costs itself: a server without any semantics.
 *
 *   node ceiling-server.js discard BODY_BYTES    reads and forgets
 *   node ceiling-server.js blast BODY_BYTES      sends encoded deliveries as fast as the socket takes them, stamped as real ones are
 *   node ceiling-server.js echo BODY_BYTES       answers each chunk, which is one publish, with an encoded delivery of the same body
 *
 * A program, started by the benchmark.
 */
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { CHANNEL } from './connection.js';
import { STAMP_EVERY, stampOf } from './publisher.js';
import { deliverTriple } from './wire.js';

const [mode, bodyBytesText] = process.argv.slice(2);
const bodyBytes = Number(bodyBytesText);
const CHUNK_MESSAGES = 4096;

/** Two chunks take turns: one is stamped anew while the kernel still reads the other. */
function blast(socket: Socket): void {
  const triple = deliverTriple(CHANNEL, 'bench', 1, 'bench', Buffer.alloc(bodyBytes, 0x2e));
  const stampOffset = triple.length - 1 - bodyBytes;
  const chunks = [Buffer.alloc(triple.length * CHUNK_MESSAGES, triple), Buffer.alloc(triple.length * CHUNK_MESSAGES, triple)];
  let sent = 0;
  const send = (turn: number): void => {
    const chunk = chunks[turn % 2] as Buffer;
    for (let n = 0; n < CHUNK_MESSAGES; n += STAMP_EVERY) {
      chunk.writeDoubleBE(0, n * triple.length + stampOffset);
      chunk.writeUInt32BE(stampOf(sent + n), n * triple.length + stampOffset + 8);
    }
    sent += CHUNK_MESSAGES;
    socket.write(chunk, (error) => {
      if (!error) setImmediate(send, turn + 2);
    });
  };
  send(0);
  send(1);
}

/** What a message costs that comes alone, mostly in waking up, where nobody looks into it. */
function echo(socket: Socket): void {
  const triple = deliverTriple(CHANNEL, 'bench', 1, 'bench', Buffer.alloc(bodyBytes, 0x2e));
  const bodyAt = triple.length - 1 - bodyBytes;
  socket.on('data', (chunk: Buffer) => {
    const delivery = Buffer.from(triple);
    chunk.copy(delivery, bodyAt, chunk.length - 1 - bodyBytes, chunk.length - 1);
    socket.write(delivery);
  });
}

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  if (mode === 'blast') blast(socket);
  else if (mode === 'echo') echo(socket);
  else socket.resume();
});
server.listen(0, '127.0.0.1', () => console.log(`${mode}: listening on 127.0.0.1:${(server.address() as AddressInfo).port}`));

/**
 * The least a server can be: a Node process that listens and greets with one byte. What starting Node itself costs, in time and memory.
 *
 * A program, started by the benchmark.
 */
import { createServer, type AddressInfo } from 'node:net';

const server = createServer((socket) => {
  socket.on('error', () => socket.destroy());
  socket.write('.');
});
server.listen(0, '127.0.0.1', () => console.log(`bare: listening on 127.0.0.1:${(server.address() as AddressInfo).port}`));

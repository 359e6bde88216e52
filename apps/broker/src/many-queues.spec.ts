/** A daemon with a hundred thousand queues: how long it takes and what it costs is printed; that it stays within bounds is what is held. */
import { afterAll, expect, it } from '@jest/globals';
import { cleanUp, DaemonProcess, temporaryFolder } from './daemon-process.js';
import { declareQueue, method, RawClient } from './raw-client.js';

const count = 100_000;
const megabyte = 1 << 20;

afterAll(cleanUp);

/** Sends one part for each queue, and resolves when the last one of them was answered. */
async function sayForEach(client: RawClient, make: (number: number) => Buffer): Promise<number> {
  const began = performance.now();
  for (let first = 0; first < count; first += 1000) {
    const parts = Array.from({ length: 1000 }, (_, index) => make(first + index));
    if (!client.socket.write(Buffer.concat(parts))) await new Promise((resolve) => client.socket.once('drain', resolve));
  }
  client.received = Buffer.alloc(0);
  client.send(method(1, 20, 20, Buffer.from([1]))); // channel.flow, which is answered behind all of it
  await client.answered('20.21');
  return Math.round(performance.now() - began);
}

/** The same without an answer. */
function quietly(declaration: Buffer): Buffer {
  const bytes = Buffer.from(declaration);
  bytes[bytes.length - 6] = 0b1_0010; // durable, and no-wait
  return bytes;
}

const name = (number: number): string => `queue-${number}`;

it('declares, finds again and deletes a hundred thousand queues, each of a few kilobytes', async () => {
  const folder = temporaryFolder();
  const args = ['--data', folder, '--amqp-port', '0', '--durability', 'os'];
  const daemon = await DaemonProcess.listening(args);
  const idleBytes = daemon.residentBytes;
  const client = await RawClient.open(daemon.port, { channels: 1 });
  const declared = await sayForEach(client, (number) => quietly(declareQueue(1, name(number))));
  const each = Math.round((daemon.residentBytes - idleBytes) / count);
  client.send(declareQueue(1, 'one-too-many'));
  expect(await client.closeReason()).toMatchObject({ code: 406, text: expect.stringContaining('the limit of 100000 queues is reached') });
  await daemon.kill();

  const began = performance.now();
  const again = await DaemonProcess.listening(args);
  const restarted = Math.round(performance.now() - began);
  const other = await RawClient.open(again.port, { channels: 1 });
  const last = declareQueue(1, name(count - 1));
  last[last.length - 6] = 0b1; // passive
  other.send(last);
  await other.answered('50.11');
  const deleted = await sayForEach(other, (number) => {
    const queue = Buffer.from(name(number));
    return method(1, 50, 40, Buffer.concat([Buffer.from([0, 0, queue.length]), queue, Buffer.from([0b100])]));
  });
  console.log(
    `${count} queues: declared in ${declared} ms, ${each} bytes each; started again in ${restarted} ms; ` +
      `deleted in ${deleted} ms; ${Math.round(again.residentBytes / megabyte)} MiB then`,
  );
  expect(each).toBeLessThan(4096);
  other.socket.destroy();
  expect((await again.stop()).code).toBe(0);
});

import { type RequestListener, type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { httpGet } from './index.js';

const options = { user: 'ann', password: 'zoë', timeoutMs: 10_000, bytesMax: 100 };
const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

async function serve(answer: RequestListener): Promise<URL> {
  const server = createServer(answer);
  servers.push(server);
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/api`);
}

describe('a question over HTTP', () => {
  it('is asked by name and password, and answered with status and text', async () => {
    const url = await serve((request, response) => response.writeHead(404).end(`${request.url} ${request.headers.authorization}`));
    const authorization = `Basic ${Buffer.from('ann:zoë').toString('base64')}`;
    expect(await httpGet(url, options)).toEqual({ status: 404, text: `/api ${authorization}` });
  });

  it('goes nowhere else with the password', async () => {
    const url = await serve((_request, response) => response.writeHead(302, { location: '/elsewhere' }).end());
    expect((await httpGet(url, options)).status).toBe(302);
  });

  it('has no answer that is too large, that does not come, or where nobody listens', async () => {
    const large = await serve((_request, response) => response.end('x'.repeat(101)));
    await expect(httpGet(large, options)).rejects.toThrow('the answer has more than 100 bytes');
    const silent = await serve(() => undefined);
    await expect(httpGet(silent, { ...options, timeoutMs: 20 })).rejects.toThrow('there was no answer within 20 ms');
    servers.at(-1)!.close();
    servers.at(-1)!.closeAllConnections();
    await expect(httpGet(silent, options)).rejects.toThrow(/ECONNREFUSED/);
  });
});

/**
 * Who may come to the daemon, and how: users and virtual hosts of its file, TLS with and without client certificates, certificates that change,
 * and the management API, by clients that know nothing of us.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { TestAuthority } from '@dovecote/ground/testing';
import { afterEach, describe, expect, it } from '@jest/globals';
import { type ChannelModel, connect, credentials } from 'amqplib';
import { cleanUp, DaemonProcess, temporaryFolder } from './daemon-process.js';

afterEach(cleanUp);

const portOf = (daemon: DaemonProcess, what: string): number =>
  Number(new RegExp(`${what} listening on .*:(\\d+)\\n`).exec(daemon.stdout)?.[1]);

async function queueOn(connection: ChannelModel, queue: string): Promise<void> {
  const channel = await connection.createChannel();
  channel.on('error', () => undefined);
  await channel.assertQueue(queue, { durable: false });
}

describe('users and virtual hosts of the file', () => {
  it('rule over what the folder knows, and may do what the file says', async () => {
    const folder = temporaryFolder();
    const file = join(folder, 'dovecote.json');
    const permission = { virtualHost: 'team', configure: '^mine', write: '.*', read: '.*' };
    const users = [
      { name: 'ann', password: 'a', tags: [], permissions: [permission] },
      { name: 'root', password: 'r' },
    ];
    writeFileSync(file, JSON.stringify({ users, virtualHosts: ['team'], managementPort: 0 }));
    const daemon = await DaemonProcess.listening([
      '--config',
      file,
      '--data',
      join(folder, 'data'),
      '--amqp-port',
      '0',
      '--management-port',
      '0',
    ]);
    const at = (user: string, host: string): string => `amqp://${user}@127.0.0.1:${daemon.port}/${encodeURIComponent(host)}`;
    const connection = await connect(at('ann:a', 'team'), { noDelay: true });
    await queueOn(connection, 'mine');
    await expect(queueOn(connection, 'yours')).rejects.toThrow("configure access to queue 'yours' in vhost 'team' refused for user 'ann'");
    await connection.close();
    await expect(connect(at('ann:a', '/'), {})).rejects.toThrow('ConnectionClose');
    await expect(connect(at('ann:b', 'team'), {})).rejects.toThrow('Login was refused');
    await expect(connect(at('guest:guest', '/'), {})).rejects.toThrow('Login was refused');
    await (await connect(at('root:r', 'team'), {})).close();
    const answer = await fetch(`http://127.0.0.1:${portOf(daemon, 'management')}/api/users/ann`, {
      method: 'DELETE',
      headers: { authorization: `Basic ${Buffer.from('root:r').toString('base64')}` },
    });
    expect([answer.status, ((await answer.json()) as { reason: string }).reason]).toEqual([
      400,
      expect.stringContaining('comes from the configuration'),
    ]);
  });

  it('are kept in the folder where the API made them, through a kill', async () => {
    const data = join(temporaryFolder(), 'data');
    const args = ['--data', data, '--amqp-port', '0', '--management-port', '0'];
    const daemon = await DaemonProcess.listening(args);
    const put = async (path: string, body: object): Promise<number> => {
      const headers = { authorization: `Basic ${Buffer.from('guest:guest').toString('base64')}`, 'content-type': 'application/json' };
      return (
        await fetch(`http://127.0.0.1:${portOf(daemon, 'management')}/api/${path}`, { method: 'PUT', headers, body: JSON.stringify(body) })
      ).status;
    };
    expect(await put('vhosts/team', {})).toBe(201);
    expect(await put('users/bob', { password: 'b', tags: '' })).toBe(201);
    expect(await put('permissions/team/bob', { configure: '.*', write: '.*', read: '.*' })).toBe(201);
    await daemon.kill();
    const again = await DaemonProcess.listening(args);
    await (await connect(`amqp://bob:b@127.0.0.1:${again.port}/team`, {})).close();
    await (await connect(again.url, {})).close(); // and guest is still there
  });
});

describe('the management port', () => {
  it('that is taken stops the start where it was asked for, and only then', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const { port } = taken.address() as { port: number };
    const refused = new DaemonProcess(['--durability', 'memory', '--amqp-port', '0', '--management-port', `${port}`]);
    expect((await refused.exited).code).toBe(1);
    expect(refused.stderr).toContain(`127.0.0.1:${port} is taken`);
    taken.close();
  });
});

describe('TLS', () => {
  const [authority, clients] = [new TestAuthority('Servers'), new TestAuthority('Clients')];

  async function listening(more: readonly string[] = []): Promise<{ daemon: DaemonProcess; folder: string; url: string }> {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'data'));
    write(folder, authority.vouchFor('dove'));
    writeFileSync(join(folder, 'clients.pem'), clients.certificate);
    const tls = ['--tls-certificate', join(folder, 'certificate.pem'), '--tls-key', join(folder, 'key.pem')];
    const listeners = ['--amqp-listener', 'amqps://127.0.0.1:0', '--amqp-listener', 'amqp://127.0.0.1:0'];
    const believed = ['--tls-authorities', join(folder, 'clients.pem')];
    const daemon = await DaemonProcess.listening(['--durability', 'memory', ...listeners, ...tls, ...believed, ...more]);
    return { daemon, folder, url: `amqps://guest:guest@127.0.0.1:${portOf(daemon, 'AMQP over TLS')}` };
  }

  function write(folder: string, { certificate, key }: { certificate: string; key: string }): void {
    writeFileSync(join(folder, 'certificate.pem'), certificate);
    writeFileSync(join(folder, 'key.pem'), key);
  }

  it('is spoken beside the plain port, and believed by who knows the authority', async () => {
    const { daemon, url } = await listening();
    const connection = await connect(url, { ca: [authority.certificate] });
    const channel = await connection.createConfirmChannel();
    await channel.assertQueue('q', { durable: false });
    const body = Buffer.alloc(3_000_000, 7);
    channel.sendToQueue('q', body);
    await channel.waitForConfirms();
    const got = await channel.get('q', { noAck: true });
    expect(got !== false && got.content.equals(body)).toBe(true);
    await connection.close();
    await expect(connect(url, { ca: [clients.certificate] })).rejects.toThrow(/certificate|self.signed/i);
    await expect(connect(`amqps://127.0.0.1:${daemon.port}`, { ca: [authority.certificate] })).rejects.toThrow(/SSL|version|closed/i);
    await (await connect(daemon.url, {})).close();
  });

  it('lets clients in by their certificate (EXTERNAL), if they are users', async () => {
    const { url } = await listening(['--user', 'ada:unused', '--user', 'guest:guest']);
    const enter = (name: string, who: TestAuthority = clients) => {
      const { certificate: cert, key } = who.vouchFor(name);
      return connect(url, { ca: [authority.certificate], cert, key, credentials: credentials.external() });
    };
    const connection = await enter('ada');
    await queueOn(connection, 'q');
    await connection.close();
    await expect(enter('eve')).rejects.toThrow(/EXTERNAL is not provided by the server/); // so that who comes with a password does not take it
    await expect(enter('ada', authority)).rejects.toThrow(/closed|ECONNRESET|EPIPE|hang up/i); // an authority that is not believed
    await expect(connect(url, { ca: [authority.certificate], credentials: credentials.external() })).rejects.toThrow(/EXTERNAL/);
    await (await connect(url, { ca: [authority.certificate] })).close();
  });

  it('refuses clients without a certificate where one is required', async () => {
    const { url } = await listening(['--tls-requires-client', 'yes']);
    await expect(connect(url, { ca: [authority.certificate] })).rejects.toThrow(/certificate required|closed|ECONNRESET|EPIPE/i);
    const { certificate: cert, key } = clients.vouchFor('anybody');
    await (await connect(url, { ca: [authority.certificate], cert, key })).close();
  });

  it('takes a new certificate at SIGHUP, and keeps the old one where the new one is no good', async () => {
    const { daemon, folder, url } = await listening();
    const connection = await connect(url, { ca: [authority.certificate] });
    writeFileSync(join(folder, 'certificate.pem'), 'nonsense');
    process.kill(daemon.pid, 'SIGHUP');
    await daemon.said('stderr', /cannot be used: .*The old certificate stays\n/);
    await (await connect(url, { ca: [authority.certificate] })).close();
    const other = new TestAuthority('Others');
    write(folder, other.vouchFor('dove'));
    process.kill(daemon.pid, 'SIGHUP');
    await daemon.said('stderr', /the certificate was read again/);
    await (await connect(url, { ca: [other.certificate] })).close();
    await expect(connect(url, { ca: [authority.certificate] })).rejects.toThrow(/certificate|issuer/i);
    await queueOn(connection, 'still-here');
    await connection.close();
  });

  it('does not start with a certificate that is no good', async () => {
    const folder = temporaryFolder();
    write(folder, { ...authority.vouchFor('dove'), key: authority.vouchFor('other').key });
    const tls = ['--tls-certificate', join(folder, 'certificate.pem'), '--tls-key', join(folder, 'key.pem')];
    const mixed = new DaemonProcess(['--durability', 'memory', '--amqp-listener', 'amqps://127.0.0.1:0', ...tls]);
    expect((await mixed.exited).code).toBe(1);
    expect(mixed.stderr).toMatch(
      /^dovecote: the certificate for 127\.0\.0\.1:0, or its key, cannot be used: give PEM texts that belong together .*\n$/,
    );
    const absent = new DaemonProcess([
      '--durability',
      'memory',
      '--amqp-listener',
      'amqps://127.0.0.1:0',
      ...tls.slice(0, 3),
      '/nowhere.pem',
    ]);
    expect((await absent.exited).code).toBe(1);
    expect(absent.stderr).toMatch(/^dovecote: The PEM file \/nowhere\.pem cannot be read: .*\n$/);
  });
});

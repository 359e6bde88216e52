/**
 * Clients in Go against the daemon: what ../interop/go sees. It needs the program that DOVECOTE_GO_CLIENT names; `.ci/run` builds it where there is Go.
 * Without it the test is skipped, and the run says so.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from '@jest/globals';
import { cleanUp, DaemonProcess, temporaryFolder } from './daemon-process.js';

const client = process.env['DOVECOTE_GO_CLIENT'];
if (client === undefined) {
  process.stdout.write(
    'SKIPPED: the interop tests with amqp091-go and franz-go, because DOVECOTE_GO_CLIENT does not name the program of apps/broker/interop/go\n',
  );
}

(client === undefined ? describe.skip : describe)('a client in Go', () => {
  afterAll(cleanUp);

  it('amqp091-go does its work, and is told what it may not', async () => {
    const daemon = await DaemonProcess.listening(['--data', temporaryFolder(), '--amqp-port', '0', '--user', 'ann:secret']);
    const { stdout } = await promisify(execFile)(client!, [`amqp://ann:secret@127.0.0.1:${daemon.port}/`], { timeout: 25_000 });
    expect(stdout.trimEnd().split('\n')).toEqual([
      'confirmed',
      'consumed in order',
      'returned',
      'redelivered',
      'transaction',
      '404',
      'all of it',
    ]);
  });

  it('franz-go does its work, and is told what it may not', async () => {
    const kafka = ['--kafka-port', '0', '--kafka-login', 'yes'];
    const daemon = await DaemonProcess.listening(['--data', temporaryFolder(), '--amqp-port', '0', '--user', 'ann:secret', ...kafka]);
    const { stdout } = await promisify(execFile)(client!, [`kafka://ann:secret@127.0.0.1:${daemon.kafkaPort}`], { timeout: 25_000 });
    expect(stdout.trimEnd().split('\n')).toEqual(['produced in order', 'consumed in order', 'committed', 'refused', 'all of it']);
  });
});

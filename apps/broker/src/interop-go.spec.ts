/**
 * A client in Go against the daemon: what ../interop/go sees. It needs the program that DOVECOTE_GO_CLIENT names; `.ci/run` builds it where there is Go.
 * Without it the test is skipped, and the run says so.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from '@jest/globals';
import { cleanUp, DaemonProcess, temporaryFolder } from './daemon-process.js';

const client = process.env['DOVECOTE_GO_CLIENT'];
if (client === undefined) {
  process.stdout.write(
    'SKIPPED: the interop test with amqp091-go, because DOVECOTE_GO_CLIENT does not name the program of apps/broker/interop/go\n',
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
});

/**
 * Clients in another language against the daemon: what ../interop/*.py see. They need the python that DOVECOTE_PYTHON names, with pika, aiormq, kombu and kafka-python;
 * `.ci/run` installs them. Without it they are skipped, and the run says so.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { cleanUp, DaemonProcess, temporaryFolder } from './daemon-process.js';

const python = process.env['DOVECOTE_PYTHON'];
const patienceMs = 25_000;
if (python === undefined) {
  process.stdout.write(
    'SKIPPED: the interop tests with pika, aiormq, kombu and kafka-python, because DOVECOTE_PYTHON does not name a python that has them\n',
  );
}

(python === undefined ? describe.skip : describe)('a client in Python', () => {
  let daemon: DaemonProcess;

  beforeAll(async () => {
    const kafka = ['--kafka-port', '0', '--kafka-login', 'yes', '--kafka-config', 'group.initial.rebalance.delay.ms=0'];
    daemon = await DaemonProcess.listening(['--data', temporaryFolder(), '--amqp-port', '0', '--user', 'ann:secret', ...kafka]);
  });
  afterAll(cleanUp);

  it('pika does its work, and is told what it may not', async () => {
    expect(await run('pika_client.py')).toEqual([
      'consumed in order',
      'confirmed',
      'returned',
      'redelivered',
      'cancelled',
      'round trip',
      '403',
      '404',
      'all of it',
    ]);
  });

  it('aiormq does its work, and is told what it may not', async () => {
    expect(await run('aiormq_client.py')).toEqual([
      'confirmed',
      'consumed in order',
      'returned',
      'redelivered',
      'round trip',
      '403',
      '404',
      'all of it',
    ]);
  });

  it('kombu does its work, and raises the prefetch of a consumer that runs', async () => {
    expect(await run('kombu_client.py')).toEqual(['consumed in order', 'prefetch raised', '404', 'all of it']);
  });

  it('kafka-python does its work, and is told what it may not', async () => {
    const seen = await run('kafka_python_client.py', `127.0.0.1:${daemon.kafkaPort}`);
    expect(seen).toEqual(['produced in order', 'refused', 'consumed in order', 'committed', 'all of it']);
  });

  /** The lines of a client that ended well; rejects with what it said when it did not. */
  async function run(program: string, where = `amqp://ann:secret@127.0.0.1:${daemon.port}/%2F`): Promise<readonly string[]> {
    const file = join(import.meta.dirname, '..', 'interop', program);
    const { stdout } = await promisify(execFile)(python!, [file, where], {
      timeout: patienceMs,
    });
    return stdout.trimEnd().split('\n');
  }
});

/**
 * For tests only: the real broker on a disk that lies. Every write and every sync is reported done, and no byte ever leaves this process, so what the
 * broker confirms in good faith dies with it. The counters of the page, and the checker, must say so.
 *
 * Takes the arguments of the daemon, and listens like it.
 */
import { parseArgs } from 'node:util';
import { Broker } from '@dovecote/broker';
import { type DiskError, type DiskFile, RealDisk, realGround } from '@dovecote/ground';

class LyingFile implements DiskFile {
  private content = Buffer.alloc(0);

  constructor(private readonly file: DiskFile) {}

  async size(): Promise<number> {
    return this.content.length;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    return this.content.copy(into, 0, Math.min(position, this.content.length));
  }

  write(parts: readonly Uint8Array[], position: number, done: (error: DiskError | undefined) => void): void {
    const end = parts.reduce((sum, part) => sum + part.byteLength, position);
    if (end > this.content.length) this.content = Buffer.concat([this.content, Buffer.alloc(end - this.content.length)]);
    let at = position;
    for (const part of parts) {
      this.content.set(part, at);
      at += part.byteLength;
    }
    setImmediate(done, undefined);
  }

  sync(done: (error: DiskError | undefined) => void): void {
    setImmediate(done, undefined);
  }

  async truncate(size: number): Promise<void> {
    this.content = Buffer.concat([this.content.subarray(0, size), Buffer.alloc(Math.max(0, size - this.content.length))]);
  }

  close(): Promise<void> {
    return this.file.close();
  }
}

class LyingDisk extends RealDisk {
  override async open(path: string, mode: 'read' | 'edit' | 'create'): Promise<DiskFile> {
    return new LyingFile(await super.open(path, mode));
  }
}

const { values } = parseArgs({
  options: {
    data: { type: 'string' },
    'amqp-port': { type: 'string' },
    durability: { type: 'string' },
    user: { type: 'string' },
    'management-port': { type: 'string' },
    'kafka-port': { type: 'string' },
  },
});
const broker = await Broker.open({
  data: values.data ?? '',
  durability: 'fsync',
  amqp: { port: Number(values['amqp-port']) },
  ground: { ...realGround(), disk: new LyingDisk() },
});
console.log(`AMQP listening on 127.0.0.1:${broker.amqpPort}`);
process.once('SIGTERM', () => void broker.close());

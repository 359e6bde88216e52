/** An open file of a simulated disk: good until it is closed or the disk crashes. Made by `SimulatedDisk.open`. */
import { DiskError, type DiskFile } from './disk.js';
import { firstBytes } from './disk-faults.js';
import type { Outcome, Request, SimulatedDisk } from './simulated-disk.js';
import type { SimulatedFileNode } from './simulated-file-node.js';
import { fingerprint } from './trace.js';

export class SimulatedFile implements DiskFile {
  #isClosed = false;
  readonly #generation: number;

  constructor(
    private readonly disk: SimulatedDisk,
    private readonly node: SimulatedFileNode,
    private readonly path: string,
    private readonly isWritable: boolean,
  ) {
    this.#generation = disk.generation;
  }

  size(): Promise<number> {
    return this.#ask('size', () => this.node.size);
  }

  read(into: Uint8Array, position: number): Promise<number> {
    return this.#ask(`read at ${position}`, () => {
      const error = this.disk.faults.strike('read', this.path);
      if (error !== undefined) throw error;
      return this.node.read(into, position);
    });
  }

  write(parts: readonly Uint8Array[], position: number, done: (error: DiskError | undefined) => void): void {
    let length = 0;
    for (const part of parts) length += part.length;
    // The bytes are read when the write happens, not when it is asked for: whoever changes them before it called back finds out.
    const put = (count: number): void => this.node.write(position, firstBytes(parts, count));
    this.#submit<void>({
      label: `write ${length} at ${position}`,
      effect: () => {
        this.#needsWritable('write');
        const { kept, error } = this.disk.strikeWrite(this.node, this.path, position, length);
        put(kept);
        this.disk.note(`${this.path} takes ${kept} of ${fingerprint(firstBytes(parts, length))}`);
        if (error !== undefined) throw error;
      },
      tear: (random) => put(random.below(length + 1)),
      done: (outcome) => done(errorOf(outcome)),
    });
  }

  sync(done: (error: DiskError | undefined) => void): void {
    const count = this.node.changeCount;
    this.#submit<void>({
      label: 'sync',
      isSync: true,
      effect: () => this.disk.strikeSync(this.node, this.path, count),
      done: (outcome) => done(errorOf(outcome)),
    });
  }

  truncate(size: number): Promise<void> {
    return this.#ask(`truncate to ${size}`, () => {
      this.#needsWritable('truncate');
      const error = this.disk.faults.strike('truncate', this.path);
      if (error !== undefined) throw error;
      this.node.truncate(size);
    });
  }

  close(): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    const closed = this.#ask('close', () => undefined);
    this.#isClosed = true;
    return closed;
  }

  #ask<Answer>(label: string, effect: () => Answer): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#submit({ label, effect, done: (outcome) => ('error' in outcome ? reject(outcome.error) : resolve(outcome.answer)) });
    });
  }

  #submit<Answer>(request: Request<Answer>): void {
    const reason = this.#isClosed
      ? 'it was closed'
      : this.#generation === this.disk.generation
        ? undefined
        : 'the machine crashed since it was opened: open it again';
    if (reason === undefined) {
      this.disk.submit({ ...request, label: `${request.label} of ${this.path}`, node: this.node });
      return;
    }
    const refuse = (): never => {
      throw new DiskError('failed', `cannot ${request.label} of ${this.path}: ${reason}`);
    };
    this.disk.submit({ label: `refused ${request.label} of ${this.path}`, effect: refuse, done: request.done });
  }

  #needsWritable(action: string): void {
    if (!this.isWritable) throw new DiskError('failed', `cannot ${action} ${this.path}: it was opened for reading only`);
  }
}

function errorOf(outcome: Outcome<void>): DiskError | undefined {
  return 'error' in outcome ? outcome.error : undefined;
}

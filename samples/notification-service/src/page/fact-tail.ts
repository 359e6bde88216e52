/**
 * Reads what the processes append to their fact files, each line once, in the order in which it stands in its file. Between files there is no order: a
 * `handled` may be read before the `sent` of the same event.
 */
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';

const READ_BYTES = 256 * 1024;
const NEWLINE = 10;
const SPACE = 32;

/** `detail` is what stands behind the id, in the bytes of the file: valid only during the call. `source` is the name of the process. */
export type OnFact = (fact: string, id: string, source: string, detail: Buffer) => void;

interface Followed {
  readonly source: string;
  readonly handle: FileHandle;
  position: number;
}

export class FactTail {
  private readonly files = new Map<string, Followed>();
  private readonly chunk = Buffer.allocUnsafe(READ_BYTES);
  private advancing: Promise<void> = Promise.resolve();

  constructor(
    private readonly folder: string,
    private readonly onFact: OnFact,
  ) {}

  /** Resolves when every whole line that stood in the files at the time of the call was read. */
  advance(): Promise<void> {
    this.advancing = this.advancing.then(() => this.readAll());
    return this.advancing;
  }

  async close(): Promise<void> {
    await this.advancing;
    for (const file of this.files.values()) await file.handle.close();
    this.files.clear();
  }

  private async readAll(): Promise<void> {
    for (const name of await readdir(this.folder)) {
      if (!this.files.has(name)) this.files.set(name, await follow(join(this.folder, name)));
    }
    for (const file of this.files.values()) await this.readFile(file);
  }

  private async readFile(file: Followed): Promise<void> {
    for (;;) {
      const { bytesRead } = await file.handle.read(this.chunk, 0, READ_BYTES, file.position);
      const end = this.chunk.subarray(0, bytesRead).lastIndexOf(NEWLINE) + 1;
      for (let start = 0; start < end; ) {
        const next = this.chunk.indexOf(NEWLINE, start) + 1;
        this.readLine(file.source, this.chunk.subarray(start, next - 1));
        start = next;
      }
      // What is behind the last newline is still being written, or was torn by a kill.
      file.position += end;
      if (end === 0 || bytesRead < READ_BYTES) return;
    }
  }

  private readLine(source: string, line: Buffer): void {
    const idStart = line.indexOf(SPACE) + 1;
    const idEnd = line.indexOf(SPACE, idStart);
    // Strings made from bytes stand alone; slices of one long string would keep all of it in memory.
    const fact = line.toString('latin1', 0, idStart - 1);
    const id = line.toString('latin1', idStart, idEnd < 0 ? line.length : idEnd);
    this.onFact(fact, id, source, line.subarray(idEnd < 0 ? line.length : idEnd + 1));
  }
}

/** `notifications-1.3.log` is what the third start of notifications-1 said. */
async function follow(path: string): Promise<Followed> {
  return { source: basename(path).split('.')[0] ?? '', handle: await open(path, 'r'), position: 0 };
}

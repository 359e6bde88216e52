/**
 * Reads what the processes append to their fact files, each line once, in the order in which it stands in its file. Between files there is no order: a
 * `handled` may be read before the `sent` of the same event.
 *
 * Reads without waiting: the lines were written a moment ago and come from memory.
 */
import { closeSync, openSync, readSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';

const READ_BYTES = 256 * 1024;
const NEWLINE = 10;
const SPACE = 32;

/** `detail` is what stands behind the id, in the bytes of the file: valid only during the call. `source` is the name of the process. */
export type OnFact = (fact: string, id: string, source: string, detail: Buffer) => void;

interface Followed {
  readonly source: string;
  readonly file: number;
  position: number;
}

export class FactTail {
  private readonly files = new Map<string, Followed>();
  private readonly chunk = Buffer.allocUnsafe(READ_BYTES);

  constructor(
    private readonly folder: string,
    private readonly onFact: OnFact,
  ) {}

  /** Reads every whole line that stands in the files by now. */
  advance(): void {
    for (const name of readdirSync(this.folder)) {
      if (!this.files.has(name)) this.files.set(name, follow(join(this.folder, name)));
    }
    for (const followed of this.files.values()) this.readNew(followed);
  }

  close(): void {
    for (const { file } of this.files.values()) closeSync(file);
    this.files.clear();
  }

  private readNew(followed: Followed): void {
    for (;;) {
      const bytesRead = readSync(followed.file, this.chunk, 0, READ_BYTES, followed.position);
      const end = this.chunk.subarray(0, bytesRead).lastIndexOf(NEWLINE) + 1;
      for (let start = 0; start < end;) {
        const next = this.chunk.indexOf(NEWLINE, start) + 1;
        this.readLine(followed.source, this.chunk.subarray(start, next - 1));
        start = next;
      }
      // What is behind the last newline is still being written, or was torn by a kill.
      followed.position += end;
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
function follow(path: string): Followed {
  return { source: basename(path).split('.')[0] ?? '', file: openSync(path, 'r'), position: 0 };
}

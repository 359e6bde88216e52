import { type Disk, DiskError, type Random } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { Arena, Chunk } from './arena.js';
import { batchMagic, claimedLength, forEachRecord } from './batch.js';
import { decodeFileHead, fileHeadBytes, type JournalFile, journalFileNumber } from './journal-file.js';
import { folderError, Recovery } from './recovery.js';

/**
 * A journal as the next recovery would find it, read by the same code, without changing a byte.
 *
 * What is believed, what is void and what is damage is decided by `Recovery` alone; here it is only told file by file. Memory holds
 * one piece of a file at a time. The caller owns the folder meanwhile.
 */
export interface InspectionOptions {
  readonly disk: Disk;
  readonly random: Random;
  readonly arena: Arena;
  readonly directory: string;
  /** Takes every believed record, in the order in which it was decided. What it throws is a reason not to open. */
  readonly replay: (chunk: Chunk, offset: number, length: number) => void;
  /** The records that follow stand in this file, in a chunk whose first byte stands at `position`. */
  readonly piece: (path: string, position: number) => void;
  readonly progress: (bytesRead: number) => void;
}

export interface InspectedFile {
  readonly path: string;
  readonly bytes: number;
  /** `unneeded`: left over from a trimming. `void`: all of it was written again in a younger file. `empty`: no batch in it. */
  readonly state: 'needed' | 'unneeded' | 'void' | 'empty';
  /** Its head and its batches up to here are believed. */
  readonly believedBytes: number;
  /** Why it ends there, where more stands behind. */
  readonly rest: string | undefined;
}

/** What cannot be read any more, from the first bad byte to the next batch that is whole, or to the end of the file. */
export interface BadRange {
  readonly path: string;
  readonly from: number;
  readonly to: number;
  readonly reads: string;
}

export class JournalInspection {
  /** Why a broker would not open, undefined where it would. */
  refusal: CodedError | undefined;
  files: readonly InspectedFile[] = [];
  /** Names in the folder that are no files of a journal. */
  strangers: readonly string[] = [];
  /** Copies of a tail that a recovery did not finish. */
  unfinished: readonly string[] = [];
  badRanges: readonly BadRange[] = [];
  private readonly recovery: Recovery;

  constructor(private readonly options: InspectionOptions) {
    const { disk, random, arena, directory, replay, piece, progress } = options;
    const told = { replay, piece: (file: JournalFile, position: number) => piece(file.path, position), progress };
    this.recovery = new Recovery({ disk, random, arena, directory, durability: 'os', ...told }, true);
  }

  /** The last sequence that is believed to be on the disk whatever happens. */
  get durableSequence(): number {
    return this.recovery.durable;
  }

  async run(): Promise<void> {
    const { disk, directory } = this.options;
    const names = (await disk.exists(directory)) ? await disk.list(directory) : [];
    this.unfinished = names.filter((name) => name.endsWith('.log.new'));
    this.strangers = names.filter((name) => journalFileNumber(name) === undefined && !name.endsWith('.log.new'));
    try {
      if (names.length > 0) await this.recovery.readAll();
    } catch (error) {
      this.refusal = folderError(directory, error);
    }
    const paths = names.filter((name) => journalFileNumber(name) !== undefined).map((name) => `${directory}/${name}`);
    this.files = await Promise.all(paths.map((path) => this.describeFile(path)));
    if (this.refusal?.code === 'data-damaged') for (const path of paths) await this.findBadRanges(path);
  }

  /** The believed batches of one file once more. */
  async readAgain(path: string, visit: (bytes: Buffer, offset: number, length: number) => void): Promise<void> {
    const found = this.recovery.found.find(({ file }) => file.path === path);
    const end = found === undefined ? undefined : this.recovery.believedEnds.get(found.file);
    if (found?.firstSequence === undefined || end === undefined) return;
    await this.recovery.scan({ ...found, size: end }, found.firstSequence, Infinity, (bytes) => ({
      take: (at, head) => forEachRecord(bytes, at, head.length, (offset, length) => visit(bytes, offset, length)),
      end: (used) => this.options.progress(used),
    }));
  }

  async close(): Promise<void> {
    for (const file of this.recovery.opened) await file.close();
  }

  private async describeFile(path: string): Promise<InspectedFile> {
    const { found, oldest, believedEnds, torn } = this.recovery;
    const entry = found.find(({ file }) => file.path === path);
    const bytes = entry?.size ?? (await this.sizeOf(path));
    if (entry === undefined) return { path, bytes, state: 'empty', believedBytes: Math.min(bytes, fileHeadBytes), rest: undefined };
    const { file } = entry;
    if (file.number < oldest) return { path, bytes, state: 'unneeded', believedBytes: 0, rest: undefined };
    const end = believedEnds.get(file);
    const isTorn = torn?.file === file;
    const rest = isTorn ? await this.describeRest(file, torn.position, bytes) : undefined;
    if (end !== undefined) return { path, bytes, state: 'needed', believedBytes: end, rest };
    return { path, bytes, state: file.isVoid && !isTorn ? 'void' : 'empty', believedBytes: fileHeadBytes, rest };
  }

  private async sizeOf(path: string): Promise<number> {
    const handle = await this.options.disk.open(path, 'read');
    try {
      return await handle.size();
    } finally {
      await handle.close();
    }
  }

  /** What stands where a batch should begin. */
  private async describeRest(file: JournalFile, position: number, size: number): Promise<string> {
    const left = size - position;
    const bytes = await this.recovery.readBytes(file, position, Math.min(left, 4096));
    if (bytes.every((byte) => byte === 0)) return `zeros follow (${left} bytes to the end of the file)`;
    if (bytes.length < 8) return `${left} bytes of a batch follow, and the file ends`;
    if (bytes.readUInt32BE(0) !== batchMagic) return 'no batch begins there';
    const length = claimedLength(bytes, 0);
    if (length === 0) return 'the head of the batch there is not whole';
    if (length > left) return `the batch there claims ${length} bytes, of which ${left} are there`;
    let isWhole = false;
    await this.recovery.forEachWholeBatch(file, position, (_head, at) => (isWhole ||= at === position));
    return isWhole ? 'a batch of another sequence stands there' : 'the sum of the batch there does not match its bytes';
  }

  /** Goes through all of a needed file, over what is bad in it. */
  private async findBadRanges(path: string): Promise<void> {
    const number = journalFileNumber(path.slice(path.lastIndexOf('/') + 1))!;
    const file = this.recovery.opened.find((opened) => opened.path === path);
    if (file === undefined || number < this.recovery.oldest) return;
    const ranges: BadRange[] = [];
    const size = await file.handle.size();
    const head = Buffer.alloc(fileHeadBytes);
    if (decodeFileHead(head.subarray(0, await file.handle.read(head, 0)), number) === undefined) {
      // Without its salt no batch can be told from what a publisher wrote.
      ranges.push({ path, from: 0, to: size, reads: 'the head of the file is not whole, so nothing in it can be verified' });
    } else {
      let at = fileHeadBytes;
      const note = async (to: number): Promise<void> => {
        if (to > at) ranges.push({ path, from: at, to, reads: await this.describeRest(file, at, size) });
      };
      const whole: { readonly from: number; readonly to: number }[] = [];
      await this.recovery.forEachWholeBatch(file, at, ({ length }, from) => whole.push({ from, to: from + length }));
      for (const { from, to } of whole) {
        await note(from);
        at = to;
      }
      await note(size);
    }
    this.badRanges = [...this.badRanges, ...ranges];
  }
}

/** Whether a disk refused because the account may not write there. */
export function isDenied(error: unknown): boolean {
  return error instanceof DiskError && error.code === 'denied';
}

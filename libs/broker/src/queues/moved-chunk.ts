import type { Chunk, ChunkHome } from '../storage/arena.js';
import { areBatchesWhole, forEachBatch, forEachRecord } from '../storage/batch.js';
import type { JournalFile } from '../storage/journal-file.js';
import { movedImage, recordKind } from './message-log.js';

/**
 * The home of a chunk whose living messages were written again, so that the file where they stood before can go.
 *
 *   chunk   |      | message 1 |         | message 2 |         |
 *   file    … | batch | moved, message 1 | moved, message 2 | …        batches of their own, one behind the other
 *
 * Each record says where its message stood in the chunk, so nothing needs to be kept in memory about that, and whoever holds a message
 * need not know that it moved. What is dead is not there any more, and nobody looks.
 */
export class MovedChunk implements ChunkHome {
  constructor(readonly file: JournalFile) {}

  get path(): string {
    return this.file.path;
  }

  isIntact({ length }: Chunk, bytes: Buffer): boolean {
    return areBatchesWhole(bytes, length, this.file.head.salt);
  }

  place(bytes: Buffer, into: Buffer): void {
    forEachBatch(bytes, (start, batchLength) => {
      forEachRecord(bytes, start, batchLength, (offset, length) => {
        if (bytes[offset] !== recordKind.moved) return;
        const image = movedImage(bytes, offset);
        bytes.copy(into, bytes.readUInt32BE(offset + 1), image, offset + length);
      });
    });
  }

  dropChunk(): void {
    this.file.dropChunk();
  }
}

import { gunzipSync, gzipSync } from 'node:zlib';
import { packLz4, unpackLz4 } from './lz4.js';
import { packSnappy, unpackSnappy } from './snappy.js';
import { packZstd, unpackZstd } from './zstd.js';

/**
 * How the records of a batch are compressed: Kafka's numbers and formats. Needed only where a topic demands to look into batches: compaction, another
 * compression, limits on old timestamps, a search by time. Bytes to bytes.
 */
export const codecNames = ['uncompressed', 'gzip', 'snappy', 'lz4', 'zstd'] as const;
export const codecOf = { uncompressed: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const;

/** The largest that a batch may become when it is unpacked: a small one must not fill the memory. */
export const unpackedBytesMax = 256 * 1024 * 1024;

export class UnreadablePayload extends Error {
  override readonly name = 'UnreadablePayload';
  constructor(
    message: string,
    readonly isUnsupported = false,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Throws an `UnreadablePayload`. */
export function decompress(codec: number, payload: Buffer): Buffer {
  const unpack = unpackers[codec];
  if (unpack === undefined) throw new UnreadablePayload(`Compression ${codec} is not known`, true);
  try {
    return unpack(payload, unpackedBytesMax);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UnreadablePayload(`The records are said to be ${codecNames[codec]} and cannot be unpacked: ${reason}`, false, {
      cause: error,
    });
  }
}

/** `level` counts for gzip and zstd. */
export function compress(codec: number, payload: Buffer, level: number): Buffer {
  switch (codec) {
    case codecOf.gzip:
      return gzipSync(payload, { level });
    case codecOf.snappy:
      return packSnappy(payload);
    case codecOf.lz4:
      return packLz4(payload);
    case codecOf.zstd:
      return packZstd(payload, level);
    default:
      return payload;
  }
}

const unpackers: readonly ((payload: Buffer, bytesMax: number) => Buffer)[] = [
  (payload) => payload,
  (payload, maxOutputLength) => gunzipSync(payload, { maxOutputLength }),
  unpackSnappy,
  unpackLz4,
  unpackZstd,
];

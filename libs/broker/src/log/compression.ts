import { gunzipSync, gzipSync } from 'node:zlib';

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
  switch (codec) {
    case codecOf.uncompressed:
      return payload;
    case codecOf.gzip:
      return attempt('gzip', () => gunzipSync(payload, { maxOutputLength: unpackedBytesMax }));
    default:
      throw new UnreadablePayload(`Compression ${codecNames[codec] ?? codec} is not built yet`, true);
  }
}

export function compress(codec: number, payload: Buffer, level: number): Buffer {
  switch (codec) {
    case codecOf.uncompressed:
      return payload;
    case codecOf.gzip:
      return gzipSync(payload, { level });
    default:
      throw new UnreadablePayload(`Compression ${codecNames[codec] ?? codec} is not built yet`, true);
  }
}

function attempt(name: string, unpack: () => Buffer): Buffer {
  try {
    return unpack();
  } catch (error) {
    throw new UnreadablePayload(
      `The records are said to be ${name} and cannot be unpacked: ${error instanceof Error ? error.message : String(error)}`,
      false,
      {
        cause: error,
      },
    );
  }
}

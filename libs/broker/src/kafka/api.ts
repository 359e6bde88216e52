import { compileReader, compileWriter, type Reader, type StructWriter } from './codec.js';
import type { Cursor } from './cursor.js';
import type { Exchange } from './exchange.js';
import type { Read, Struct, Write } from './schema.js';

/**
 * One kind of request: its table, and who answers it. Each file of `apis/` makes one.
 *
 * Nothing is kept here but the readers and writers, which are made when a version is first seen.
 */
export interface ApiTable<Q extends Struct, A extends Struct> {
  readonly key: number;
  readonly name: string;
  /** The first and the last version that are answered. */
  readonly versions: readonly [number, number];
  /** The first version with compact types and tagged fields; Infinity where there is none. */
  readonly flexibleFrom: number;
  readonly request: Q;
  readonly response: A;
}

/** Answers a request: at once, later, or (undefined) not at all. Throws what `refuse` understands. */
export type Answer<Q extends Struct, A extends Struct> = (
  request: Read<Q>,
  exchange: Exchange,
) => Write<A> | undefined | Promise<Write<A> | undefined>;

export interface Api {
  readonly key: number;
  readonly name: string;
  readonly minVersion: number;
  readonly maxVersion: number;
  /** Below `minVersion` but listed all the same, because old clients look for it; it is refused. */
  readonly listedMinVersion: number;
  readonly flexibleFrom: number;
  /** Reads the request and sees to it that the exchange is answered. Throws MalformedError. */
  begin(exchange: Exchange, cursor: Cursor): void;
}

/** The readers and writers of a table, by version. */
export class ApiCodec<Q extends Struct, A extends Struct> {
  private readonly requestReaders: Reader<Read<Q>>[] = [];
  private readonly responseWriters: StructWriter<Write<A>>[] = [];

  constructor(readonly table: ApiTable<Q, A>) {}

  isFlexible(version: number): boolean {
    return version >= this.table.flexibleFrom;
  }

  readRequest(version: number): Reader<Read<Q>> {
    return (this.requestReaders[version] ??= compileReader(this.table.request, version, this.isFlexible(version)));
  }

  writeResponse(version: number): StructWriter<Write<A>> {
    return (this.responseWriters[version] ??= compileWriter(this.table.response, version, this.isFlexible(version)));
  }

  /** For clients, which tests are. */
  writeRequest(version: number): StructWriter<Write<Q>> {
    return compileWriter(this.table.request, version, this.isFlexible(version));
  }

  readResponse(version: number): Reader<Read<A>> {
    return compileReader(this.table.response, version, this.isFlexible(version));
  }
}

/** An API that `answer` answers; `codec` is there for who speaks to it. */
export function api<Q extends Struct, A extends Struct>(
  table: ApiTable<Q, A>,
  answer: Answer<Q, A>,
  { listedMinVersion = table.versions[0] }: { readonly listedMinVersion?: number } = {},
): Api & { readonly codec: ApiCodec<Q, A> } {
  const codec = new ApiCodec(table);
  const { key, name, versions, flexibleFrom } = table;
  return {
    key,
    name,
    minVersion: versions[0],
    maxVersion: versions[1],
    listedMinVersion,
    flexibleFrom,
    codec,
    begin(exchange, cursor) {
      const request = codec.readRequest(exchange.version)(cursor);
      const write = codec.writeResponse(exchange.version);
      const answered = answer(request, exchange);
      if (!(answered instanceof Promise)) respond(exchange, write, answered);
      else
        answered.then(
          (response) => respond(exchange, write, response),
          (error: unknown) => exchange.fail(error),
        );
    },
  };
}

function respond<T>(exchange: Exchange, write: StructWriter<T>, response: T | undefined): void {
  if (response === undefined) return;
  exchange.respond((writer) => write(writer, response));
}

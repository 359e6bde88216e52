/**
 * The language in which Kafka's messages are written down: a struct is its fields in order, each with its type and the versions
 * that carry it. Readers, writers and TypeScript types come from the same lines.
 *
 *   const request = { groupId: string(), memberId: string(), groupInstanceId: string().since(3).nullable(3) };
 *   Read<typeof request>      what `compileReader` makes of bytes: every field is there, absent ones with their default
 *   Write<typeof request>     what `compileWriter` takes: fields with a default of their own may be left out
 *
 * Wire code: no I/O, keeps nothing. Flexible versions (KIP-482) write lengths as variable-length numbers and end every struct
 * with tagged fields.
 */
export type Kind =
  'bool' | 'int8' | 'int16' | 'uint16' | 'int32' | 'int64' | 'float64' | 'uuid' | 'string' | 'bytes' | 'records' | 'array' | 'struct';

/** Record batches on their way out: one run of bytes, or several that follow each other. */
export type Records = Uint8Array | readonly Uint8Array[];

interface Shape {
  readonly kind: Kind;
  readonly element?: AnyField;
  readonly struct?: Struct;
}

interface Versions {
  readonly from: number;
  readonly to: number;
  /** The first version in which it may be null. */
  readonly nullableFrom: number;
  /** Its number among the tagged fields; undefined where it has a place of its own. */
  readonly tag: number | undefined;
}

/** One field: R is what is read, W what is written, O whether it may be left out. The methods narrow where it occurs. */
export class Field<R, W, O extends boolean> {
  declare readonly types: { readonly read: R; readonly write: W; readonly isOptional: O };

  constructor(
    readonly shape: Shape,
    readonly versions: Versions,
    readonly fallback: unknown,
  ) {}

  since(from: number): Field<R, W, O> {
    return new Field(this.shape, { ...this.versions, from }, this.fallback);
  }

  until(to: number): Field<R, W, O> {
    return new Field(this.shape, { ...this.versions, to }, this.fallback);
  }

  nullable(nullableFrom = 0): Field<R | null, W | null, O> {
    return new Field(this.shape, { ...this.versions, nullableFrom }, this.fallback);
  }

  /** What a reader finds where the field is absent, and a writer writes where it was left out. */
  or(fallback: R | null): Field<R, W, true> {
    return new Field(this.shape, this.versions, fallback);
  }

  /** Written among the tagged fields, and only where it is not the fallback. */
  tag(tag: number): Field<R, W, true> {
    return new Field(this.shape, { ...this.versions, tag }, this.fallback);
  }
}

export type AnyField = Field<unknown, unknown, boolean>;

export interface Struct {
  readonly [name: string]: AnyField;
}

export type Read<S extends Struct> = { readonly [K in keyof S]: S[K]['types']['read'] };

type OptionalKeys<S extends Struct> = { [K in keyof S]: S[K]['types']['isOptional'] extends true ? K : never }[keyof S];

export type Write<S extends Struct> = { readonly [K in Exclude<keyof S, OptionalKeys<S>>]: S[K]['types']['write'] } & {
  readonly [K in OptionalKeys<S>]?: S[K]['types']['write'];
};

const always: Versions = { from: 0, to: Infinity, nullableFrom: Infinity, tag: undefined };
export const zeroId = 'AAAAAAAAAAAAAAAAAAAAAA';

function field<T>(kind: Kind, fallback: T): Field<T, T, false> {
  return new Field({ kind }, always, fallback);
}

export const bool = (): Field<boolean, boolean, false> => field('bool', false);
export const int8 = (): Field<number, number, false> => field('int8', 0);
export const int16 = (): Field<number, number, false> => field('int16', 0);
export const uint16 = (): Field<number, number, false> => field('uint16', 0);
export const int32 = (): Field<number, number, false> => field('int32', 0);
export const int64 = (): Field<number, number, false> => field('int64', 0);
export const float64 = (): Field<number, number, false> => field('float64', 0);
export const uuid = (): Field<string, string, false> => field('uuid', zeroId);
export const string = (): Field<string, string, false> => field('string', '');
export const bytes = (): Field<Buffer, Uint8Array, false> => new Field({ kind: 'bytes' }, always, Buffer.alloc(0));
export const records = (): Field<Buffer, Records, false> => new Field({ kind: 'records' }, always, Buffer.alloc(0));

/** Several of one primitive type. */
export function array<R, W>(element: Field<R, W, boolean>): Field<readonly R[], readonly W[], false> {
  return new Field({ kind: 'array', element }, always, []);
}

/** Several structs. */
export function list<S extends Struct>(struct: S): Field<readonly Read<S>[], readonly Write<S>[], false> {
  return new Field({ kind: 'array', element: one(struct) }, always, []);
}

/** One struct inside another. */
export function one<S extends Struct>(struct: S): Field<Read<S>, Write<S>, false> {
  return new Field({ kind: 'struct', struct }, always, null);
}

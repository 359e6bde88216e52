/**
 * Field tables: the typed maps that AMQP 0-9-1 carries in headers and arguments.
 *
 * Whole numbers become JavaScript numbers while they are exact (`bigint` beyond 2^53), decimals and timestamps keep their type.
 */
export type FieldValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | Buffer
  | { readonly timestamp: number }
  | { readonly decimal: { readonly scale: number; readonly value: number } }
  | { readonly float: number }
  | readonly FieldValue[]
  | FieldTable;

export interface FieldTable {
  readonly [name: string]: FieldValue;
}

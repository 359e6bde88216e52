import { CodedError } from '../../errors.js';
import type { ExchangeBinding, ExchangeType } from '../exchange-type.js';
import { type FieldTable, type FieldValue, fieldTypeName } from '../field-table.js';

/**
 * A message follows the bindings whose arguments its headers have: all of them, or any.
 *
 * The argument `x-match` says which; the others that begin with `x-` count only for `all-with-x` and `any-with-x`. An argument
 * without a value (void) asks that the header is there. Values are compared as values: 1 is 1 whatever its width, and not 1.0.
 */
export const headers: ExchangeType = {
  name: 'headers',
  checkBinding: ({ arguments: given }) => {
    if (!Object.hasOwn(given, 'x-match')) return;
    const match = given['x-match']!;
    if (typeof match !== 'string') {
      const shown = typeof match === 'object' ? JSON.stringify(match) : String(match);
      throw new CodedError('invalid-argument', `Invalid x-match field type ${fieldTypeName(match)} (value ${shown}); expected longstr`);
    }
    if (!matches.has(match)) {
      throw new CodedError(
        'invalid-argument',
        `Invalid x-match field value <<${JSON.stringify(match)}>>; expected all, any, all-with-x, or any-with-x`,
      );
    }
  },
  create: () => {
    const wishes = new Map<ExchangeBinding, Wish>();
    return {
      readsMessage: true,
      add: (binding) => void wishes.set(binding, wishOf(binding.arguments)),
      remove: (binding) => void wishes.delete(binding),
      route: (message, follow) => {
        if (wishes.size === 0) return;
        const found = new Map<string, string | undefined>();
        const valueOf = (name: string): string | undefined => {
          if (!found.has(name)) found.set(name, Object.hasOwn(message.headers, name) ? comparable(message.headers[name]!) : undefined);
          return found.get(name);
        };
        for (const [binding, wish] of wishes) if (isFulfilled(wish, valueOf)) follow(binding);
      },
    };
  },
};

const matches: ReadonlySet<string> = new Set(['all', 'any', 'all-with-x', 'any-with-x']);

/** What one binding asks for, ready to be compared. */
interface Wish {
  readonly isForAll: boolean;
  /** `value` is undefined where the header only has to be there. */
  readonly fields: readonly { readonly name: string; readonly value: string | undefined }[];
}

function wishOf(given: FieldTable): Wish {
  const match = given['x-match'];
  const isWithX = match === 'all-with-x' || match === 'any-with-x';
  const fields = Object.entries(given)
    .filter(([name]) => (isWithX ? name !== 'x-match' : !name.startsWith('x-')))
    .map(([name, value]) => ({ name, value: value === null ? undefined : comparable(value) }));
  return { isForAll: match !== 'any' && match !== 'any-with-x', fields };
}

/** Without fields, all of them are there and none of them is. */
function isFulfilled({ isForAll, fields }: Wish, valueOf: (name: string) => string | undefined): boolean {
  for (const { name, value } of fields) {
    const actual = valueOf(name);
    const isThere = actual !== undefined && (value === undefined || actual === value);
    if (isThere !== isForAll) return isThere;
  }
  return isForAll;
}

/** The same text for values that RabbitMQ takes for the same, and for no others. */
function comparable(value: FieldValue): string {
  if (typeof value === 'string') return `s${value}`;
  if (Buffer.isBuffer(value)) return `s${value.toString('utf8')}`;
  if (typeof value === 'bigint' || typeof value === 'number') return `n${value}`;
  if (typeof value === 'boolean') return `b${value}`;
  if (value === null) return 'v';
  if (Object.keys(value).length === 0) return 'o[]'; // an empty table is an empty array there
  return `o${JSON.stringify(value, (_name, inner: unknown) => (typeof inner === 'bigint' ? `n${inner}` : inner))}`;
}

import { CodedError } from '../../errors.js';
import type { ExchangeBinding, ExchangeType } from '../exchange-type.js';
import { type FieldTable, type FieldValue, fieldTypeName } from '../field-table.js';

/**
 * A message follows the bindings whose arguments its headers have: all of them, or any.
 *
 * The argument `x-match` says which; the others that begin with `x-` count only for `all-with-x` and `any-with-x`. An argument
 * without a value (void) asks that the header is there. Values are compared as values: 1 is 1 whatever its width, and not 1.0.
 *
 * A binding is found by one of the fields that it asks for (one for all, any for any), so that a message costs what its own headers
 * and the bindings close to it are, and not what all bindings are.
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
        `Invalid x-match field value <<${match === '' ? '' : JSON.stringify(match)}>>; expected all, any, all-with-x, or any-with-x`,
      );
    }
  },
  create: () => {
    const wishes = new Wishes();
    return {
      readsMessage: true,
      add: (binding) => wishes.add(binding),
      remove: (binding) => wishes.remove(binding),
      route: (message, follow) => wishes.match(message.headers, follow),
    };
  },
};

/** The bindings of one exchange. */
class Wishes {
  private readonly all = new Map<ExchangeBinding, Wish>();
  /** What asks for nothing and gets everything. */
  private readonly modest = new Set<ExchangeBinding>();
  /** By a field that must be there: its name, and its value where that matters. */
  private readonly byField = new Map<string, Set<ExchangeBinding>>();

  add(binding: ExchangeBinding): void {
    const wish = wishOf(binding.arguments);
    this.all.set(binding, wish);
    if (wish.fields.length === 0 && wish.isForAll) this.modest.add(binding);
    for (const place of this.placesOf(wish)) {
      const there = this.byField.get(place);
      if (there === undefined) this.byField.set(place, new Set([binding]));
      else there.add(binding);
    }
  }

  remove(binding: ExchangeBinding): void {
    const wish = this.all.get(binding);
    if (wish === undefined) return;
    this.all.delete(binding);
    this.modest.delete(binding);
    // Which field a wish for all was put under depended on the others then, so it is looked for under each.
    for (const field of wish.fields) {
      const place = placeOf(field.name, field.value);
      const there = this.byField.get(place);
      if (there?.delete(binding) === true && there.size === 0) this.byField.delete(place);
    }
  }

  /** Calls `follow` once for each binding that the headers fulfil. */
  match(headers: FieldTable, follow: (binding: ExchangeBinding) => void): void {
    this.modest.forEach((binding) => follow(binding));
    if (this.byField.size === 0) return;
    const values = new Map<string, string>();
    for (const name of Object.keys(headers)) values.set(name, comparable(headers[name]!));
    const met = new Set<ExchangeBinding>();
    for (const [name, value] of values) {
      for (const place of [placeOf(name, value), placeOf(name, undefined)]) {
        const candidates = this.byField.get(place);
        if (candidates === undefined) continue;
        for (const binding of candidates) {
          const wish = this.all.get(binding)!;
          if (wish.isForAll) {
            if (isFulfilled(wish, values)) follow(binding); // it stands in one place only
          } else if (!met.has(binding)) {
            met.add(binding);
            follow(binding);
          }
        }
      }
    }
  }

  /** Any field may bring a message to a wish for any; of a wish for all one is enough, the one that fewest others ask for. */
  private placesOf({ isForAll, fields }: Wish): readonly string[] {
    const places = fields.map(({ name, value }) => placeOf(name, value));
    if (!isForAll || places.length <= 1) return places;
    const crowd = (place: string): number => this.byField.get(place)?.size ?? 0;
    return [places.reduce((best, place) => (crowd(place) < crowd(best) ? place : best))];
  }
}

function placeOf(name: string, value: string | undefined): string {
  return value === undefined ? `?${name}` : `=${name.length}:${name}${value}`;
}

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

function isFulfilled({ fields }: Wish, values: ReadonlyMap<string, string>): boolean {
  for (const { name, value } of fields) {
    const actual = values.get(name);
    if (actual === undefined || (value !== undefined && actual !== value)) return false;
  }
  return true;
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

import { Pattern } from '../engine/pattern.js';
import { type Outcome, Refusal, refuse } from './route.js';

type Item = Readonly<Record<string, unknown>>;

const pageSizeMax = 500;

/**
 * What a query asks to see of an answer: `columns=a,b.c`, of a list also `sort=a.b` with `sort_reverse=true`, and `page=1` with `page_size`, `name` and
 * `use_regex=true`, which puts the items into a frame that counts them.
 */
export function viewOf(outcome: Outcome, query: URLSearchParams): Outcome {
  if (outcome.status !== 200) return outcome;
  const { body } = outcome;
  const columns = query.get('columns')?.split(',');
  const pick = (item: unknown): unknown => (columns === undefined ? item : picked(item, columns));
  if (!Array.isArray(body)) return { ...outcome, body: pick(body) };
  const items = sorted(body as readonly Item[], query);
  if (query.get('page') === null) return { ...outcome, body: items.map(pick) };
  const { items: shown, ...counts } = pageOf(items, query);
  return { ...outcome, body: { ...counts, items: shown.map(pick) } };
}

function picked(item: unknown, columns: readonly string[], path = ''): unknown {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) return item;
  return Object.fromEntries(
    Object.entries(item).flatMap(([name, value]) => {
      const whole = `${path}${name}`;
      if (columns.includes(whole)) return [[name, value]];
      return columns.some((wanted) => wanted.startsWith(`${whole}.`)) ? [[name, picked(value, columns, `${whole}.`)]] : [];
    }),
  );
}

/** Numbers by their size, all else as text; what has no such field comes first. */
function sorted(items: readonly Item[], query: URLSearchParams): readonly Item[] {
  const path = query.get('sort')?.split('.');
  if (path === undefined || path[0] === '') return byName(items);
  const valueOf = (item: Item): unknown => path.reduce<unknown>((value, name) => (value as Item | undefined | null)?.[name], item) ?? '';
  const compare = (one: unknown, other: unknown): number => {
    if (typeof one === 'number' && typeof other === 'number') return one - other;
    const [a, b] = [textOf(one), textOf(other)];
    return a < b ? -1 : a > b ? 1 : 0;
  };
  const inOrder = [...items].sort((one, other) => compare(valueOf(one), valueOf(other)));
  return query.get('sort_reverse') === 'true' ? inOrder.reverse() : inOrder;
}

/** As it is where nobody asks for another order, so that people find things. What has no name stays in its order. */
function byName(items: readonly Item[]): readonly Item[] {
  const keyed = items.map((item) => ({ item, key: `${textOf(item['vhost'] ?? '')}\0${textOf(item['name'] ?? '')}` }));
  return keyed.sort((one, other) => (one.key < other.key ? -1 : one.key > other.key ? 1 : 0)).map(({ item }) => item);
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function pageOf(items: readonly Item[], query: URLSearchParams) {
  const [page, size] = [wholeNumber(query.get('page') ?? '1'), wholeNumber(query.get('page_size') ?? '100')];
  const name = query.get('name') ?? '';
  const matches = query.get('use_regex') === 'true' ? patternOf(name) : (text: string) => text.includes(name);
  const chosen = name === '' ? items : items.filter((item) => matches(textOf(item['name'] ?? '')));
  const pages = Math.max(Math.ceil(chosen.length / size), 1);
  if (size > pageSizeMax || page > pages) {
    const reason = `Invalid pagination parameters: page number ${page}, page size ${size}`;
    throw new Refusal({ status: 400, body: { error: 'invalid_pagination_parameters', reason } });
  }
  const shown = chosen.slice((page - 1) * size, page * size);
  return {
    ...{ page, page_count: pages, page_size: size },
    ...{ item_count: shown.length, filtered_count: chosen.length, total_count: items.length },
    items: shown,
  };
}

function patternOf(text: string): (name: string) => boolean {
  try {
    const pattern = new Pattern(text);
    return (name) => pattern.matches(name);
  } catch {
    throw refuse('Pagination parameters are invalid');
  }
}

function wholeNumber(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw refuse('Pagination parameters are invalid');
}

import type { FieldTable, FieldValue } from './field-table.js';

/**
 * For tests: exchanges and bindings as a person would write them down, without one thought for speed. What this says is what the
 * rules say; the real ones must agree, whatever is bound and taken away.
 */
export interface PlainExchange {
  readonly name: string;
  readonly type: 'direct' | 'fanout' | 'topic' | 'headers';
  readonly durable: boolean;
  readonly autoDelete: boolean;
  readonly alternate: string | undefined;
  hadBinding: boolean;
}

export interface PlainBinding {
  readonly from: string;
  readonly to: { readonly kind: 'queue' | 'exchange'; readonly name: string };
  readonly key: string;
  readonly arguments: FieldTable;
}

export class PlainRouting {
  exchanges: PlainExchange[] = [];
  bindings: PlainBinding[] = [];

  declare(exchange: Omit<PlainExchange, 'hadBinding'>): void {
    if (!this.exchanges.some(({ name }) => name === exchange.name)) this.exchanges.push({ ...exchange, hadBinding: false });
  }

  bind(binding: PlainBinding): void {
    if (!this.bindings.some((other) => isSame(other, binding))) this.bindings.push(binding);
    for (const exchange of this.exchanges) if (exchange.name === binding.from) exchange.hadBinding = true;
  }

  unbind(binding: PlainBinding): void {
    this.removeBindings((other) => isSame(other, binding));
  }

  deleteExchange(name: string): void {
    this.exchanges = this.exchanges.filter((exchange) => exchange.name !== name);
    this.removeBindings(({ from, to }) => from === name || (to.kind === 'exchange' && to.name === name));
  }

  deleteQueue(name: string): void {
    this.removeBindings(({ to }) => to.kind === 'queue' && to.name === name);
  }

  /** What a restart leaves: only what is durable at both ends. Whoever lost all bindings counts as never bound. */
  restart(isDurableQueue: (name: string) => boolean): void {
    this.exchanges = this.exchanges.filter(({ durable }) => durable);
    const isThere = (name: string): boolean => this.exchanges.some((exchange) => exchange.name === name);
    this.bindings = this.bindings.filter(
      ({ from, to }) => isThere(from) && (to.kind === 'exchange' ? isThere(to.name) : isDurableQueue(to.name)),
    );
    for (const exchange of this.exchanges) exchange.hadBinding = this.bindings.some(({ from }) => from === exchange.name);
  }

  /** The names of the queues that get a copy, sorted. */
  route(first: string, keys: readonly string[], headers: FieldTable): readonly string[] {
    const queues = new Set<string>();
    const visited = new Set<string>();
    const visit = (name: string): void => {
      const exchange = this.exchanges.find((other) => other.name === name);
      if (exchange === undefined || visited.has(name)) return;
      visited.add(name);
      const taken = this.bindings.filter((binding) => binding.from === name && takes(exchange, binding, keys, headers));
      for (const { to } of taken) {
        if (to.kind === 'exchange') visit(to.name);
        else queues.add(to.name);
      }
      if (taken.length === 0 && exchange.alternate !== undefined) visit(exchange.alternate);
    };
    visit(first);
    return [...queues].sort();
  }

  private removeBindings(isGone: (binding: PlainBinding) => boolean): void {
    const touched = new Set(this.bindings.filter(isGone).map(({ from }) => from));
    this.bindings = this.bindings.filter((binding) => !isGone(binding));
    for (const { name, autoDelete, hadBinding } of this.exchanges) {
      if (!touched.has(name) || !autoDelete || !hadBinding) continue;
      if (!this.bindings.some(({ from }) => from === name)) this.deleteExchange(name);
    }
  }
}

function isSame(a: PlainBinding, b: PlainBinding): boolean {
  const fields = (table: FieldTable): string => JSON.stringify(Object.entries(table).sort(([left], [right]) => (left < right ? -1 : 1)));
  return (
    a.from === b.from &&
    a.to.kind === b.to.kind &&
    a.to.name === b.to.name &&
    a.key === b.key &&
    fields(a.arguments) === fields(b.arguments)
  );
}

function takes({ type }: PlainExchange, binding: PlainBinding, keys: readonly string[], headers: FieldTable): boolean {
  if (type === 'fanout') return true;
  if (type === 'direct') return keys.includes(binding.key);
  if (type === 'topic') return keys.some((key) => fits(words(binding.key), words(key)));
  const match = binding.arguments['x-match'] ?? 'all';
  const isWithX = match === 'all-with-x' || match === 'any-with-x';
  const wanted = Object.entries(binding.arguments).filter(([name]) => name !== 'x-match' && (isWithX || !name.startsWith('x-')));
  const isThere = ([name, value]: [string, FieldValue]): boolean =>
    Object.hasOwn(headers, name) && (value === null || JSON.stringify(headers[name]) === JSON.stringify(value));
  return match === 'all' || match === 'all-with-x' ? wanted.every(isThere) : wanted.some(isThere);
}

function words(text: string): readonly string[] {
  return text === '' ? [] : text.split('.');
}

function fits([first, ...pattern]: readonly string[], key: readonly string[]): boolean {
  if (first === undefined) return key.length === 0;
  if (first === '#') return fits(pattern, key) || (key.length > 0 && fits([first, ...pattern], key.slice(1)));
  return key.length > 0 && (first === '*' || first === key[0]) && fits(pattern, key.slice(1));
}

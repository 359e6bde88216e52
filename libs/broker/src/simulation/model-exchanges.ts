import { type Binding, type Exchange, type Held, isSame, leads, type Message, type Queue, Refusal, unique } from './model-parts.js';
import type { ExchangeShape } from './model-words.js';

/** The exchanges of the model with their bindings, where they lead, and what those that delay hold. */
export class ModelExchanges {
  private exchanges = new Map<string, Exchange>();
  private bindings: Binding[] = [];

  has(name: string): boolean {
    return this.exchanges.has(name);
  }

  isInternal(name: string): boolean {
    return this.exchanges.get(name)?.shape.internal === true;
  }

  leadsOn(name: string): boolean {
    return this.bindings.some(({ source }) => source === name);
  }

  declare(name: string, shape: ExchangeShape, passive: boolean): void {
    const there = this.exchanges.get(name);
    if (there === undefined && passive) throw new Refusal(404);
    if (there === undefined) this.exchanges.set(name, { name, shape, hadBinding: false, held: [] });
    else if (!passive && JSON.stringify(there.shape) !== JSON.stringify(shape)) throw new Refusal(406);
  }

  remove(name: string): void {
    if (!this.exchanges.delete(name)) return;
    this.bindings = this.bindings.filter(({ source }) => source !== name);
    this.removeBindings(({ to, destination }) => to === 'exchange' && destination === name);
  }

  /** The source of the binding is there; where it leads to is the caller's affair if it is a queue. */
  bind(binding: Binding): void {
    if (!this.isBound(binding)) this.bindings.push(binding);
  }

  isBound(binding: Binding): boolean {
    return this.bindings.some((other) => isSame(other, binding));
  }

  unbind(binding: Binding): void {
    this.removeBindings((other) => isSame(other, binding));
  }

  forgetQueue(name: string): void {
    this.removeBindings(({ to, destination }) => to === 'queue' && destination === name);
  }

  /** Auto-delete exchanges go with the last binding from them. */
  private removeBindings(isOver: (binding: Binding) => boolean): void {
    const over = this.bindings.filter(isOver);
    this.bindings = this.bindings.filter((binding) => !isOver(binding));
    for (const { source } of over) {
      if (this.exchanges.get(source)?.shape.autoDelete === true && !this.leadsOn(source)) this.remove(source);
    }
  }

  /** What is kept of them when the broker has ended. */
  crash(queues: ReadonlyMap<string, Queue>): void {
    this.exchanges = new Map([...this.exchanges].filter(([, { shape }]) => shape.durable));
    for (const exchange of this.exchanges.values()) exchange.held = exchange.held.filter(({ message }) => message.persistent);
    this.bindings = this.bindings.filter(
      ({ source, to, destination }) =>
        this.exchanges.has(source) && (to === 'queue' ? queues.has(destination) : this.exchanges.has(destination)),
    );
  }

  route(message: Message, queues: ReadonlyMap<string, Queue>): Queue[] {
    const { exchange, key, copies } = message;
    if (exchange === '') return unique([key, ...copies].flatMap((name) => queues.get(name) ?? []));
    const found: Queue[] = [];
    const visited = new Set([exchange]);
    const open = [exchange];
    for (let name = open.shift(); name !== undefined; name = open.shift()) {
      const from = this.exchanges.get(name);
      if (from === undefined) continue;
      const matching = this.bindings.filter((binding) => binding.source === name && leads(from.shape.type, binding, message));
      found.push(...matching.flatMap(({ to, destination }) => (to === 'queue' ? (queues.get(destination) ?? []) : [])));
      const onward = matching.filter(({ to }) => to === 'exchange').map(({ destination }) => destination);
      const { alternate } = from.shape;
      for (const next of matching.length === 0 && alternate !== undefined ? [alternate] : onward) {
        if (!visited.has(next)) open.push(next);
        visited.add(next);
      }
    }
    return unique(found);
  }

  // What is held until it is due

  delays({ exchange, delayMs }: Message): boolean {
    return delayMs > 0 && this.exchanges.get(exchange)?.shape.type === 'delayed';
  }

  hold(held: Held): void {
    this.exchanges.get(held.message.exchange)!.held.push(held);
  }

  get held(): readonly Held[] {
    return [...this.exchanges.values()].flatMap(({ held }) => held);
  }

  /** Takes out the message that was due first, if there is one by now. */
  takeDue(nowMs: number): Message | undefined {
    const due = this.held.filter(({ dueAt }) => dueAt <= nowMs);
    const [first] = due.sort((one, other) => one.dueAt - other.dueAt || one.order - other.order);
    if (first === undefined) return undefined;
    const exchange = this.exchanges.get(first.message.exchange)!;
    exchange.held = exchange.held.filter((other) => other !== first);
    return { ...first.message, delayMs: 0 };
  }
}

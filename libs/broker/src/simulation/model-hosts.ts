import { Model } from './model.js';
import type { Command, Seen } from './model-words.js';

/** A queue of one of the hosts, under one name. */
export function queueIn(host: string, queue: string): string {
  return `${host} ${queue}`;
}

/** So many messages are published to one host at most. */
const idsPerHost = 1_000_000;

/**
 * Several virtual hosts, each a model of its own that knows nothing of the others: what is said to one must be heard in no other, though all
 * have queues and exchanges of the same names.
 */
export class ModelHosts {
  private readonly names: readonly string[];
  private models: readonly Model[];

  /** `connections[who]` is the connection of channel `who`, and `hosts[who]` the host that it opened. */
  constructor(
    connections: readonly number[],
    private readonly hosts: readonly string[],
  ) {
    this.names = [...new Set(hosts)];
    this.models = this.names.map((name, index) => {
      const own = connections.filter((_, who) => hosts[who] === name);
      return new Model(own, 1 + index * idsPerHost);
    });
  }

  /** The body of the next message that this channel publishes. */
  nextBody(who: number): string {
    return this.of(who).nextBody;
  }

  tagFor(command: Command & { do: 'settle' }): number {
    return this.of(command.who).tagFor({ ...command, who: this.localOf(command.who) });
  }

  dueBehind(fromMs: number): number {
    return Math.min(...this.models.map((model) => model.dueBehind(fromMs)));
  }

  step(command: Command, saidAtMs: number, quietAtMs: number, seen: readonly Seen[]): void {
    for (const [index, model] of this.models.entries()) {
      const own = seen.filter((_, who) => this.hosts[who] === this.names[index]);
      model.step(this.heardBy(model, command), saidAtMs, quietAtMs, own);
    }
  }

  crash(nowMs: number, isBackwards: boolean): void {
    for (const model of this.models) model.crash(nowMs, isBackwards);
  }

  guess(command: Command, nowMs: number, isSettled: boolean): void {
    for (const model of this.models) model.guess(this.heardBy(model, command), nowMs, isSettled);
  }

  skipBody(who: number): void {
    this.of(who).skipBody();
  }

  /** Everything in every queue, by `queueIn`. */
  probe(): Readonly<Record<string, readonly string[]>> {
    const all = this.models.flatMap((model, index) =>
      Object.entries(model.probe()).map(([queue, messages]) => [queueIn(this.names[index]!, queue), messages] as const),
    );
    return Object.fromEntries(all);
  }

  used(host: string, queue: string, atMs: number): void {
    this.models[this.names.indexOf(host)]!.used(queue, atMs);
  }

  get hasCarelessConsumer(): boolean {
    return this.models.some((model) => model.hasCarelessConsumer);
  }

  copy(): ModelHosts {
    const copy = Object.assign(Object.create(ModelHosts.prototype) as ModelHosts, this);
    copy.models = this.models.map((model) => model.copy());
    return copy;
  }

  private of(who: number): Model {
    return this.models[this.names.indexOf(this.hosts[who]!)]!;
  }

  /** The number of the channel within its host. */
  private localOf(who: number): number {
    return this.hosts.slice(0, who).filter((host) => host === this.hosts[who]).length;
  }

  /** To the others nothing is said. */
  private heardBy(model: Model, command: Command): Command {
    return model === this.of(command.who) ? { ...command, who: this.localOf(command.who) } : { who: 0, do: 'wait', ms: 0 };
  }
}

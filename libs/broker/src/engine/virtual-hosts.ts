import { CodedError } from '../errors.js';
import type { Checkpoint, Definition } from '../queues/definitions.js';
import type { DeathReason } from '../queues/dead-letter.js';
import type { Chunk } from '../storage/arena.js';
import type { RecordVisitor } from '../queues/message-log.js';
import { QueueRegister } from '../queues/queue-register.js';
import { firstHostName, VirtualHost, type VirtualHostParts } from '../queues/virtual-host.js';
import type { AccessControl } from './access-control.js';
import type { AccessCheckpoint, BrokerRecord, Together, VirtualHostSettings } from './access-records.js';

/** What stands in the journal as a definition; those of exchanges and queues are in queues/definitions.ts. */
type AnyDefinition = BrokerRecord | Together | WholeCheckpoint | (Exclude<Definition, Checkpoint> & { readonly host?: string });

/** The checkpoint of the first virtual host, and of all that came later. */
export interface WholeCheckpoint extends Checkpoint {
  readonly virtualHosts?: readonly {
    readonly settings: VirtualHostSettings;
    readonly checkpoint?: Omit<Checkpoint, 'do' | 'nextQueueId'>;
  }[];
  readonly access?: AccessCheckpoint;
}

/**
 * The virtual hosts of one broker, on one journal, and what is decided about them and about users.
 *
 * Each decision is one record, so a crash finds it whole or not at all; several that belong together are one record too. Messages name
 * their queues by numbers that no two virtual hosts share. `/` is always there.
 */
export class VirtualHosts implements RecordVisitor {
  readonly first: VirtualHost;
  private readonly register = new QueueRegister();
  private readonly byName = new Map<string, { readonly host: VirtualHost; settings: VirtualHostSettings }>();

  constructor(
    private readonly parts: VirtualHostParts,
    readonly access: AccessControl,
  ) {
    this.first = this.add({ name: firstHostName, description: 'Default virtual host' });
  }

  /** Throws a CodedError `no-virtual-host` with the sentence of RabbitMQ. */
  find(name: string): VirtualHost {
    const found = this.byName.get(name);
    if (found === undefined) throw new CodedError('no-virtual-host', `vhost ${name} not found`);
    return found.host;
  }

  settingsOf(name: string): VirtualHostSettings | undefined {
    return this.byName.get(name)?.settings;
  }

  /** What has this number in the journal, in words. */
  whatHas(id: number): string | undefined {
    return this.register.whatHas(id);
  }

  get all(): readonly VirtualHost[] {
    return [...this.byName.values()].map(({ host }) => host);
  }

  get allSettings(): readonly VirtualHostSettings[] {
    return [...this.byName.values()].map(({ settings }) => settings);
  }

  /** Makes a decision true, after it was found to be sound: appends it, and all of it or nothing of it survives. */
  decide(records: readonly BrokerRecord[]): void {
    if (records.length === 0) return;
    const { log, turn } = this.parts;
    for (const record of records) this.evolve(record);
    if (log === undefined) return;
    const isOfUsers = records.some((record) => record.do !== 'put-virtual-host' && record.do !== 'delete-virtual-host');
    const all = isOfUsers ? [...this.access.takeUnkept(), ...records] : records;
    const whole: BrokerRecord | Together = all.length === 1 ? all[0]! : { do: 'together', records: all };
    log.appendDefinition(JSON.stringify(whole));
    turn.definitionWasAppended();
  }

  /** Resolves when everything decided so far is as durable as was asked for. */
  committed(): Promise<void> {
    return new Promise((resolve) => this.first.afterCommit(resolve));
  }

  /** Those that the configuration names; before anybody is served. The checkpoint of this opening keeps them. */
  ensure(settings: readonly VirtualHostSettings[]): void {
    for (const one of settings) this.put(one);
  }

  // What the journal brings back, in its order.

  message(queueId: number, sequence: number, chunk: Chunk, offset: number, length: number, isTimed: boolean): void {
    this.register.message(queueId, sequence, chunk, offset, length, isTimed);
  }

  settled(queueId: number, first: number, count: number): void {
    this.register.settled(queueId, first, count);
  }

  returned(queueId: number, sequence: number, count: number): void {
    this.register.returned(queueId, sequence, count);
  }

  dead(queueId: number, sequence: number, reason: DeathReason): void {
    this.register.dead(queueId, sequence, reason);
  }

  delivered(queueId: number, below: number): void {
    this.register.delivered(queueId, below);
  }

  definition(json: string): void {
    const definition = JSON.parse(json) as AnyDefinition;
    this.register.wasClosed = false;
    switch (definition.do) {
      case 'checkpoint':
        return this.recoverCheckpoint(definition);
      case 'together':
        return definition.records.forEach((record) => this.evolve(record));
      case 'put-user':
      case 'delete-user':
      case 'put-permission':
      case 'delete-permission':
      case 'put-topic-permission':
      case 'delete-topic-permission':
      case 'put-virtual-host':
      case 'delete-virtual-host':
        return this.evolve(definition);
      default:
        this.byName.get(definition.host ?? firstHostName)?.host.recoverDefinition(definition);
    }
  }

  finishRecovery(): void {
    for (const host of this.all) host.finishRecovery();
  }

  appendCheckpoint(): void {
    const { log, turn } = this.parts;
    log?.appendDefinition(JSON.stringify(this.checkpoint()));
    turn.definitionWasAppended();
  }

  /** Everything that is kept, as it is defined now. */
  checkpoint(): WholeCheckpoint {
    const [first, ...others] = [...this.byName.values()];
    const access = this.access.checkpoint();
    const isPlain = others.length === 0 && Object.keys(first!.settings).every((key) => key === 'name' || key === 'description');
    const virtualHosts = [
      { settings: first!.settings },
      ...others.map(({ host, settings }) => {
        const { do: _do, nextQueueId: _next, ...checkpoint } = host.checkpoint();
        return { settings, checkpoint };
      }),
    ];
    return {
      ...first!.host.checkpoint(),
      ...(isPlain ? {} : { virtualHosts }),
      ...(access === undefined ? {} : { access }),
    };
  }

  /** The last words of a broker that ends in order. */
  appendClose(): void {
    const { log, turn } = this.parts;
    if (log === undefined) return;
    for (const host of this.all) host.appendDelivered();
    log.appendDefinition(JSON.stringify({ do: 'close' }));
    turn.definitionWasAppended();
  }

  private evolve(record: BrokerRecord): void {
    switch (record.do) {
      case 'put-virtual-host':
        return this.put(record.virtualHost);
      case 'delete-virtual-host':
        return this.remove(record.name);
      default:
        return this.access.evolve(record);
    }
  }

  /**
   * A later checkpoint repeats what the records before it made, but for what an opening took from its configuration: virtual hosts that
   * were not there, and the first user.
   */
  private recoverCheckpoint(whole: WholeCheckpoint): void {
    this.first.recoverDefinition(whole);
    for (const { settings, checkpoint } of whole.virtualHosts ?? []) {
      const isKnown = this.byName.has(settings.name);
      this.put(settings);
      if (checkpoint === undefined || isKnown) continue;
      this.find(settings.name).recoverDefinition({ do: 'checkpoint', nextQueueId: whole.nextQueueId, ...checkpoint });
    }
    if (whole.access !== undefined) this.access.recover(whole.access);
  }

  private put(settings: VirtualHostSettings): void {
    const known = this.byName.get(settings.name);
    if (known === undefined) this.add(settings);
    else {
      known.settings = settings;
      applySettings(known.host, settings);
    }
  }

  private add(settings: VirtualHostSettings): VirtualHost {
    const host = new VirtualHost(settings.name, { ...this.parts, register: this.register });
    applySettings(host, settings);
    this.byName.set(settings.name, { host, settings });
    return host;
  }

  /** Those who are in it are told first, and leave, so that nothing is left that could bring something back. */
  private remove(name: string): void {
    const found = this.byName.get(name);
    if (found === undefined) return;
    this.access.forgetVirtualHost(name);
    this.byName.delete(name);
    found.host.clear();
  }
}

function applySettings(host: VirtualHost, { defaultQueueType = 'classic', limits = {} }: VirtualHostSettings): void {
  host.defaultQueueType = defaultQueueType;
  host.queuesMax = limits.maxQueues === undefined || limits.maxQueues < 0 ? Infinity : limits.maxQueues;
}

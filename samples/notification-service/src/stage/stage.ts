/**
 * Everything that runs: the broker, five senders, one or two notification services. Starts them, kills them when asked to, and stops them in an order in
 * which nobody has to complain: first whoever makes events, then whoever handles them, then the broker.
 *
 * It is no part of the architecture: the services find each other through the broker, and would do so without it.
 */
import { fileURLToPath } from 'node:url';
import { Refusal } from '../refusal.js';
import { BrokerDaemon } from './broker-daemon.js';
import { Child, type Watcher } from './child.js';
import type { DataFolder } from './data-folder.js';

export const SENDERS = ['posts', 'groups', 'likes', 'orders', 'payments'] as const;
export const NOTIFIERS = ['notifications-1', 'notifications-2'] as const;

export const LOAD_MAX = 2_000;
export const PACE_MS_MAX = 1_000;
const PATIENCE_MS = 4_000;

export interface StageSettings {
  readonly folder: DataFolder;
  /** An AMQP broker that runs already; without it the built-in one is started. */
  readonly brokerUrl: string | undefined;
  /** Another one, for commands alone. */
  readonly commandsUrl?: string | undefined;
  /** A program to start in place of the built-in broker. */
  readonly brokerProgram: string | undefined;
  /** Events per second, over all senders, to begin with. */
  readonly load: number;
  /** The environment of the services, to which is added what they must be told. */
  readonly env: NodeJS.ProcessEnv;
  /** Takes what the person at the console should read. */
  readonly say: (line: string) => void;
}

export class Stage {
  readonly broker: BrokerDaemon | undefined;
  private readonly senders: readonly Child[];
  private readonly notifiers: readonly Child[];
  private load: number;
  private pace = 0;
  private stopping: Promise<void> | undefined;
  /** Called when a process changed its state. */
  onChange: (child: Child) => void = () => undefined;

  constructor(private readonly settings: StageSettings) {
    const { folder, brokerUrl, brokerProgram, say } = settings;
    this.load = settings.load;
    const watcher: Watcher = {
      say,
      // That a broker is away which was just killed from the page, nobody needs to hear from seven connections.
      murmur: (line) => (this.broker === undefined || this.broker.state === 'running') && say(line),
      changed: (child) => this.changed(child),
    };
    this.broker = brokerUrl === undefined ? new BrokerDaemon(folder.broker, brokerProgram, watcher) : undefined;
    const service = (name: string, entry: string) => new Child(name, () => this.program(name, entry), watcher);
    this.senders = SENDERS.map((name) => service(name, name));
    this.notifiers = NOTIFIERS.map((name) => service(name, 'notifications'));
  }

  get brokerUrl(): string {
    return this.broker?.url ?? this.settings.brokerUrl ?? '';
  }

  get children(): readonly Child[] {
    return [...(this.broker ? [this.broker] : []), ...this.senders, ...this.notifiers];
  }

  get loadPerSecond(): number {
    return this.load;
  }

  get paceMs(): number {
    return this.pace;
  }

  /** Resolves when all are ready. The second notification service waits to be asked for. */
  async start(): Promise<void> {
    await this.broker?.start();
    this.refuseWhenStopping();
    // Nothing may happen before the notification service has declared its queue: what nobody has asked for, no broker keeps.
    const load = this.load;
    this.load = 0;
    await Promise.all([this.notifiers[0]?.start(), ...this.senders.map((sender) => sender.start())]);
    this.setLoad(load);
  }

  async startChild(name: string): Promise<void> {
    this.refuseWhenStopping();
    await this.find(name).start();
  }

  async killChild(name: string): Promise<void> {
    this.refuseWhenStopping();
    await this.find(name).kill();
    this.settings.say(`${name} was killed from the page (kill -9).`);
  }

  /** One thing happens in a sender, as if a user had done it. */
  happen(name: string): void {
    const sender = this.senders.find((one) => one.name === name);
    if (sender === undefined) throw new Refusal(`There is no sender called ${name}. There are: ${SENDERS.join(', ')}.`);
    if (sender.state !== 'running') throw new Refusal(`${name} is not running. Start it first.`);
    sender.command({ command: 'happen' });
  }

  /** Events per second over all senders, evenly; 0 stops. */
  setLoad(perSecond: unknown): void {
    this.load = checked('The load', perSecond, LOAD_MAX);
    for (const sender of this.senders) this.brief(sender);
  }

  /** Milliseconds the notification service takes over each notification, on top of its real work. */
  setPace(ms: unknown): void {
    this.pace = checked('The pace', ms, PACE_MS_MAX);
    for (const notifier of this.notifiers) this.brief(notifier);
  }

  get isStopping(): boolean {
    return this.stopping !== undefined;
  }

  /** Resolves when no process is left. Calling it again while it runs waits for the same end. */
  stop(): Promise<void> {
    this.stopping ??= (async () => {
      // Without a broker there is nothing that a service could bring to an end.
      const patienceMs = this.broker !== undefined && this.broker.state !== 'running' ? 0 : PATIENCE_MS;
      await Promise.all(this.senders.map((child) => child.stop(patienceMs)));
      await Promise.all(this.notifiers.map((child) => child.stop(patienceMs)));
      await this.broker?.stop(PATIENCE_MS);
    })();
    return this.stopping;
  }

  /** No patience left: kill -9 for all. */
  killAll(): void {
    for (const child of this.children) if (child.pid !== undefined) void child.kill();
  }

  private changed(child: Child): void {
    if (child.state === 'running') this.brief(child);
    this.onChange(child);
  }

  /** Tells a process, just started or not, what is wanted of it. */
  private brief(child: Child): void {
    if (this.senders.includes(child)) child.command({ command: 'load', perSecond: this.load / this.senders.length });
    if (this.notifiers.includes(child)) child.command({ command: 'pace', ms: this.pace });
  }

  private program(name: string, entry: string) {
    const { env, folder, commandsUrl } = this.settings;
    return {
      file: fileURLToPath(new URL(`../${entry}/main.js`, import.meta.url)),
      env: { ...env, BROKER_URL: this.brokerUrl, ...(commandsUrl && { COMMANDS_URL: commandsUrl }), FACT_FILE: folder.newFactFile(name) },
    };
  }

  private find(name: string): Child {
    const child = this.children.find((one) => one.name === name);
    if (child !== undefined) return child;
    throw new Refusal(`There is no process called ${name}. There are: ${this.children.map((one) => one.name).join(', ')}.`);
  }

  private refuseWhenStopping(): void {
    if (this.isStopping) throw new Refusal('Everything is being stopped.');
  }
}

function checked(what: string, value: unknown, max: number): number {
  if (typeof value === 'number' && value >= 0 && value <= max) return value;
  throw new Refusal(`${what} is a number from 0 to ${max}; this is ${JSON.stringify(value)}.`);
}

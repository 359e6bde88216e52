import { type Listener, type Network, NetworkError, type Socket, type SocketEvents, type TlsIdentity } from '@dovecote/ground';
import type { KafkaListener } from './engine/options.js';
import { CodedError } from './errors.js';
import type { ListenerView } from './kafka/listener-view.js';

/** Where clients may connect, and where they are told to come. */
export interface KafkaAddress {
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
  readonly advertised: { readonly host: string; readonly port: number };
}

export interface KafkaDoorsOptions {
  readonly network: Network;
  readonly listeners: readonly KafkaListener[];
  /** Clients that wait for the server at the same time; one more is turned away. */
  readonly waitingMax: number;
  /** Opens the server, or waits for it. Where that fails, who waits is turned away; it has been said why. */
  readonly server: () => Promise<KafkaEntrance>;
}

/** What is behind the doors. */
export interface KafkaEntrance {
  accept(socket: Socket, door: ListenerView): void;
}

/**
 * The sockets on which Kafka clients come in. They listen before anything of Kafka is loaded, so that a broker without such clients pays
 * for nothing but the sockets; the first client waits at the door until the log is open. Nothing survives a crash.
 */
export class KafkaDoors {
  private readonly doors: { readonly listener: Listener; readonly settings: KafkaListener; readonly view: ListenerView }[] = [];
  private entrance: KafkaEntrance | undefined;
  private readonly waiting = new Set<HeldSocket>();
  private isClosed = false;

  private constructor(private readonly options: KafkaDoorsOptions) {}

  /** Rejects with a CodedError: `invalid-argument`, and `port-unusable` with a NetworkError as its cause. */
  static async open(options: KafkaDoorsOptions): Promise<KafkaDoors> {
    for (const { host, advertised } of options.listeners) if (advertised === undefined) checkReachable(host ?? '');
    const doors = new KafkaDoors(options);
    try {
      for (const settings of options.listeners) await doors.add(settings);
    } catch (error) {
      await doors.close();
      if (error instanceof NetworkError) throw new CodedError('port-unusable', error.message, { cause: error });
      throw error;
    }
    return doors;
  }

  get addresses(): readonly KafkaAddress[] {
    return this.doors.map(({ listener: { host, port }, settings, view }) => ({
      host,
      port,
      isTls: settings.tls !== undefined,
      advertised: { host: view.host, port: view.port },
    }));
  }

  /** For those who come from now on. Throws a NetworkError. */
  renewCertificates(tls: TlsIdentity): void {
    for (const { listener, settings } of this.doors) if (settings.tls !== undefined) listener.renew(tls);
  }

  /** Nobody comes in any more; who is in stays. */
  async close(): Promise<void> {
    this.isClosed = true;
    for (const held of this.waiting) held.destroy();
    for (const { listener } of this.doors) await listener.close();
  }

  private async add(settings: KafkaListener): Promise<void> {
    const { host = '127.0.0.1', port, advertised, tls, login = !isOwnAddress(host) } = settings;
    let view: ListenerView | undefined;
    const accept = (socket: Socket): void => this.accept(socket, view!);
    const listener = await this.options.network.listen({ host, port, ...(tls === undefined ? {} : { tls }) }, accept);
    view = { host: advertised?.host ?? host, port: advertised?.port ?? listener.port, needsLogin: login };
    this.doors.push({ listener, settings, view });
  }

  private accept(socket: Socket, view: ListenerView): void {
    if (this.entrance !== undefined) this.entrance.accept(socket, view);
    else if (this.isClosed || this.waiting.size >= this.options.waitingMax) socket.destroy();
    else void this.letInLater(new HeldSocket(socket), view);
  }

  private async letInLater(held: HeldSocket, view: ListenerView): Promise<void> {
    this.waiting.add(held);
    try {
      this.entrance = await this.options.server();
      if (this.isClosed) held.destroy();
      else if (!held.isClosed) this.entrance.accept(held, view);
    } catch {
      held.destroy();
    }
    this.waiting.delete(held);
  }
}

/** Throws a CodedError `invalid-argument` for what stands for all addresses. */
function checkReachable(host: string): void {
  if (host !== '0.0.0.0' && host !== '::') return;
  throw new CodedError(
    'invalid-argument',
    `Kafka clients are told where to come, and nobody can come to ${host}: say under which address they reach this broker (\`advertised\`)`,
  );
}

function isOwnAddress(host: string): boolean {
  return /^(127\.|::1$|localhost$)/.test(host);
}

const ownBytes = 16 * 1024;

/** A socket whose first bytes wait until somebody takes them. */
class HeldSocket implements Socket, SocketEvents {
  isClosed = false;
  private events: SocketEvents | undefined;
  private readonly early: Buffer[] = [];
  private isHeld = true;
  /** Where the socket reads to as long as nobody else says it, and whether it does. */
  private own: Buffer | undefined;
  private readsToOwn = true;
  private isPausedByOwner = false;

  constructor(private readonly socket: Socket) {
    socket.start(this);
    socket.pause();
  }

  get remoteAddress(): string {
    return this.socket.remoteAddress;
  }

  get remotePort(): number {
    return this.socket.remotePort;
  }

  get localAddress(): string {
    return this.socket.localAddress;
  }

  get localPort(): number {
    return this.socket.localPort;
  }

  get peerName(): string | undefined {
    return this.socket.peerName;
  }

  get unsentBytes(): number {
    return this.socket.unsentBytes;
  }

  get sentBytes(): number {
    return this.socket.sentBytes;
  }

  get receivedBytes(): number {
    return this.socket.receivedBytes;
  }

  /** What came early comes in a moment, when whoever took the socket has put itself in order. */
  start(events: SocketEvents): void {
    this.events = events;
    queueMicrotask(() => {
      this.isHeld = false;
      for (const bytes of this.early.splice(0)) if (!this.isClosed) events.onData(bytes);
      if (!this.isClosed && !this.isPausedByOwner) this.socket.resume();
    });
  }

  write(bytes: Uint8Array, sent?: () => void): boolean {
    return this.socket.write(bytes, sent);
  }

  pause(): void {
    this.isPausedByOwner = true;
    this.socket.pause();
  }

  resume(): void {
    this.isPausedByOwner = false;
    if (!this.isHeld) this.socket.resume();
  }

  end(): void {
    this.socket.end();
  }

  destroy(): void {
    this.socket.destroy();
  }

  onData(bytes: Buffer): void {
    if (this.isHeld) this.early.push(bytes);
    else this.events!.onData(bytes);
  }

  room(): Buffer {
    const theirs = this.isHeld ? undefined : this.events?.room?.();
    this.readsToOwn = theirs === undefined;
    return theirs ?? (this.own ??= Buffer.allocUnsafeSlow(ownBytes));
  }

  onFilled(length: number): void {
    if (this.readsToOwn) this.onData(Buffer.from(this.own!.subarray(0, length)));
    else this.events!.onFilled!(length);
  }

  onDrain(): void {
    this.events?.onDrain();
  }

  onClose(): void {
    this.isClosed = true;
    this.events?.onClose();
  }
}

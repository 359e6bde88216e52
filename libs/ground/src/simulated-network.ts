/**
 * One simulated machine's network: every address is this machine, a port belongs to whoever listens on it. Bytes travel in random pieces
 * after random delays, in order, and connections can be cut or stalled. TLS is who believes whom, without secrets: a certificate is the text of a
 * name, its own authority, and no key is asked for.
 *
 * Nothing survives its run; a listener and a socket live as long as the process that owns them. Made by `simulatedGround`.
 */
import {
  type ConnectAddress,
  type ListenAddress,
  type Listener,
  type Network,
  NetworkError,
  type Socket,
  type TlsIdentity,
  type TlsTrust,
} from './network.js';
import { address, connectError, listenError } from './network-error.js';
import type { SeededRandom } from './seeded-random.js';
import type { SimulatedClock } from './simulated-clock.js';
import { type NetworkPace, SimulatedSocket, type Wire } from './simulated-socket.js';

export class SimulatedNetwork implements Network, Wire {
  pace: NetworkPace = {
    delayMs: [0.01, 0.5],
    hiccupShare: 0.01,
    hiccupMs: [1, 40],
    pieceBytesMax: 65_536,
    windowBytes: [4 * 1024, 256 * 1024],
  };
  #isStalled = false;
  #connectionCount = 0;
  #nextFreePort = FIRST_FREE_PORT;
  #sockets: OwnedSocket[] = [];
  readonly #listeners = new Map<number, SimulatedListener>();
  /** Owners whose process is over: nothing more is opened or called for them. */
  readonly #gone = new WeakSet<object>();

  constructor(
    readonly clock: SimulatedClock,
    readonly random: SeededRandom,
  ) {}

  listen(at: ListenAddress, accept: (socket: Socket) => void): Promise<Listener> {
    return this.listenAs(undefined, at, accept);
  }

  connect(to: ConnectAddress): Promise<Socket> {
    return this.connectAs(undefined, to);
  }

  /** The network as one process sees it: what it opens ends with `hangUp(owner)`. */
  of(owner: object): Network {
    return { listen: (at, accept) => this.listenAs(owner, at, accept), connect: (to) => this.connectAs(owner, to) };
  }

  get isStalled(): boolean {
    return this.#isStalled;
  }

  /** How many connections are open at either end. */
  get connectionCount(): number {
    this.#forgetClosed();
    return new Set(this.#sockets.map(({ pair }) => pair)).size;
  }

  /** Breaks a connection drawn by chance, in the middle of whatever it carries; false where there is none. The two ends hear of it within `delayMs`, each by itself. */
  cutOne(delayMs = 100): boolean {
    this.#forgetClosed();
    const drawn = this.#sockets.length === 0 ? undefined : this.#sockets[this.random.below(this.#sockets.length)];
    if (drawn === undefined) return false;
    for (const { socket, pair } of this.#sockets) if (pair === drawn.pair) socket.break(delayMs);
    return true;
  }

  cutAll(delayMs = 100): void {
    this.#forgetClosed();
    for (const { socket } of this.#sockets) socket.break(delayMs);
  }

  /** Nothing moves until `flow`, and nobody is told: only a timeout can notice. */
  stall(): void {
    this.#isStalled = true;
  }

  flow(): void {
    this.#isStalled = false;
    for (const { socket } of this.#sockets) socket.wake();
  }

  /** The process is gone, with its listeners and its ends of connections; silently where the whole machine lost its power. */
  hangUp(owner: object, how: { readonly isSilent: boolean }): void {
    for (const [port, listener] of this.#listeners) if (listener.owner === owner) this.#listeners.delete(port);
    for (const held of this.#sockets) if (held.owner === owner) held.socket.abandon(how);
    this.#forgetClosed();
    this.#gone.add(owner);
  }

  listenAs(owner: object | undefined, at: ListenAddress, accept: (socket: Socket) => void): Promise<Listener> {
    return new Promise((resolve, reject) => {
      this.#after(owner, () => {
        const port = at.port === 0 ? this.#freePort() : at.port;
        if (this.#listeners.has(port)) return reject(listenError(at));
        const listener = new SimulatedListener(at.host, port, accept, owner, () => this.#listeners.delete(port), at.tls);
        this.#listeners.set(port, listener);
        this.clock.trace.note(`listens on ${port}`);
        resolve(listener);
      });
    });
  }

  connectAs(owner: object | undefined, to: ConnectAddress): Promise<Socket> {
    return new Promise((resolve, reject) => {
      this.#after(owner, () => {
        if (this.#isStalled)
          return this.clock.after(CONNECT_TIMEOUT_MS, () =>
            reject(new NetworkError('failed', `cannot connect to ${to.host}:${to.port}: no answer`)),
          );
        const listener = this.#listeners.get(to.port);
        if (listener === undefined) return reject(connectError(to));
        if (to.tls !== undefined && !listener.isBelievedBy(to.tls)) return reject(untrusted(to));
        const [near, far] = this.#pair(owner, listener);
        far.peerName = listener.nameOf(to.tls);
        this.clock.defer(() => {
          if (!listener.takes(to.tls)) far.destroy();
          else if (!this.#isGone(listener.owner)) listener.accept(far);
        });
        this.#after(owner, () => resolve(near));
        return undefined;
      });
    });
  }

  #pair(owner: object | undefined, listener: SimulatedListener): readonly [SimulatedSocket, SimulatedSocket] {
    const number = ++this.#connectionCount;
    const clientPort = this.#freePort();
    const near = new SimulatedSocket(`${number} client`, clientPort, listener.port, this);
    const far = new SimulatedSocket(`${number} server`, listener.port, clientPort, this);
    near.peer = far;
    far.peer = near;
    this.#sockets.push({ socket: near, owner, pair: number }, { socket: far, owner: listener.owner, pair: number });
    this.clock.trace.note(`connection ${number} to ${listener.port}`);
    return [near, far];
  }

  #after(owner: object | undefined, run: () => unknown): void {
    if (this.#isGone(owner)) return;
    this.clock.after(this.random.between(...this.pace.delayMs), () => {
      if (!this.#isGone(owner)) run();
    });
  }

  #isGone(owner: object | undefined): boolean {
    return owner !== undefined && this.#gone.has(owner);
  }

  #freePort(): number {
    while (this.#listeners.has(this.#nextFreePort)) this.#nextFreePort++;
    return this.#nextFreePort++;
  }

  #forgetClosed(): void {
    this.#sockets = this.#sockets.filter(({ socket }) => !socket.isClosed);
  }
}

/** Where the ports that nobody asked for by number begin. */
const FIRST_FREE_PORT = 49_152;
const CONNECT_TIMEOUT_MS = 30_000;

interface OwnedSocket {
  readonly socket: SimulatedSocket;
  readonly owner: object | undefined;
  readonly pair: number;
}

function untrusted(to: ConnectAddress): NetworkError {
  return new NetworkError('untrusted', `${address(to)} is not believed to be who it says`);
}

class SimulatedListener implements Listener {
  constructor(
    readonly host: string,
    readonly port: number,
    readonly accept: (socket: Socket) => void,
    readonly owner: object | undefined,
    private readonly release: () => void,
    private tls: TlsIdentity | undefined,
  ) {}

  renew(tls: TlsIdentity): void {
    this.tls = tls;
  }

  isBelievedBy({ authorities }: TlsTrust): boolean {
    return this.tls !== undefined && (authorities === undefined || authorities === this.tls.certificate);
  }

  /** Whether the handshake would end well for the listener. */
  takes(client: TlsTrust | undefined): boolean {
    if (this.tls === undefined || client === undefined) return this.tls === client;
    return this.tls.requiresClient !== true || this.nameOf(client) !== undefined;
  }

  nameOf(client: TlsTrust | undefined): string | undefined {
    return this.tls?.authorities === undefined ? undefined : client?.certificate;
  }

  close(): Promise<void> {
    this.release();
    return Promise.resolve();
  }
}

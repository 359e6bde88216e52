/**
 * Stream sockets, as the protocol servers see them: bytes come in by callback, bytes go out by `write`, and back-pressure is
 * visible both ways. Nothing here knows a protocol.
 */
export interface Network {
  /** Starts to listen; `port` 0 takes a free one. Rejects with a `NetworkError` whose sentence says what to do. */
  listen(at: ListenAddress, accept: (socket: Socket) => void): Promise<Listener>;
  /** With `tls` the server must prove who it is. */
  connect(to: ConnectAddress): Promise<Socket>;
}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
  /** Speaks TLS there; a client whose handshake fails is never accepted. */
  readonly tls?: TlsIdentity;
}

export interface ConnectAddress {
  readonly host: string;
  readonly port: number;
  readonly tls?: TlsTrust;
}

/** Who a server is, and whom it believes: all as PEM text. */
export interface TlsIdentity {
  readonly certificate: string;
  readonly key: string;
  /** Certificates of the authorities whose clients are believed. Without them no client is asked who it is. */
  readonly authorities?: string;
  /** A client without a certificate that is believed is refused; else it may come, and has no name. Default: false. */
  readonly requiresClient?: boolean;
}

/** Whom a client believes, and who it is. */
export interface TlsTrust {
  /** Default: the authorities that Node knows. */
  readonly authorities?: string;
  /** The name that must stand in the server's certificate. Default: the host. */
  readonly serverName?: string;
  readonly certificate?: string;
  readonly key?: string;
}

export interface Listener {
  readonly host: string;
  readonly port: number;
  /** Another certificate for the clients that come from now on, of a listener with TLS. Throws a `NetworkError` and keeps the old one where it is no good. */
  renew(tls: TlsIdentity): void;
  /** Takes no more connections; the ones it accepted live on. */
  close(): Promise<void>;
}

export interface Socket {
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** The address of this end; the same as the listener's unless that takes all of the machine. */
  readonly localAddress: string;
  readonly localPort: number;
  /** The name in the certificate of the other end, if it proved one that is believed: its common name. */
  readonly peerName?: string | undefined;
  /** Bytes handed to `write` that the operating system has not taken yet. */
  readonly unsentBytes: number;
  /** Bytes that the operating system has taken since the connection began, as they went out: while some wait, this moves as long as the peer reads. */
  readonly sentBytes: number;
  /** Octets received since the connection began, whether or not `onData` has seen them. For heartbeats. */
  readonly receivedBytes: number;
  /** Says who takes what comes; call it once, in the turn in which the socket was handed over. */
  start(events: SocketEvents): void;
  /**
   * Sends `bytes`, which must not change afterwards unless `sent` is given: it is called when the socket no longer needs them.
   * False when the peer reads too slowly: hold back until `onDrain`.
   */
  write(bytes: Uint8Array, sent?: () => void): boolean;
  /** No more `onData` until `resume`. One call may still come for bytes already read. */
  pause(): void;
  resume(): void;
  /** Sends what was written, then closes. A peer that does not read can hold this up for ever: `destroy` after as long as you mean to wait. */
  end(): void;
  /** Closes at once; what was not sent is lost. */
  destroy(): void;
}

export interface SocketEvents {
  /** The bytes are the receiver's: they are not used again by the socket. */
  onData(bytes: Buffer): void;
  /**
   * For a receiver with memory of its own, both of these: where the next bytes are to go (never nothing; asked once, then after each `onFilled`), and how many now stand at
   * the front of that. Memory that is used again for every read halves what reading costs. A socket may call `onData` all the same, as one over TLS does.
   */
  room?(): Buffer;
  onFilled?(length: number): void;
  onDrain(): void;
  /** Comes exactly once, however the connection ends; nothing comes after it. */
  onClose(): void;
}

export type NetworkErrorCode = 'port-taken' | 'denied' | 'refused' | 'untrusted' | 'certificate' | 'failed';

export class NetworkError extends Error {
  override readonly name = 'NetworkError';
  constructor(
    readonly code: NetworkErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

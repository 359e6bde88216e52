/**
 * Stream sockets, as the protocol servers see them: bytes come in by callback, bytes go out by `write`, and back-pressure is
 * visible both ways. Nothing here knows a protocol.
 */
export interface Network {
  /** Starts to listen; `port` 0 takes a free one. Rejects with a `NetworkError` whose sentence says what to do. */
  listen(at: ListenAddress, accept: (socket: Socket) => void): Promise<Listener>;
  connect(to: { readonly host: string; readonly port: number }): Promise<Socket>;
}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

export interface Listener {
  readonly host: string;
  readonly port: number;
  /** Takes no more connections; the ones it accepted live on. */
  close(): Promise<void>;
}

export interface Socket {
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** Bytes handed to `write` that the operating system has not taken yet. */
  readonly unsentBytes: number;
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
  onDrain(): void;
  /** Comes exactly once, however the connection ends; nothing comes after it. */
  onClose(): void;
}

export type NetworkErrorCode = 'port-taken' | 'denied' | 'refused' | 'failed';

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

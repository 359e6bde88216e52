/**
 * HTTP over the sockets of a network: Node's own parser, fed by the port, so that whatever carries bytes (TCP, TLS, a simulation) carries it.
 *
 * Requests are handed over whole, so their size is bounded; answers are given whole. `node:http` is loaded when the first client comes: a
 * program that nobody asks anything does not pay for it. Nothing of it survives the process.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Duplex } from 'node:stream';
import { clearTimeout, setTimeout } from 'node:timers';
import type { ListenAddress, Listener, Network, Socket, SocketEvents } from './network.js';

export interface HttpRequest {
  readonly method: string;
  /** As it came: path and query, still encoded. */
  readonly url: string;
  /** By names in small letters; of a name that came twice as Node joins them. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
  readonly remoteAddress: string;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface HttpBounds {
  /** A longer body is answered with 413, and read no further. */
  readonly bodyBytesMax: number;
  /** More connections are closed as they come. */
  readonly connectionsMax: number;
  /** For a whole request to come, and for a connection to idle. */
  readonly timeoutMs: number;
}

/** Rejects with a `NetworkError` as `listen` does. An error that `answer` throws is a defect: the client gets 500, and it goes to `failed`. */
export async function serveHttp(
  network: Network,
  at: ListenAddress,
  answer: (request: HttpRequest) => Promise<HttpResponse>,
  bounds: HttpBounds,
  failed: (error: unknown) => void,
): Promise<Listener> {
  const open = new Set<SocketStream>();
  let server: Promise<Server> | undefined;
  const listener = await network.listen(at, (socket) => {
    if (open.size >= bounds.connectionsMax) return socket.destroy();
    const stream = new SocketStream(socket, bounds.timeoutMs);
    open.add(stream);
    stream.on('close', () => open.delete(stream));
    server ??= createServer(answer, bounds, failed);
    return void server.then((ready) => ready.emit('connection', stream));
  });
  return {
    host: listener.host,
    port: listener.port,
    renew: (tls) => listener.renew(tls),
    close: async () => {
      await listener.close();
      for (const stream of open) stream.destroy();
    },
  };
}

async function createServer(
  answer: (request: HttpRequest) => Promise<HttpResponse>,
  bounds: HttpBounds,
  failed: (error: unknown) => void,
): Promise<Server> {
  const http = await import('node:http');
  return http.createServer((request, response) => {
    const stream = request.socket as unknown as SocketStream;
    response.on('finish', () => stream.watch());
    receive(request, bounds.bodyBytesMax)
      .then(async (body) => {
        stream.unwatch();
        if (body === undefined) return send(response, tooLong);
        const { method = 'GET', url = '/', headers } = request;
        return send(response, await answer({ method, url, headers, body, remoteAddress: stream.remoteAddress }));
      })
      .catch((error: unknown) => {
        // A client that went away while it was speaking is no defect.
        if (!request.complete) return response.destroy();
        failed(error);
        return send(response, { status: 500, headers: {}, body: '' });
      });
  });
}

const tooLong: HttpResponse = { status: 413, headers: { connection: 'close' }, body: '' };

/** Undefined for a body that is too long; the rest of it stays unread. */
function receive(request: IncomingMessage, bytesMax: number): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let length = 0;
    request.on('data', (piece: Buffer) => {
      length += piece.length;
      if (length <= bytesMax) pieces.push(piece);
      else {
        request.pause().removeAllListeners('data');
        resolve(undefined);
      }
    });
    request.on('end', () => resolve(Buffer.concat(pieces)));
    request.on('error', reject);
  });
}

function send(response: ServerResponse, { status, headers, body }: HttpResponse): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, status === 204 ? headers : { ...headers, 'content-length': Buffer.byteLength(body) });
  response.end(status === 204 ? undefined : body);
}

/** A socket of the port as a stream of Node, with a deadline. */
class SocketStream extends Duplex implements SocketEvents {
  private writtenOn: (() => void) | undefined;
  private deadline: NodeJS.Timeout | undefined;

  constructor(
    private readonly connection: Socket,
    private readonly timeoutMs: number,
  ) {
    super({ allowHalfOpen: true });
    this.on('error', ignore); // a connection that breaks is the client's business
    this.watch();
    connection.start(this);
  }

  get remoteAddress(): string {
    return this.connection.remoteAddress;
  }

  /** It ends when nothing whole comes in time. */
  watch(): void {
    this.unwatch();
    this.deadline = setTimeout(() => this.destroy(), this.timeoutMs).unref();
  }

  unwatch(): void {
    clearTimeout(this.deadline);
  }

  onData(bytes: Buffer): void {
    if (!this.push(bytes)) this.connection.pause();
  }

  onDrain(): void {
    const goOn = this.writtenOn;
    this.writtenOn = undefined;
    goOn?.();
  }

  onClose(): void {
    this.destroy();
  }

  override _read(): void {
    this.connection.resume();
  }

  override _write(bytes: Buffer, _encoding: string, written: () => void): void {
    if (this.connection.write(bytes)) written();
    else this.writtenOn = written;
  }

  override _final(ended: () => void): void {
    this.connection.end();
    ended();
  }

  override _destroy(error: Error | null, destroyed: (error: Error | null) => void): void {
    this.unwatch();
    this.connection.destroy();
    destroyed(error);
  }
}

function ignore(): void {}

/**
 * One Kafka connection, as the load generator needs it: a few calls at leisure, then bulk bytes. Answers come in the order of the requests.
 */
import { BulkSocket } from '../bulk-socket.js';
import { type Expected, ResponseScanner } from './response-scanner.js';
import { apiVersionsRequest } from './wire.js';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** `host:port`. */
export function parseAddress(given: string): Address {
  const [, host, port] = /^(?:kafka:\/\/)?([^:/\s]+):(\d+)$/.exec(given) ?? [];
  if (host === undefined) throw new Error(`"${given}" is no address of a Kafka broker; write host:port`);
  return { host, port: Number(port) };
}

export class KafkaConnection {
  readonly socket: BulkSocket;
  /** Once after each chunk: the moment to write what has gathered. */
  onChunkEnd: (() => void) | undefined;
  /** What the next answer is, where no call waits for it. */
  private bulk: (() => Expected) | undefined;
  private readonly calls: Expected[] = [];
  private readonly scanner = new ResponseScanner(() => {
    const expected = this.calls.shift() ?? this.bulk?.();
    if (expected === undefined) throw new Error('the server answered although nothing was asked');
    return expected;
  });

  private constructor({ host, port }: Address, readBufferBytes?: number) {
    this.socket = new BulkSocket(host, port, {
      ...(readBufferBytes === undefined ? {} : { readBufferBytes }),
      onChunk: (bytes, length) => {
        this.scanner.push(bytes, length);
        this.onChunkEnd?.();
      },
    });
  }

  /** Resolves when the server has said which versions it knows. */
  static async open(at: Address, readBufferBytes?: number): Promise<KafkaConnection> {
    const connection = new KafkaConnection(at, readBufferBytes);
    await connection.call(apiVersionsRequest);
    return connection;
  }

  /** A socket on which nothing was said yet, for the stand-in servers that measure the generator itself. */
  static openBare(at: Address): KafkaConnection {
    return new KafkaConnection(at);
  }

  /** From now on every answer is what `next` says when it begins. */
  expect(next: () => Expected): void {
    this.bulk = next;
  }

  /** Sends a request and resolves with its answer, without size and correlation. Not while bulk answers are under way. */
  async call(request: Buffer, limitMs?: number): Promise<Buffer> {
    let answer: Buffer | undefined;
    this.calls.push({
      kind: 'small',
      take: (bytes, at, length) => (answer = Buffer.from(bytes.subarray(at + 4, at + length))),
    });
    this.socket.write(request);
    await this.socket.until('the server answered', () => answer !== undefined, limitMs);
    return answer!;
  }

  close(): void {
    this.socket.destroy();
  }
}

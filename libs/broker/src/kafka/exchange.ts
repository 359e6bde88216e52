import type { Connection } from './connection.js';
import type { KafkaNode } from './kafka-node.js';
import type { Rights } from './rights.js';
import type { Writer } from './writer.js';

/**
 * One request and the answer to it, from when it was read until the answer was handed to the socket.
 *
 * Answers leave in the order of their requests, whenever they are ready. Nothing survives the connection; when the socket goes,
 * `isAbandoned` says that nobody waits any more.
 */
export class Exchange {
  /** The answer in parts; undefined while there is none. An empty one is not sent. */
  parts: readonly Uint8Array[] | undefined;
  /** Called when the socket needs the parts no longer. */
  sent: (() => void) | undefined;
  isAbandoned = false;
  /** Called once when nobody waits any more. */
  abandoned: (() => void) | undefined;

  constructor(
    readonly connection: Connection,
    readonly node: KafkaNode,
    readonly key: number,
    readonly version: number,
    readonly correlationId: number,
    readonly clientId: string,
    /** Bytes of the request, which are held while it waits. */
    readonly bytes: number,
    private readonly hasTags: boolean,
  ) {}

  /** What whoever asks may do. */
  get rights(): Rights {
    return this.connection.rights;
  }

  /** Sends an answer; `writeBody` writes what follows its head. A second one is dropped. */
  respond(writeBody: (writer: Writer) => void, sent?: () => void): void {
    const writer = this.beginAnswer();
    if (writer === undefined) {
      if (this.isAbandoned) sent?.();
      return;
    }
    writeBody(writer);
    this.sent = sent;
    this.endAnswer();
  }

  /** What the answer is written to, behind its head; undefined where nobody waits for one. Ends with `endAnswer`, in the same turn. */
  beginAnswer(): Writer | undefined {
    if (this.parts !== undefined || this.isAbandoned) return undefined;
    const { writer } = this.node;
    writer.begin();
    writer.int32(this.correlationId);
    if (this.hasTags) writer.uvarint(0);
    return writer;
  }

  endAnswer(): void {
    if (this.sent === undefined && this.connection.answeredAtOnce(this, this.node.writer)) return;
    this.parts = this.node.writer.finish();
    this.connection.answered();
  }

  /** The request has no answer: the next one's turn. */
  pass(): void {
    if (this.parts !== undefined) return;
    this.parts = [];
    this.connection.answered();
  }

  /** Something that should not be happened: the connection ends, because no answer would be true. */
  fail(error: unknown): void {
    this.connection.refuse(error);
  }
}

import type { FieldTable } from '../queues/field-table.js';

export interface Route {
  readonly queues: readonly Queue[];
}
export interface Queue {
  readonly name: string;
  readonly messageCount: number;
  readonly consumerCount: number;
}
export interface Consumer {
  readonly tag: string;
  readonly tagBytes: Buffer;
  readonly queue: Queue;
}
export interface Owner {
  readonly isOwner?: true;
}
export interface SessionSink {
  deliver(consumer: Consumer, deliveryTag: number, isRedelivered: boolean, bytes: Buffer, start: number, length: number): void;
  got(deliveryTag: number, isRedelivered: boolean, messageCount: number, bytes: Buffer, start: number, length: number): void;
  confirmed(upTo: number): void;
  cancelled(consumer: Consumer): void;
}
export interface Session {
  isConfirming: boolean;
  publishedCount: number;
  publish(route: Route, isPersistent: boolean, bytes: Buffer, start: number, length: number): void;
  consume(queue: Queue, o: { tag: string; noAck: boolean; exclusive: boolean; prefetch: number; arguments: FieldTable }): Consumer;
  cancel(tag: string): boolean;
  get(queue: Queue, noAck: boolean): boolean;
  acknowledge(tag: number, multiple: boolean): boolean;
  reject(tag: number, multiple: boolean, requeue: boolean): boolean;
  recover(): void;
  sharedPrefetch: number;
  setWritable(isWritable: boolean): void;
  close(): void;
}
export interface VirtualHost {
  readonly name: string;
  readonly turn: { flushSoon(flushable: { isFlushQueued: boolean; flush(): void }): void };
  readonly epoch: number;
  readonly hasPendingDefinitions: boolean;
  afterCommit(run: () => void): void;
  readonly gate: 'open' | 'busy' | 'blocked';
  readonly gateReason: string;
  onGateChange(listener: () => void): () => void;
  declareQueue(
    session: Session,
    name: string,
    o: { passive: boolean; durable: boolean; exclusive: boolean; autoDelete: boolean; arguments: FieldTable },
  ): Queue;
  deleteQueue(session: Session, name: string, o: { ifUnused: boolean; ifEmpty: boolean }): number;
  purgeQueue(session: Session, name: string): number;
  bindQueue(session: Session, queue: string, exchange: string, key: string, args: FieldTable): void;
  unbindQueue(session: Session, queue: string, exchange: string, key: string, args: FieldTable): void;
  declareExchange(
    session: Session,
    name: string,
    type: string,
    o: { passive: boolean; durable: boolean; autoDelete: boolean; internal: boolean; arguments: FieldTable },
  ): void;
  deleteExchange(session: Session, name: string, o: { ifUnused: boolean }): void;
  bindExchange(session: Session, destination: string, source: string, key: string, args: FieldTable): void;
  unbindExchange(session: Session, destination: string, source: string, key: string, args: FieldTable): void;
  findQueue(session: Session, name: string): Queue;
  route(exchange: string, key: string): Route;
  createSession(owner: Owner, sink: SessionSink): Session;
  createOwner(): Owner;
  closeOwner(owner: Owner): void;
}

import type { Network, Socket } from '@dovecote/ground';
import { FrameReader, frameTypes } from '../amqp/frames.js';
import { type Arguments, decodeArguments, methodById } from '../amqp/method-codec.js';
import type { MethodName } from '../amqp/methods.js';
import { handshake, method, openChannel, publish } from '../amqp/scripted-client.js';
import { type Client, propertiesOf, type Publication, type Received } from './client.js';

/** A client on another machine: real frames over the simulated network, one channel, with confirms. */
export async function amqpClient(network: Network, port: number): Promise<Client> {
  const socket = await network.connect({ host: '127.0.0.1', port });
  const client = new AmqpClient(socket);
  await client.open();
  return client;
}

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

class AmqpClient implements Client {
  private readonly reader = new FrameReader(
    {
      takeFast: (_bytes, _view, at) => at,
      takeFrame: (type, _channel, bytes, start, end) => {
        this.take(type, bytes.subarray(start, end));
        return true;
      },
      refuseFrame: () => this.fail(new Error('the server sent a frame that cannot be read')),
    },
    1 << 20,
  );
  /** Methods that were asked for, by the names of their answers, in order. */
  private readonly asked: (Waiting & { readonly answer: MethodName })[] = [];
  private readonly unconfirmed = new Map<number, Waiting>();
  private publishedCount = 0;
  private readonly consumers = new Map<string, (delivery: Received) => void>();
  private delivery: Arguments<'basic.deliver'> | undefined;
  private body = Buffer.alloc(0);
  private missingBytes = 0;
  private isOver = false;

  constructor(private readonly socket: Socket) {
    socket.start({
      onData: (bytes) => this.reader.push(bytes),
      onDrain: () => undefined,
      onClose: () => this.fail(new Error('the connection is closed')),
    });
  }

  open(): Promise<void> {
    const opened = this.answer('channel.open-ok');
    const confirming = this.ask('confirm.select-ok', Buffer.concat([handshake, openChannel, method('confirm.select')]));
    return Promise.all([opened, confirming]).then(() => undefined);
  }

  async declareQueue(queue: string, exchange: string): Promise<void> {
    const declared = this.ask('queue.declare-ok', method('queue.declare', { queue, durable: true }));
    const exchanged = this.ask('exchange.declare-ok', method('exchange.declare', { exchange, type: 'direct', durable: true }));
    const bound = this.ask('queue.bind-ok', method('queue.bind', { queue, exchange, routingKey: queue }));
    await Promise.all([declared, exchanged, bound]);
  }

  deleteQueue(queue: string): Promise<void> {
    return this.ask('queue.delete-ok', method('queue.delete', { queue }));
  }

  purgeQueue(queue: string): Promise<void> {
    return this.ask('queue.purge-ok', method('queue.purge', { queue }));
  }

  publish(publication: Publication): Promise<void> {
    const { exchange, routingKey, body } = publication;
    this.send(publish({ exchange, routingKey }, body, propertiesOf(publication)));
    const tag = ++this.publishedCount;
    return new Promise((resolve, reject) => {
      if (this.isOver) reject(new Error('the connection is closed'));
      else this.unconfirmed.set(tag, { resolve, reject });
    });
  }

  consume(
    queue: string,
    options: { readonly prefetch: number; readonly autoAck: boolean },
    take: (delivery: Received) => void,
  ): Promise<void> {
    const consumerTag = `${queue}-${this.consumers.size}`;
    this.consumers.set(consumerTag, take);
    const limited = this.ask('basic.qos-ok', method('basic.qos', { prefetchCount: options.prefetch }));
    const consuming = this.ask('basic.consume-ok', method('basic.consume', { queue, consumerTag, noAck: options.autoAck }));
    return Promise.all([limited, consuming]).then(() => undefined);
  }

  cancelAll(): void {
    for (const consumerTag of this.consumers.keys()) this.send(method('basic.cancel', { consumerTag, noWait: true }));
  }

  leave(): void {
    this.fail(new Error('the client left'));
  }

  private send(bytes: Buffer): void {
    if (!this.isOver) this.socket.write(bytes);
  }

  private ask(answer: MethodName, bytes: Buffer): Promise<void> {
    this.send(bytes);
    return this.answer(answer);
  }

  private answer(answer: MethodName): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.isOver) reject(new Error('the connection is closed'));
      else this.asked.push({ answer, resolve, reject });
    });
  }

  private fail(error: Error): void {
    if (this.isOver) return;
    this.isOver = true;
    this.reader.stop();
    this.socket.destroy();
    for (const { reject } of [...this.asked.splice(0), ...this.unconfirmed.values()]) reject(error);
    this.unconfirmed.clear();
  }

  private take(type: number, payload: Buffer): void {
    if (type === frameTypes.method) return this.takeMethod(payload);
    if (type === frameTypes.header) {
      this.missingBytes = Number(payload.readBigUInt64BE(4));
      this.body = Buffer.alloc(0);
    } else if (type === frameTypes.body) {
      this.missingBytes -= payload.length;
      this.body = Buffer.concat([this.body, payload]);
    } else return;
    if (this.missingBytes === 0) this.takeMessage();
  }

  private takeMethod(payload: Buffer): void {
    const found = methodById(payload.readUInt32BE(0))!;
    const values = decodeArguments(found, payload, 4, payload.length);
    switch (found.name) {
      case 'basic.deliver':
        this.delivery = values as unknown as Arguments<'basic.deliver'>;
        return;
      case 'basic.ack':
        return this.confirm(values as unknown as Arguments<'basic.ack'>);
      case 'connection.close':
      case 'channel.close':
        return this.fail(new Error(`the server closed: ${String(values['replyText'])}`));
    }
    if (this.asked[0]?.answer === found.name) this.asked.shift()!.resolve();
  }

  private confirm({ deliveryTag, multiple }: Arguments<'basic.ack'>): void {
    if (!this.unconfirmed.has(deliveryTag))
      throw new Error(`tag ${deliveryTag} was confirmed, which was not published or was confirmed before`);
    for (const [tag, { resolve }] of this.unconfirmed) {
      if (tag !== deliveryTag && (!multiple || tag > deliveryTag)) continue;
      this.unconfirmed.delete(tag);
      resolve();
    }
  }

  private takeMessage(): void {
    const { deliveryTag, redelivered, consumerTag } = this.delivery!;
    this.consumers.get(consumerTag)?.({
      body: this.body,
      isRedelivered: redelivered,
      acknowledge: () => this.send(method('basic.ack', { deliveryTag })),
      reject: ({ requeue }) => this.send(method('basic.reject', { deliveryTag, requeue })),
    });
  }
}

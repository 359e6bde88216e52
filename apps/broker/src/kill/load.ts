/**
 * The clients of a kill test: amqplib publishers with confirms, and a consumer that acknowledges each message. They live as long as their connection; what
 * they saw is in the ledger, which outlives them.
 */
import { type ChannelModel, type ConfirmChannel, connect, type ConsumeMessage } from 'amqplib';
import type { SeededRandom } from '@dovecote/ground/testing';
import type { Ledger } from './ledger.js';

export const queue = 'killed';
const unconfirmedMax = 200;
const prefetch = 50;
const bodyBytesMax = 2000;
/** One message in so many is large: several frames, and a journal record that a kill may well tear. */
const largeEvery = 200;
const largeBytes = 300_000;

/** A connection and when it ended, whoever ended it. */
interface Line {
  readonly connection: ChannelModel;
  readonly channel: ConfirmChannel;
  readonly ended: Promise<void>;
}

async function openLine(url: string): Promise<Line> {
  const connection = await connect(url, { noDelay: true });
  connection.on('error', () => undefined);
  const ended = new Promise<void>((resolve) => connection.once('close', () => resolve()));
  const channel = await connection.createConfirmChannel();
  channel.on('error', () => undefined);
  return { connection, channel, ended };
}

export class Publisher {
  private unconfirmed = 0;
  private isStopped = false;
  private idle: () => void = () => undefined;

  private constructor(
    private readonly name: string,
    private readonly line: Line,
    private readonly ledger: Ledger,
    private readonly random: SeededRandom,
  ) {}

  /** Publishes from now on as fast as it is confirmed. Each number is sent once: what a kill left unconfirmed stays unknown. */
  static async start(name: string, url: string, ledger: Ledger, random: SeededRandom): Promise<Publisher> {
    const line = await openLine(url);
    await line.channel.assertQueue(queue);
    const publisher = new Publisher(name, line, ledger, random);
    void line.ended.then(() => (publisher.isStopped = true));
    publisher.fill();
    return publisher;
  }

  get ended(): Promise<void> {
    return this.line.ended;
  }

  /** Publishes no more; resolves when everything is confirmed and the connection is closed. */
  async stop(): Promise<void> {
    this.isStopped = true;
    while (this.unconfirmed > 0) await new Promise<void>((resolve) => (this.idle = resolve));
    await this.line.connection.close();
  }

  private fill(): void {
    while (!this.isStopped && this.unconfirmed < unconfirmedMax) this.publish();
  }

  private publish(): void {
    const number = this.ledger.publish(this.name);
    const length = number % largeEvery === largeEvery - 1 ? largeBytes : this.random.below(bodyBytesMax);
    this.unconfirmed++;
    this.line.channel.sendToQueue(queue, writeBody(this.name, number, length), { persistent: true }, (error: unknown) => {
      this.unconfirmed--;
      if (error === null) {
        this.ledger.confirm(this.name, number);
        this.fill();
      }
      if (this.unconfirmed === 0) this.idle();
    });
  }
}

export class Consumer {
  private static sessions = 0;
  private readonly session = ++Consumer.sessions;
  private taken = 0;
  private woken: () => void = () => undefined;

  private constructor(
    private readonly line: Line,
    private readonly ledger: Ledger,
  ) {}

  static async start(url: string, ledger: Ledger): Promise<Consumer> {
    const line = await openLine(url);
    const consumer = new Consumer(line, ledger);
    await line.channel.assertQueue(queue);
    await line.channel.prefetch(prefetch);
    await line.channel.consume(queue, (message) => consumer.take(message!));
    return consumer;
  }

  get ended(): Promise<void> {
    return this.line.ended;
  }

  /** Resolves when the queue is empty and everything is acknowledged, and closes the connection. */
  async drain(): Promise<void> {
    for (;;) {
      const before = this.taken;
      const { messageCount } = await this.line.channel.checkQueue(queue);
      if (messageCount === 0) break;
      // What was counted may have come with the answer.
      if (this.taken === before) await new Promise<void>((resolve) => (this.woken = resolve));
    }
    await this.line.connection.close();
  }

  private take(message: ConsumeMessage): void {
    const read = readBody(message.content);
    if (read === undefined) this.ledger.deliverForeign(message.content.toString('latin1', 0, 40));
    else this.ledger.deliver(this.session, read.publisher, read.number, message.fields.redelivered);
    this.line.channel.ack(message);
    this.taken++;
    this.woken();
  }
}

/** `publisher:number:` and a filling that depends on the number, so that a body of other bytes shows. */
function writeBody(publisher: string, number: number, length: number): Buffer {
  return Buffer.concat([Buffer.from(`${publisher}:${number}:${length}:`), Buffer.alloc(length, number % 251)]);
}

function readBody(body: Buffer): { readonly publisher: string; readonly number: number } | undefined {
  const [head, publisher = '', digits, length] = /^(\w+):(\d+):(\d+):/.exec(body.toString('latin1', 0, 40)) ?? [];
  const number = Number(digits);
  if (head === undefined || !body.equals(writeBody(publisher, number, Number(length)))) return undefined;
  return { publisher, number };
}

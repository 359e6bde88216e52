import { SimulatedClock, simulatedGround } from '@dovecote/ground/testing';
import { openStorage, type OpenStorage } from '../engine/open-storage.js';
import { defaultLimits, type Limits } from '../limits.js';
import { type AmqpLimits, amqpLimitsWith } from './limits.js';
import { LoopbackNetwork, method, type ScriptedClient } from './scripted-client.js';
import { AmqpServer } from './server.js';

/**
 * For tests: an AMQP server over real queues on a simulated machine, with clients that say exactly the bytes they are told to.
 * With `durability: 'fsync'` a commit takes some of the simulated time, so that what must wait for it can be seen waiting.
 */
export class AmqpWorld {
  readonly logged: string[] = [];
  private constructor(
    readonly clock: SimulatedClock,
    readonly server: AmqpServer,
    readonly storage: OpenStorage,
    private readonly network: LoopbackNetwork,
    logged: string[],
  ) {
    this.logged = logged;
  }

  static async open(
    options: { durability?: 'memory' | 'fsync'; limits?: Partial<Limits>; amqp?: Partial<AmqpLimits> } = {},
  ): Promise<AmqpWorld> {
    const ground = simulatedGround(1);
    const { clock, random } = ground;
    const limits = { ...defaultLimits, ...options.limits };
    const durability = options.durability ?? 'memory';
    const data = durability === 'memory' ? {} : { data: '/data' };
    const storage = await clock.drive(openStorage({ durability, ...data }, ground, limits));
    const network = new LoopbackNetwork();
    const logged: string[] = [];
    const server = await AmqpServer.listen({
      network,
      clock,
      random,
      hosts: storage.hosts,
      at: [{ host: '127.0.0.1', port: 0 }],
      limits: amqpLimitsWith(limits, options.amqp),
      log: (line) => logged.push(line),
    });
    return new AmqpWorld(clock, server, storage, network, logged);
  }

  client(): ScriptedClient {
    return this.network.client();
  }

  /** A client behind its handshake, on channel 1, with nothing to take. */
  async connected(first: Buffer): Promise<ScriptedClient> {
    const client = this.client();
    client.send(first);
    await this.settle();
    client.take();
    return client;
  }

  /** Runs what is due now: the turns of the broker, but nothing that waits for time to pass. */
  async settle(): Promise<void> {
    await this.clock.advance(0);
  }

  async close(): Promise<void> {
    await this.clock.drive(this.server.close({ drainMs: 0 }));
  }
}

/** What is answered; where that is a close, our close-ok must end it, also behind a frame that broke the framing. */
export async function converse(said: readonly Buffer[]): Promise<string[]> {
  const world = await AmqpWorld.open();
  const client = world.client();
  client.send(...said);
  await world.settle();
  const answered = client.take();
  if (answered.some((line) => line.startsWith('connection.close '))) {
    client.send(method('connection.close-ok', {}, 0));
    answered.push(...client.take());
  }
  await world.close();
  return answered;
}

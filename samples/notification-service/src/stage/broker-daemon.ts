/**
 * The built-in broker as a process of its own: the daemon that stands alone in production too.
 *
 * The first start takes a free port. Every later one takes the same port and the same folder, so that the services, which know nothing of all this,
 * find what they were promised.
 */
import { fileURLToPath } from 'node:url';
import { Child, type Program, type Watcher } from './child.js';

const DAEMON = fileURLToPath(new URL('../../../../apps/broker/bundle/main.js', import.meta.url));
const LISTENING = /AMQP listening on \S*:(\d+)/;

export class BrokerDaemon extends Child {
  private port = '0';

  /** `program` is another file to play the broker; tests have one that lies. */
  constructor(folder: string, program: string | undefined, watcher: Watcher) {
    const daemon = (): Program => ({
      file: program ?? DAEMON,
      // Nobody asks for Kafka and the management API here, and a Kafka or a RabbitMQ on this machine may have their ports.
      args: [
        ...['--data', folder, '--amqp-port', this.port, '--durability', 'fsync', '--user', 'guest:guest'],
        ...['--management-port', 'off', '--kafka-port', 'off'],
      ],
      readyLine: LISTENING,
    });
    super('broker', daemon, watcher);
  }

  /** Where the services find it; fit for any AMQP 0-9-1 client on this machine. Known once it has been started. */
  get url(): string {
    return `amqp://guest:guest@127.0.0.1:${this.port}`;
  }

  override async start(): Promise<string> {
    this.port = await super.start();
    return this.port;
  }
}

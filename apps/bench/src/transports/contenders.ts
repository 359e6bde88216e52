/** Who is compared: which program speaks for whom, and where a message of his may be when it was not handled. */
import { existsSync } from 'node:fs';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export type Protocol = 'amqp' | 'kafka';

export interface Contender {
  readonly name: string;
  readonly protocol: Protocol;
  /** The program of his clients. */
  readonly file: string;
  /** As his library takes the address of a broker. */
  at(host: string): string;
  /** Queues, or topics: by what the report calls them. */
  places(name: string): Readonly<Record<string, string>>;
  /** Installs what he needs beside what is there. */
  prepare?(): Promise<void>;
}

const nest11 = fileURLToPath(new URL('../../peers/nest-11/', import.meta.url));
const programAt = (name: string): string => fileURLToPath(new URL(`./${name}.js`, import.meta.url));

export const CONTENDERS = {
  'dovecote-amqp': {
    name: 'Dovecote, AMQP',
    protocol: 'amqp',
    file: programAt('dovecote-client'),
    at: (host) => `amqp://${host}`,
    places: (name) => ({ queue: `dovecote.${name}`, quarantine: `dovecote.${name}.quarantine`, 'dead letters': `dovecote.${name}.dead` }),
  },
  'nest-rmq': {
    name: 'Nest, Transport.RMQ',
    protocol: 'amqp',
    file: programAt('nest-client'),
    at: (host) => `amqp://${host}`,
    places: (name) => ({ queue: name }),
  },
  golevelup: {
    name: '@golevelup/nestjs-rabbitmq',
    protocol: 'amqp',
    file: join(nest11, 'golevelup-client.mjs'),
    at: (host) => `amqp://${host}`,
    places: (name) => ({ queue: name }),
    prepare: installNest11,
  },
  /** The same with what a message of ours says beside its body. */
  'golevelup-envelope': {
    name: '@golevelup with an envelope',
    protocol: 'amqp',
    file: join(nest11, 'golevelup-envelope-client.mjs'),
    at: (host) => `amqp://${host}`,
    places: (name) => ({ queue: name }),
    prepare: installNest11,
  },
  'dovecote-kafka': {
    name: 'Dovecote, Kafka',
    protocol: 'kafka',
    file: programAt('dovecote-client'),
    at: (host) => `kafka://${host}`,
    places: (name) => ({ topic: name, quarantine: `dovecote.${name}.quarantine`, 'dead letters': `dovecote.${name}.dead` }),
  },
  'nest-kafka': {
    name: 'Nest, Transport.KAFKA',
    protocol: 'kafka',
    file: programAt('nest-client'),
    at: (host) => host,
    places: (name) => ({ topic: name }),
  },
} as const satisfies Readonly<Record<string, Contender>>;

export type ContenderName = keyof typeof CONTENDERS;
export const CONTENDER_NAMES = Object.keys(CONTENDERS) as ContenderName[];

/** Its packages have a folder of their own: they are for another Nest than the rest. */
async function installNest11(): Promise<void> {
  if (existsSync(join(nest11, 'node_modules'))) return;
  await promisify(execFile)('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: nest11 });
}

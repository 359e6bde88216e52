/** What a member was parking when it stood still, and what becomes of it where it arrives when its lanes are another's. On our broker, over its socket. */
import { afterEach, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { realGround } from '@dovecote/ground';
import * as library from '@platformatic/kafka';
import { contractOf } from '../../delivery-contract.js';
import { plainEvent } from '../../envelope.js';
import type { Log } from '../../log.js';
import { Messaging } from '../../messaging.js';
import { checkOptions } from '../../options.js';
import type { Subscription } from '../../subscription.js';
import { turn } from '../../turn.js';
import { JumpingClock } from './jumping-clock.js';
import { parseKafkaAddress } from './kafka-address.js';
import type { KafkaClient, KafkaGroupCalls } from './kafka-client.js';
import { KafkaSubject } from './kafka-subject.js';
import type { KafkaTransport } from './kafka-transport.js';
import { PlatformaticClient } from './platformatic-client.js';

const SESSION_MS = 6_000;
const silent: Log = { info: ignore, warn: ignore, error: ignore };
const ends: (() => Promise<void>)[] = [];

function ignore(): void {}

afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

/** A client that can stand still: what it was about to say it says when it goes on. */
class StandingClient {
  #goOn: () => void = ignore;
  #still: Promise<void> | undefined;
  /** Records that wait to be sent. */
  held = 0;

  standStill(): void {
    this.#still = new Promise((resolve) => (this.#goOn = resolve));
  }

  goOn(): void {
    this.#still = undefined;
    this.#goOn();
  }

  over(client: KafkaClient): KafkaClient {
    const [produce, group] = [client.produce.bind(client), client.group.bind(client)];
    client.produce = async (records) => {
      if (this.#still !== undefined) this.held += records.length;
      await this.#still;
      return produce(records);
    };
    client.group = (name) => this.#standing(group(name));
    return client;
  }

  #standing(calls: KafkaGroupCalls): KafkaGroupCalls {
    const [heartbeat, commit] = [calls.heartbeat.bind(calls), calls.commit.bind(calls)];
    calls.heartbeat = async (member) => {
      await this.#still;
      return heartbeat(member);
    };
    calls.commit = async (member, offsets) => {
      await this.#still;
      return commit(member, offsets);
    };
    return calls;
  }
}

it('counts for nothing, and nothing is handled once more', async () => {
  const clock = new JumpingClock();
  const kafka = { port: 0, initialRebalanceDelayMs: 0, offsetsPartitionCount: 1 };
  const broker = await Broker.open({ durability: 'memory', kafka, ground: { ...realGround(), clock } });
  const url = `kafka://127.0.0.1:${broker.kafkaPort}`;
  const subject = new KafkaSubject(url, clock, () => broker.close());
  ends.push(() => subject.close());
  const type = subject.unique('orders.placed');
  const begun: string[] = [];
  const done: string[] = [];

  const start = async (name: string, transport: KafkaTransport, fails: boolean): Promise<void> => {
    const settings = checkOptions({ service: subject.unique('readers'), broker: url, drainTimeoutMs: 0, abortGraceMs: 0 });
    const messaging = new Messaging(settings, transport, silent);
    ends.push(() => messaging.close());
    const place = 'Readers.read';
    const subscription: Subscription = {
      kind: 'event',
      pattern: type,
      topic: undefined,
      messageClass: undefined,
      schema: undefined,
      contract: contractOf({ order: 'key', retry: { attempts: 3, backoff: 'delayed', firstMs: 30 } }, place),
      place,
      handle: (_event, { id }) => {
        begun.push(`${name} ${id}`);
        if (fails) return Promise.reject(new Error('down'));
        done.push(id);
        return Promise.resolve();
      },
    };
    await messaging.start([subscription]);
  };
  const publisher = subject.transport();
  await publisher.open();
  const publish = (id: string): Promise<void> => {
    const event = { ...plainEvent, type, source: 'shop', time: undefined, key: 'o-1', version: 1, contentType: 'application/json' };
    return publisher.publish({ ...event, id, body: Buffer.from('{}') }, Number.POSITIVE_INFINITY);
  };

  const standing = new StandingClient();
  const address = parseKafkaAddress(url);
  const client = new PlatformaticClient(library, { address, clientId: 'first', acks: 'all', compression: 'none' });
  await start('first', subject.transport({ loadClient: () => Promise.resolve(standing.over(client)) }), true);
  standing.standStill();
  for (const id of ['m-0', 'm-1']) await publish(id);
  while (standing.held === 0) await turn();
  // Its session is over, and nobody could tell it.
  await subject.pass(SESSION_MS + 1_000);
  const second = subject.transport();
  await start('second', second, false);
  while (done.length < 2) await turn();
  standing.goOn();
  for (let count = 0; count < 300; count++) await turn();
  await subject.crash(second);
  await start('third', subject.transport(), false);
  await publish('m-2');
  while (done.length < 3) await turn();
  for (let count = 0; count < 300; count++) await turn();
  expect(done).toEqual(['m-0', 'm-1', 'm-2']);
  expect(begun.filter((line) => !line.startsWith('first'))).toEqual(['second m-0', 'second m-1', 'third m-2']);
});

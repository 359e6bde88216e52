import { afterEach, describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { RealNetwork } from '@dovecote/ground';
import { SeededRandom, SimulatedClock } from '@dovecote/ground/testing';
import amqplib from 'amqplib';
import { Backoff } from '../backoff.js';
import { type Envelope, plainEvent } from '../envelope.js';
import { MessagingError, reasonOf } from '../errors.js';
import type { Log } from '../log.js';
import { checkOptions } from '../options.js';
import type { Incoming, SubscriptionRequest, TransportConsumer } from '../transport.js';
import { turn } from '../turn.js';
import { parseAddress } from './amqp-address.js';
import { AmqpSubject } from './amqp-subject.js';
import { type AmqpSettings, AmqpTransport } from './amqp-transport.js';
import { chooseTransport } from './choose-transport.js';
import { EVENTS_EXCHANGE, deadLettersOf, queueOf } from './topology.js';

const FOREVER = Number.POSITIVE_INFINITY;

const lines: string[] = [];
const note = (line: string): void => void lines.push(line);
const log: Log = { info: note, warn: note, error: note };
const subjects: AmqpSubject[] = [];

afterEach(async () => {
  for (const subject of subjects.splice(0)) await subject.close();
  lines.length = 0;
});

/** Our broker behind a socket, with relays in front of it. */
async function openBroker(): Promise<{ broker: Broker; subject: AmqpSubject }> {
  const broker = await Broker.open({ durability: 'memory', amqp: { port: 0 } });
  const subject = await AmqpSubject.open(`amqp://guest:guest@127.0.0.1:${broker.amqpPort}`, () => broker.close(), log, 3);
  subjects.push(subject);
  return { broker, subject };
}

/** What became of each of these, published at once. */
async function outcomesOf(transport: AmqpTransport, envelopes: readonly Envelope[]): Promise<unknown[]> {
  const outcomes = await Promise.allSettled(envelopes.map((one) => transport.publish(one, FOREVER)));
  return outcomes.map((one) => (one.status === 'fulfilled' ? 'confirmed' : (one.reason as MessagingError).code));
}

async function open(): Promise<AmqpSubject> {
  return (await openBroker()).subject;
}

function settingsOf(url: string, clock: SimulatedClock): AmqpSettings {
  return {
    address: parseAddress(url),
    service: 'shop',
    queueType: 'quorum',
    lanes: 1,
    connectTimeoutMs: 60_000,
    loadClient: () => Promise.resolve(amqplib.connect),
    clock,
    random: new SeededRandom(1),
    backoff: new Backoff(new SeededRandom(1), 100, 5_000),
    log,
  };
}

function envelope(id: string): Envelope {
  const fixed = {
    type: 'placed',
    source: 'shop',
    time: '2026-01-01T00:00:00.000Z',
    key: undefined,
    version: 1,
    contentType: 'application/json',
  };
  return { ...plainEvent, ...fixed, id, body: Buffer.from('{}') };
}

function readers(prefetch: number): SubscriptionRequest {
  return { group: 'readers', sources: [{ kind: 'event', pattern: 'placed', topic: undefined, order: 'none' }], prefetch };
}

function receiving(onMessage: (incoming: Incoming) => unknown): TransportConsumer {
  return { onMessage: (incoming) => void onMessage(incoming), assigned: () => Promise.resolve(), revoked: () => Promise.resolve() };
}

function idOf(incoming: Incoming): string {
  return incoming.envelope.id ?? '';
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await turn();
}

async function errorOf(work: Promise<unknown>): Promise<MessagingError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(MessagingError);
  return error as MessagingError;
}

describe('a message that is too large for the broker', () => {
  it('is told apart from those that were on their way with it, which may be sent again', async () => {
    const broker = await Broker.open({ durability: 'memory', amqp: { port: 0 }, limits: { messageBytesMax: 1_000 } });
    const subject = await AmqpSubject.open(`amqp://guest:guest@127.0.0.1:${broker.amqpPort}`, () => broker.close(), log, 2);
    subjects.push(subject);
    const transport = subject.transport();
    await transport.open();
    const refused = await outcomesOf(transport, [envelope('a'), { ...envelope('large'), body: Buffer.alloc(1_001) }, envelope('b')]);
    expect(refused[1]).toBe('too-large');
    expect([...refused.slice(0, 1), ...refused.slice(2)].filter((one) => one !== 'confirmed' && one !== 'publish-refused')).toEqual([]);
    expect(await outcomesOf(transport, [envelope('a'), envelope('b')])).toEqual(['confirmed', 'confirmed']);
  });
});

describe('when the connection is lost', () => {
  it('sends again what was not confirmed, in order and under the same ids, and says what it does', async () => {
    const subject = await open();
    const [sender, reader] = [subject.transport(), subject.transport()];
    await sender.open();
    await reader.open();
    const seen: string[] = [];
    await reader.subscribe(
      readers(100),
      receiving((incoming) => {
        seen.push(idOf(incoming));
        incoming.acknowledge();
      }),
    );
    const relay = subject.relays.get(sender)!;
    relay.holdAnswers();
    const published = ['a', 'b', 'c'].map((id) => sender.publish(envelope(id), FOREVER));
    await until(() => seen.length === 3);
    relay.refuse();
    const during = ['d', 'e'].map((id) => sender.publish(envelope(id), FOREVER));
    await until(() => lines.some((line) => line.includes('Still no connection')));
    relay.accept();
    relay.releaseAnswers();
    await Promise.all([...published, ...during]);
    await until(() => seen.length === 8);
    expect(seen).toEqual(['a', 'b', 'c', 'a', 'b', 'c', 'd', 'e']);
    expect(lines[0]).toMatch(
      /^contract \(publishing\): Lost the connection to the broker at amqp:\/\/127\.0\.0\.1:\d+ \(.*\)\. Trying again in \d+ ms; nothing is lost meanwhile\.$/,
    );
    expect(lines.at(-1)).toMatch(/connected to the broker at .* again\.$/);
    expect(lines.join('\n')).not.toContain('guest');
  });

  it('brings its consumer back, gets again what it had not acknowledged, and knows that the old delivery is void', async () => {
    const subject = await open();
    const reader = subject.transport();
    await reader.open();
    const deliveries: Incoming[] = [];
    await reader.subscribe(
      readers(100),
      receiving((incoming) => deliveries.push(incoming)),
    );
    await reader.publish(envelope('a'), FOREVER);
    await until(() => deliveries.length === 1);
    subject.relays.get(reader)!.cut();
    await until(() => deliveries.length === 2);
    const [before, after] = deliveries as [Incoming, Incoming];
    expect([idOf(after), before.isRedelivered, after.isRedelivered]).toEqual(['a', false, true]);
    expect([before.isTakenBack, after.isTakenBack]).toEqual([true, false]);
    before.acknowledge();
    before.release();
    after.acknowledge();
    await reader.publish(envelope('b'), FOREVER);
    await until(() => deliveries.length === 3);
    expect(idOf(deliveries[2]!)).toBe('b');
  });

  it('does not send what its publisher has given up', async () => {
    const subject = await open();
    const sender = subject.transport();
    await sender.open();
    const relay = subject.relays.get(sender)!;
    relay.refuse();
    await until(() => lines.length > 0);
    const expired = errorOf(sender.publish(envelope('late'), subject.clock.monotonicMs()));
    const published = sender.publish(envelope('fresh'), FOREVER);
    expect((await expired).code).toBe('publish-timeout');
    relay.accept();
    await published;
  });

  it('declares again what somebody deleted', async () => {
    const subject = await open();
    const [sender, reader] = [subject.transport(), subject.transport()];
    await sender.open();
    await reader.open();
    const seen: string[] = [];
    await reader.subscribe(
      readers(1),
      receiving((incoming) => {
        seen.push(idOf(incoming));
        incoming.acknowledge();
      }),
    );
    await subject.administer((channel) => channel.deleteQueue(queueOf('readers')));
    await until(() => lines.some((line) => line.includes('contract (consuming): connected')));
    expect(lines.join('\n')).toContain('the queue dovecote.readers was deleted');
    await subject.administer((channel) => channel.deleteExchange(EVENTS_EXCHANGE));
    const refused = await errorOf(sender.publish(envelope('refused'), FOREVER));
    expect([refused.code, refused.retryable]).toEqual(['publish-refused', true]);
    expect(refused.message).toMatch(/did not take placed refused: .*404/);
    await until(() => lines.some((line) => line.includes('contract (publishing): connected')));
    await sender.publish(envelope('taken'), FOREVER);
  });

  it('ends at once when it is closed in the middle of reconnecting', async () => {
    const subject = await open();
    const sender = subject.transport();
    await sender.open();
    subject.relays.get(sender)!.refuse();
    await until(() => lines.length > 0);
    const pending = errorOf(sender.publish(envelope('a'), FOREVER));
    await sender.close();
    expect((await pending).code).toBe('closed');
  });
});

describe('at the start', () => {
  /** Nobody listens at this port any more. */
  async function deadPort(): Promise<number> {
    const listener = await new RealNetwork().listen({ host: '127.0.0.1', port: 0 }, (socket) => socket.destroy());
    await listener.close();
    return listener.port;
  }

  it('keeps trying with growing pauses, says so each time, and gives up after connectTimeoutMs', async () => {
    const clock = new SimulatedClock();
    const port = await deadPort();
    const transport = new AmqpTransport(settingsOf(`amqp://user:secret@127.0.0.1:${port}`, clock));
    const outcomes: MessagingError[] = [];
    void errorOf(transport.open()).then((error) => outcomes.push(error));
    while (outcomes.length === 0) {
      const said = lines.length;
      await until(() => lines.length > said || outcomes.length > 0);
      clock.step();
    }
    const outcome = outcomes[0]!;
    const pauses = lines.map((line) => Number(/Is it running\? Trying again in (\d+) ms\.$/.exec(line)?.[1]));
    expect(pauses[0]).toBeGreaterThanOrEqual(100);
    expect(pauses[0]).toBeLessThanOrEqual(200);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(5_000);
    expect(pauses.reduce((sum, pause) => sum + pause, 0)).toBe(60_000);
    expect(outcome.code).toBe('broker-unreachable');
    expect(outcome.message).toMatch(
      new RegExp(
        `^No connection to the broker at amqp://127\\.0\\.0\\.1:${port} within 60000 ms \\(.*ECONNREFUSED.*\\)\\. Start the broker`,
      ),
    );
    expect([...lines, outcome.message].join('\n')).not.toContain('secret');
    await transport.close();
  });

  it('connects when the broker comes', async () => {
    const subject = await open();
    const transport = subject.transport();
    subject.relays.get(transport)!.refuse();
    const opened = transport.open();
    await until(() => lines.length > 1);
    subject.relays.get(transport)!.accept();
    await opened;
    await expect(transport.publish(envelope('a'), FOREVER)).resolves.toBeUndefined();
  });

  it('gives up at once where trying again cannot help', async () => {
    const { broker } = await openBroker();
    const at = `127.0.0.1:${broker.amqpPort}`;
    const outcome = async (url: string): Promise<string> => {
      const transport = chooseTransport(checkOptions({ service: 'shop', broker: url }), log);
      const { code, message } = await errorOf(transport.open());
      await transport.close();
      return `${code}: ${message}`;
    };
    expect(await outcome(`amqp://guest:wrong@${at}`)).toMatch(/^broker-refused: .*ACCESS.REFUSED.* Check the user, the password/);
    expect(await outcome(`amqp://guest:guest@${at}/nowhere`)).toMatch(/^broker-refused: .* Check the virtual host/);
    expect(() => parseAddress('amqp://')).toThrow('names no host');
    expect(() => parseAddress('amqp://user:se%cret@[bad')).toThrow(/^The broker's URL cannot be read (?!.*cret)/);
    expect(lines).toEqual([]);
  });

  it('says when what answers is no AMQP broker, or speaks no TLS', async () => {
    const listener = await new RealNetwork().listen({ host: '127.0.0.1', port: 0 }, (socket) => {
      socket.start({
        onData: () => void socket.write(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')),
        onDrain: () => undefined,
        onClose: () => undefined,
      });
    });
    for (const [scheme, answer] of [
      ['amqp', 'no AMQP broker'],
      ['amqps', 'no TLS at this port'],
    ] as const) {
      lines.length = 0;
      const transport = chooseTransport(checkOptions({ service: 'shop', broker: `${scheme}://127.0.0.1:${listener.port}` }), log);
      const ended = errorOf(transport.open());
      await until(() => lines.length > 0);
      expect(lines[0]).toMatch(new RegExp(`^Cannot reach the broker at ${scheme}://.*${answer}.*Trying again in \\d+ ms\\.$`));
      await transport.close();
      expect((await ended).code).toBe('closed');
    }
    await listener.close();
  });

  it('says what is there, what differs and what it would make, and makes nothing', async () => {
    const subject = await open();
    await subject.administer(async (channel) => {
      await channel.assertQueue(queueOf('readers'), { durable: true, arguments: { 'x-queue-type': 'classic' } });
      await channel.assertQueue(deadLettersOf('readers'), {
        durable: true,
        arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': -1 },
      });
    });
    const reader = subject.transport();
    await reader.open();
    for (let round = 0; round < 2; round++) {
      const planned = await reader.plan(readers(1));
      expect(planned.filter(({ thing }) => thing.includes('queue')).map(({ thing, state }) => `${thing}: ${state}`)).toEqual([
        'quorum queue dovecote.readers: different',
        'quorum queue dovecote.readers.quarantine: absent',
        'quorum queue dovecote.readers.dead: present',
      ]);
      expect(planned.find(({ state }) => state === 'different')!.detail).toMatch(/inequivalent arg 'x-queue-type'/);
    }
  });

  it('refuses a RabbitMQ whose quorum queues would drop what comes back', async () => {
    const { broker } = await openBroker();
    const outcome = async (version: string, queueType: 'quorum' | 'classic'): Promise<string> => {
      const transport = new AmqpTransport({
        ...settingsOf(`amqp://guest:guest@127.0.0.1:${broker.amqpPort}`, new SimulatedClock()),
        queueType,
        loadClient: () =>
          Promise.resolve(async (...where) => {
            const connection = await amqplib.connect(...where);
            Object.assign(connection.connection.serverProperties, { version });
            return connection;
          }),
      });
      const opened = await transport.open().catch(reasonOf);
      await transport.close();
      return opened ?? 'opened';
    };
    expect(await outcome('3.13.7', 'quorum')).toMatch(/^The broker at amqp:.* is RabbitMQ 3\.13\.7, .* use RabbitMQ 4\.0 or newer, or say/);
    expect(await outcome('3.13.7', 'classic')).toBe('opened');
    expect(await outcome('4.0.0-rc.1', 'quorum')).toBe('opened');
  });

  it('says when a queue of that name is another kind', async () => {
    const subject = await open();
    await subject.administer((channel) => channel.assertQueue(queueOf('readers'), { durable: false }));
    const reader = subject.transport();
    await reader.open();
    const error = await errorOf(
      reader.subscribe(
        readers(1),
        receiving(() => undefined),
      ),
    );
    expect(error.code).toBe('broker-refused');
    expect(error.message).toMatch(/PRECONDITION.FAILED.*dovecote\.readers.* delete it/);
  });
});

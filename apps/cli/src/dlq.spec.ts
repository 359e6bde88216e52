/** Dead letters from the command line, over both protocols of a real broker: what is printed, how it ends, and what is there afterwards. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Broker, type BrokerSession } from '@dovecote/broker';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Ran, type Script, runScripted as dovecote } from './scripted-terminal.js';

const hourMs = 3_600_000;
let broker: Broker;
let folder: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'dovecote-dlq-'));
  broker = await Broker.open({
    durability: 'memory',
    amqp: { port: 0 },
    kafka: { port: 0, initialRebalanceDelayMs: 0, offsetsPartitionCount: 1 },
  });
});
afterEach(async () => {
  await broker.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Letter {
  readonly id: string;
  readonly type?: string;
  readonly cause?: string;
  readonly handler?: string;
  readonly ageMs?: number;
  readonly dataSchema?: string;
}

/** A service that died, with its boxes. */
interface Shop {
  readonly url: string;
  bury(letter: Letter): Promise<void>;
  /** What was sent to it again: id and payload. */
  inbox(): Promise<readonly string[]>;
}

function deathOf({ cause = 'attempts', handler = 'Shop.place', ageMs = 0 }: Letter): string {
  return JSON.stringify({ cause, atMs: Date.now() - ageMs, reason: 'the till is down', group: 'shop', handler });
}

async function overAmqp(): Promise<Shop> {
  const session: BrokerSession = broker.session();
  await session.declareExchange('dovecote.boxes', 'direct', { durable: true });
  for (const queue of ['dovecote.shop', 'dovecote.shop.dead']) await session.declareQueue(queue, { durable: true });
  await session.bindQueue('dovecote.shop', 'dovecote.boxes', 'dovecote.shop');
  return {
    url: `amqp://127.0.0.1:${broker.amqpPort}`,
    async bury(letter) {
      const { dataSchema } = letter;
      const headers: Record<string, string> = {
        'dovecote-death': deathOf(letter),
        ...(dataSchema === undefined ? {} : { cloudEvents_dataschema: dataSchema }),
      };
      const properties = {
        messageId: letter.id,
        type: letter.type ?? 'orders.placed',
        contentType: 'application/json',
        deliveryMode: 2 as const,
        headers,
      };
      await session.publish({ exchange: '', routingKey: 'dovecote.shop.dead', body: Buffer.from(`{"of":"${letter.id}"}`), properties });
    },
    async inbox() {
      const found: string[] = [];
      for (let one = await session.get('dovecote.shop'); one !== undefined; one = await session.get('dovecote.shop')) {
        found.push(`${String(one.properties.messageId)} ${Buffer.from(one.body).toString()}`);
        one.acknowledge();
      }
      return found;
    },
  };
}

async function overKafka(): Promise<Shop> {
  const at = ['-b', `127.0.0.1:${broker.kafkaPort}`];
  await dovecote(['topics', 'create', 'dovecote.shop.dead', 'dovecote.shop.inbox', ...at]);
  return {
    url: `kafka://127.0.0.1:${broker.kafkaPort}`,
    async bury(letter) {
      const { id, type = 'orders.placed', dataSchema } = letter;
      const headers = { ce_id: id, ce_type: type, 'dovecote-death': deathOf(letter), ...(dataSchema && { ce_dataschema: dataSchema }) };
      const input = `${JSON.stringify({ key: id, value: { of: id }, headers })}\n`;
      expect(await dovecote(['produce', 'dovecote.shop.dead', '--json', ...at], { input })).toEqual({ code: 0, out: '', err: '' });
    },
    async inbox() {
      const { out } = await dovecote(['consume', 'dovecote.shop.inbox', '--exit', '--json', ...at]);
      const records = out.split('\n').filter((line) => line !== '');
      return records.map((line) => {
        const { value, headers } = JSON.parse(line) as { value: string; headers: readonly { name: string; value: string }[] };
        return `${headers.find(({ name }) => name === 'ce_id')?.value} ${value}`;
      });
    },
  };
}

describe.each([
  ['AMQP', overAmqp],
  ['Kafka', overKafka],
] as const)('dovecote dlq, over %s', (_protocol, open) => {
  let shop: Shop;
  beforeEach(async () => {
    shop = await open();
  });
  const dlq = (words: string, given: Script = {}): Promise<Ran> =>
    dovecote(['dlq', ...words.split(' ')], { ...given, environment: { ...given.environment, DOVECOTE_BROKER: shop.url } });
  const ids = async (filters = ''): Promise<string> => {
    const { out } = await dlq(`list shop --json ${filters}`.trim());
    return (JSON.parse(out) as { id: string }[]).map(({ id }) => id).join(' ');
  };

  it('lists and shows, chosen by what is asked, and everything stays', async () => {
    await shop.bury({ id: 'a', ageMs: 2 * hourMs });
    await shop.bury({ id: 'b', type: 'orders.paid', cause: 'fatal' });
    await shop.bury({ id: 'c', type: 'stock.low', handler: 'Shop.order' });
    const { out, code } = await dlq('list shop');
    expect([code, out.split('\n')[0]]).toEqual([0, 'id  type           key  cause     handler     died                      reason']);
    expect(out).toMatch(/\nb {3}orders\.paid +fatal +Shop\.place {2}\d{4}-\S+Z {2}the till is down\n/);
    expect(await ids()).toBe('a b c');
    expect(await ids('--type orders.*')).toBe('a b');
    expect(await ids('--type orders.paid --type stock.#')).toBe('b c');
    expect(await ids('--cause fatal')).toBe('b');
    expect(await ids('--handler Shop.order')).toBe('c');
    expect(await ids('--older-than 1h')).toBe('a');
    expect(await ids('--younger-than 1h --limit 1')).toBe('b');
    expect(await ids('--id c --id a')).toBe('a c');
    const shown = JSON.parse((await dlq('show shop b')).out) as object;
    expect(shown).toMatchObject({ id: 'b', death: { cause: 'fatal', handler: 'Shop.place' }, payload: { of: 'b' } });
    expect(await dlq('show shop z')).toMatchObject({ code: 1, err: expect.stringContaining("There is no dead letter z of 'shop'") });
    expect(await ids()).toBe('a b c');
  });

  it('sends them again once each, and says first what it would do', async () => {
    for (const id of ['a', 'b', 'c']) await shop.bury({ id });
    expect(await dlq('redrive shop --dry-run -n 2')).toMatchObject({
      code: 0,
      err: "dovecote: 2 dead letters of 'shop' would be sent again\n",
    });
    expect(await shop.inbox()).toEqual([]);
    expect((await dlq('redrive shop --id b')).out).toBe("1 dead letter of 'shop' was sent again.\n");
    expect(await ids()).toBe('a c');
    expect(JSON.parse((await dlq('redrive shop --json')).out)).toEqual({ seen: 2, done: 2, isStopped: false });
    expect((await shop.inbox()).toSorted()).toEqual(['a {"of":"a"}', 'b {"of":"b"}', 'c {"of":"c"}']);
    expect((await dlq('redrive shop')).out).toMatch(/^There was no dead letter of 'shop' to be had/);
  });

  it('sends each once where two do it at once', async () => {
    const all = Array.from({ length: 30 }, (_, index) => `id-${10 + index}`);
    for (const id of all) await shop.bury({ id });
    const reports = await Promise.all([dlq('redrive shop --json'), dlq('redrive shop --json')]);
    const done = reports.map(({ out }) => (JSON.parse(out) as { done: number }).done);
    expect(done[0]! + done[1]!).toBe(30);
    const sent = (await shop.inbox()).map((line) => line.split(' ')[0] ?? '');
    expect(sent.toSorted()).toEqual(all);
    expect(await ids()).toBe('');
  });

  it('stops between two at Ctrl-C, and says what was done', async () => {
    for (const id of ['a', 'b', 'c']) await shop.bury({ id });
    // The second would be sent in a thousand seconds, so only the end of waiting can end this.
    const stopping = (stop: () => void): void => {
      const timer = setInterval(() => {
        void shop.inbox().then((sent) => {
          if (sent.length === 0) return;
          clearInterval(timer);
          stop();
        });
      }, 20);
    };
    const { code, out } = await dlq('redrive shop --rate 0.001', { onStop: stopping });
    expect([code, out]).toEqual([0, "Stopped: 1 dead letter of 'shop' was sent again; the others are where they were.\n"]);
    expect(await ids()).toBe('b c');
  });

  it('throws away only what somebody agreed to', async () => {
    for (const id of ['a', 'b', 'c']) await shop.bury({ id, cause: id === 'c' ? 'fatal' : 'attempts' });
    expect(await dlq('purge shop')).toMatchObject({ code: 2, err: expect.stringContaining('say --yes') });
    const refused = await dlq('purge shop --cause attempts', { typed: ['no'] });
    expect(refused).toMatchObject({
      code: 0,
      out: 'Nothing was thrown away.\n',
      err: expect.stringContaining("2 dead letters of 'shop' would be gone"),
    });
    expect((await dlq('purge shop --dry-run')).err).toBe("dovecote: 3 dead letters of 'shop' would be thrown away\n");
    expect(await ids()).toBe('a b c');
    expect((await dlq('purge shop --cause attempts', { typed: ['yes'] })).out).toBe("2 dead letters of 'shop' were thrown away.\n");
    expect(await ids()).toBe('c');
    expect((await dlq('purge shop --yes')).out).toBe("1 dead letter of 'shop' was thrown away.\n");
    expect(await ids()).toBe('');
    expect(await shop.inbox()).toEqual([]);
  });

  it('sends one with another payload, from a file, standard input or the editor, if it fits its schema', async () => {
    const schema = join(folder, 'schema.json');
    writeFileSync(schema, JSON.stringify({ type: 'object', required: ['total'], properties: { total: { type: 'number' } } }));
    const server = createServer((_request, response) =>
      response.end('{"$schema":"https://json-schema.org/draft/2020-12/schema","required":["total"]}'),
    );
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const dataSchema = `http://127.0.0.1:${(server.address() as AddressInfo).port}/placed.json`;
    for (const id of ['a', 'b', 'c']) await shop.bury({ id, dataSchema });
    expect(await dlq(`resend shop a --schema ${schema}`, { input: '{"total":"3"}' })).toMatchObject({
      code: 2,
      err: 'dovecote: Nothing was sent: the payload does not fit its schema (/total must be number)\n',
    });
    expect(await dlq('resend shop a --schema dataschema', { input: '{}' })).toMatchObject({
      code: 2,
      err: expect.stringContaining("'total'"),
    });
    expect((await dlq(`resend shop a --schema dataschema --dry-run`, { input: '{"total":3}' })).out).toBe('a would be sent; it was not.\n');
    expect(await dlq('resend shop a', { input: '{' })).toMatchObject({ code: 2, err: expect.stringContaining('is no JSON') });
    expect(await ids()).toBe('a b c');
    expect((await dlq(`resend shop a --schema ${schema}`, { input: '{"total":3}' })).out).toBe("1 dead letter of 'shop' was sent again.\n");
    const file = join(folder, 'payload.json');
    writeFileSync(file, '{"total":4}');
    await dlq(`resend shop b --payload ${file} --schema dataschema`);
    const editor = join(folder, 'editor.sh');
    writeFileSync(editor, `#!/bin/sh\nsed -i 's/"of"/"total"/' "$1"\n`);
    chmodSync(editor, 0o700);
    await dlq('resend shop c', { typed: [], environment: { EDITOR: editor } });
    server.close();
    expect((await shop.inbox()).toSorted()).toEqual(['a {"total":3}', 'b {"total":4}', 'c {"total":"c"}']);
    expect(await ids()).toBe('');
  });

  it('says what is wrong, and does nothing then', async () => {
    expect(await dlq('list nobody')).toMatchObject({ code: 1, err: expect.stringMatching(/dead-letters of 'nobody' cannot be read/) });
    expect(await dlq('list shop --cause tired')).toMatchObject({
      code: 2,
      err: expect.stringContaining('--cause must be one of attempts'),
    });
    expect(await dlq('list shop --older-than week')).toMatchObject({ code: 2, err: expect.stringContaining('30s, 10m') });
    expect(await dlq('list shop --type a..b')).toMatchObject({ code: 2, err: expect.stringContaining('--type') });
    expect(await dlq('redrive shop --rate 0')).toMatchObject({ code: 2, err: expect.stringContaining('--rate') });
  });
});

it('says where no broker is and what is none', async () => {
  const at = (url: string): Promise<Ran> => dovecote(['dlq', 'list', 'shop', '--broker', url]);
  expect(await at('http://127.0.0.1')).toMatchObject({ code: 2, err: expect.stringContaining('--broker must be such as amqp://') });
  const wrong = await dovecote(['dlq', 'list', 'shop', '--broker', `amqp://127.0.0.1:${broker.amqpPort}`, '--user', 'ann'], {
    environment: { DOVECOTE_PASSWORD: 'wrong' },
  });
  expect(wrong).toMatchObject({ code: 3, err: expect.stringContaining('Check the user, the password') });
});

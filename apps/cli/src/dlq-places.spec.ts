/** Dead letters in the folder of an embedded broker, and those whose payload is no JSON or is kept elsewhere: what is shown, what is sent again, and what is refused. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Broker } from '@dovecote/broker';
import { FolderClaimStore } from '@dovecote/messaging/dead-letters';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Ran, type Script, runScripted } from './scripted-terminal.js';

const avro = Buffer.from([0, 0, 0, 0, 7, 6, 0xff, 0xfe, 0x80]);
const dataSchema = 'https://schemas.example/order-placed/1';

let folder: string;
let data: string;
/** The broker of the application, while that runs. */
let broker: Broker | undefined;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'dovecote-dlq-places-'));
  data = join(folder, 'data');
  await openBroker();
  const session = broker!.session();
  await session.declareExchange('dovecote.boxes', 'direct', { durable: true });
  for (const queue of ['dovecote.shop', 'dovecote.shop.dead']) await session.declareQueue(queue, { durable: true });
  await session.bindQueue('dovecote.shop', 'dovecote.boxes', 'dovecote.shop');
});

afterEach(async () => {
  await broker?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** As an application with `embedded:` opens it. */
async function openBroker(): Promise<void> {
  broker = await Broker.open({ data, durability: 'os', door: true });
}

async function stopApplication(): Promise<void> {
  await broker?.close();
  broker = undefined;
}

interface Letter {
  readonly id: string;
  readonly body: Uint8Array;
  readonly contentType: string;
  readonly headers?: Readonly<Record<string, string>>;
}

async function bury({ id, body, contentType, headers = {} }: Letter): Promise<void> {
  const death = JSON.stringify({ cause: 'attempts', atMs: Date.now(), reason: 'the till is down', group: 'shop', handler: 'Shop.place' });
  await broker!.session().publish({
    exchange: '',
    routingKey: 'dovecote.shop.dead',
    body,
    properties: { messageId: id, type: 'orders.placed', contentType, deliveryMode: 2, headers: { 'dovecote-death': death, ...headers } },
  });
}

/** What was sent to the service again: id, content type, schema, reference and bytes. */
async function inbox(): Promise<readonly object[]> {
  const session = broker!.session();
  const found: object[] = [];
  for (let one = await session.get('dovecote.shop'); one !== undefined; one = await session.get('dovecote.shop')) {
    const { messageId, contentType, headers } = one.properties;
    found.push({
      id: messageId,
      contentType,
      dataSchema: headers?.['cloudEvents_dataschema'],
      dataRef: headers?.['cloudEvents_dataref'],
      body: Buffer.from(one.body).toString('hex'),
    });
    one.acknowledge();
  }
  return found;
}

function dlq(words: string, script: Script = {}): Promise<Ran> {
  const environment = { DOVECOTE_BROKER: `embedded:${data}`, ...script.environment };
  return runScripted(['dlq', ...words.split(' ')], { ...script, environment });
}

const placed = { id: 'a', contentType: 'application/json', body: Buffer.from('{"of":"a"}') };
const binary = { id: 'b', contentType: 'application/avro', body: avro, headers: { cloudEvents_dataschema: dataSchema } };

describe('dovecote dlq, in the folder of an embedded broker', () => {
  it('joins the application that has it, whatever durability that chose', async () => {
    await bury(placed);
    expect((await dlq('list shop')).out).toMatch(/\na {3}orders\.placed /);
    expect(await dlq('redrive shop')).toEqual({ code: 0, out: "1 dead letter of 'shop' was sent again.\n", err: '' });
    expect(await inbox()).toMatchObject([{ id: 'a', body: placed.body.toString('hex') }]);
  });

  it('opens it where no application has it, and leaves it as it was but for what was asked', async () => {
    await bury(placed);
    await bury(binary);
    await stopApplication();
    expect(JSON.parse((await dlq('list shop --json')).out)).toMatchObject([{ id: 'a' }, { id: 'b' }]);
    expect((await dlq('redrive shop --id a')).code).toBe(0);
    expect(JSON.parse((await dlq('list shop --json')).out)).toMatchObject([{ id: 'b' }]);
    await openBroker();
    expect(await inbox()).toMatchObject([{ id: 'a' }]);
  });

  it('makes no broker where there is none', async () => {
    const elsewhere = join(folder, 'elsewhere');
    const refused = await dlq('list shop', { environment: { DOVECOTE_BROKER: `embedded:${elsewhere}` } });
    expect(refused).toEqual({
      code: 3,
      out: '',
      err: `dovecote: There is no broker's data in ${elsewhere}: give the folder that the application has in embedded:FOLDER\n`,
    });
    expect(existsSync(elsewhere)).toBe(false);
    expect(await dlq('list shop', { environment: { DOVECOTE_BROKER: 'embedded:' } })).toMatchObject({
      code: 2,
      err: expect.stringContaining('what is in memory only it can see'),
    });
  });
});

describe('a dead letter that is no JSON', () => {
  it('is shown as bytes with their count, or as text where it is that', async () => {
    await bury(binary);
    await bury({ id: 'c', contentType: 'text/plain', body: Buffer.from('grüße') });
    await bury({ id: 'd', contentType: 'application/json', body: Buffer.from('{"of":') });
    expect(JSON.parse((await dlq('show shop b')).out)).toMatchObject({
      contentType: 'application/avro',
      dataSchema,
      payloadBytes: 9,
      payloadBase64: avro.toString('base64'),
    });
    expect(JSON.parse((await dlq('show shop c')).out)).toMatchObject({ payloadText: 'grüße' });
    expect(JSON.parse((await dlq('show shop d')).out)).toMatchObject({ payloadText: '{"of":' });
  });

  it('is sent again byte for byte, and not edited', async () => {
    await bury(binary);
    const edited = await dlq('resend shop b', { typed: [], environment: { EDITOR: 'false' } });
    expect(edited).toEqual({
      code: 2,
      out: '',
      err: 'dovecote: Nothing was sent: the payload of b is application/avro (9 bytes), and only JSON can be edited. `dlq redrive --id b` sends it as it is; --payload FILE sends JSON in its place, which every service reads\n',
    });
    await dlq('redrive shop --id b');
    expect(await inbox()).toEqual([
      { id: 'b', contentType: 'application/avro', dataSchema, dataRef: undefined, body: avro.toString('hex') },
    ]);
  });
});

describe('a dead letter whose payload is kept elsewhere', () => {
  let claims: string;
  let dataRef: string;
  beforeEach(async () => {
    claims = join(folder, 'claims');
    const claim = { messageId: 'e', type: 'orders.placed', contentType: 'application/json', keepUntilMs: Date.now() + 3_600_000 };
    dataRef = await new FolderClaimStore(claims).put(Buffer.from('{"large":true}'), claim);
    await bury({ id: 'e', contentType: 'application/json', body: Buffer.alloc(0), headers: { cloudEvents_dataref: dataRef } });
  });

  it('is shown with it where the folder is said, and with where it is otherwise', async () => {
    const without = await dlq('show shop e');
    expect(without.err).toBe(`dovecote: its payload is kept at ${dataRef}: --claims FOLDER shows it\n`);
    expect(Object.keys(JSON.parse(without.out) as object).filter((name) => name.startsWith('payload'))).toEqual([]);
    expect(JSON.parse((await dlq(`show shop e --claims ${claims}`)).out)).toMatchObject({ dataRef, payload: { large: true } });
    expect(await dlq(`show shop e --claims ${folder}/nowhere`)).toMatchObject({ code: 2, err: expect.stringContaining('that is there') });
    rmSync(join(claims, readdirSync(claims)[0]!));
    expect(await dlq(`show shop e --claims ${claims}`)).toMatchObject({
      code: 2,
      err: `dovecote: The payload of e, ${dataRef}, is not in ${claims}: its time is over, or it is kept in another folder\n`,
    });
  });

  it('is sent again with its reference, and edited only with its payload', async () => {
    expect(await dlq('resend shop e', { typed: [], environment: { EDITOR: 'false' } })).toMatchObject({
      code: 2,
      err: `dovecote: Nothing was sent: the payload of e is kept at ${dataRef}. Say --claims FOLDER to edit it\n`,
    });
    const editor = "sed -i 's/true/false/'";
    expect((await dlq(`resend shop e --dry-run --claims ${claims}`, { typed: [], environment: { EDITOR: editor } })).out).toBe(
      'e would be sent; it was not.\n',
    );
    await dlq('redrive shop');
    expect(await inbox()).toMatchObject([{ id: 'e', dataRef, body: '' }]);
  });
});

/**
 * What a user gets: the libraries packed as they would be published, installed without a network into a plain project that has a CommonJS Jest, and used
 * there by a test, by an ES module, and by TypeScript of either kind.
 *
 * The project borrows jest and amqplib from this repository; ours come from the tarballs alone. A second one has NestJS 11 with the Jest and the
 * TypeScript of its time; .ci/run installs what it needs and names the folder in DOVECOTE_NEST_11.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const root = join(import.meta.dirname, '..', '..');
let project = '';

beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), 'dovecote-plain-'));
  run(['tools/build-cjs.mjs'], root);
  run(['tools/pack.mjs', join(project, 'tarballs')], root);
  put('package.json', JSON.stringify({ name: 'plain', private: true }));
  const tarballs = readdirSync(join(project, 'tarballs')).filter((name) => /-(?:ground|broker|testing)-/.test(name));
  npm(['install', '--offline', '--no-audit', '--no-fund', '--loglevel=error', ...tarballs.map((name) => `./tarballs/${name}`)]);
  mkdirSync(join(project, 'node_modules/@types'), { recursive: true });
  for (const name of ['amqplib', '@types/node', 'undici-types'])
    symlinkSync(join(root, 'node_modules', name), join(project, 'node_modules', name));
}, 120_000);

afterAll(() => {
  rmSync(project, { recursive: true, force: true });
});

const resolvedTest = `
test('is CommonJS', () => {
  for (const name of ['ground', 'broker', 'testing']) expect(require.resolve('@dovecote/' + name)).toContain('dist-cjs');
});
test('speaks to Kafka', async () => {
  const { startBroker } = require('@dovecote/testing');
  const { connectKafka } = require('@dovecote/broker/kafka-client');
  const broker = await startBroker();
  const [host, port] = broker.kafka.split(':');
  const client = await connectKafka({ bootstrap: [{ host, port: Number(port) }] });
  expect(await client.topics()).toEqual([]);
  await client.close();
  await broker.stop();
});
`;

const esModule = `
import amqp from 'amqplib';
import { startBroker } from '@dovecote/testing';
const broker = await startBroker();
const connection = await amqp.connect(broker.url);
await connection.close();
await broker.stop();
console.log(import.meta.resolve('@dovecote/testing').includes('/dist/'));
`;

const typed = `
import { realGround, type Clock } from '@dovecote/ground';
import { clockContract } from '@dovecote/ground/testing';
import { Broker, type Durability } from '@dovecote/broker';
import { connectKafka, type TopicDescription } from '@dovecote/broker/kafka-client';
import { startBroker, type TestBroker } from '@dovecote/testing';
const clock: Clock = realGround().clock;
export const now: number = clock.now();
export const durability = async (): Promise<Durability> => (await Broker.open()).durability;
export const broker: Promise<TestBroker> = startBroker();
export const contract = clockContract;
export const topics = async (): Promise<readonly TopicDescription[]> => (await connectKafka({ bootstrap: [] })).topics();
`;

describe('the packed libraries', () => {
  it("serve a CommonJS Jest: the README's test, through amqplib", () => {
    const shown = /^```js jest=orders\n([\s\S]*?)^```$/m.exec(readFileSync(join(root, 'README.md'), 'utf8'))?.[1];
    if (shown === undefined) throw new Error('README.md has no block that opens with ```js jest=orders');
    put('orders.test.js', shown);
    put('resolved.test.js', resolvedTest);
    const { stderr } = run([join(root, 'node_modules/jest/bin/jest.js'), '--ci', '--rootDir', project], project);
    expect(stderr).toContain('3 passed, 3 total');
    expect(stderr).not.toContain('did not exit');
  }, 60_000);

  it('serve an ES module', () => {
    put('ground.mjs', esModule);
    expect(run(['ground.mjs'], project).stdout).toBe('true\n');
  });

  it.each(['node16', 'node20', 'nodenext'])('bring types of both kinds under %s', (module) => {
    put('typed.mts', typed);
    put('typed.cts', typed);
    const { stdout } = run(
      [compiler('typescript7'), '--noEmit', '--strict', '--types', 'node', '--module', module, 'typed.mts', 'typed.cts'],
      project,
    );
    expect(stdout).toBe('');
  });

  it('bring types for the module resolution of older Nest projects', () => {
    put('older.ts', typed);
    const older = ['--module', 'commonjs', '--moduleResolution', 'node10', '--ignoreDeprecations', '6.0'];
    const { stdout } = run([compiler('typescript'), '--noEmit', '--strict', '--types', 'node', ...older, 'older.ts'], project);
    expect(stdout).toBe('');
  }, 60_000);
});

const nest11 = process.env['DOVECOTE_NEST_11'] ?? '';
const onNest11 = nest11 === '' ? it.skip : it;

describe('a project on NestJS 11 in CommonJS (skipped unless DOVECOTE_NEST_11 names its folder)', () => {
  onNest11(
    'runs handlers behind a guard, with the broker inside and behind AMQP, and controllers of its microservices',
    () => {
      const tarballs = readdirSync(join(project, 'tarballs')).map((name) => join(project, 'tarballs', name));
      npm(['install', '--offline', '--no-save', '--no-audit', '--no-fund', '--loglevel=error', ...tarballs], nest11);
      rmSync(join(nest11, 'out'), { recursive: true, force: true });
      mkdirSync(join(nest11, 'src'), { recursive: true });
      writeFileSync(join(nest11, 'src/shop.test.ts'), nest11Test);
      writeFileSync(join(nest11, 'tsconfig.json'), JSON.stringify({ compilerOptions: nest11Compiler, include: ['src'] }));
      run(['node_modules/typescript/bin/tsc'], nest11);
      const { stderr } = run(['node_modules/jest/bin/jest.js', '--ci', '--rootDir', 'out'], nest11);
      expect(stderr).toContain('3 passed, 3 total');
    },
    120_000,
  );
});

const nest11Compiler = {
  module: 'commonjs',
  moduleResolution: 'node10',
  target: 'es2022',
  strict: true,
  experimentalDecorators: true,
  emitDecoratorMetadata: true,
  types: ['node', 'jest'],
  outDir: 'out',
};

const nest11Test = `
import 'reflect-metadata';
import { type CanActivate, Controller, type ExecutionContext, Injectable, Module, UseFilters, UseGuards } from '@nestjs/common';
import { type ClientProxy, ClientsModule, Ctx, EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { firstValueFrom, lastValueFrom } from 'rxjs';
import { DovecoteModule, EventMessage, Message, Publisher, Subscribe } from '@dovecote/messaging';
import { DovecoteClient, type DovecoteContext, DovecoteServer, ErrorsAsThrown } from '@dovecote/messaging/microservices';
import { startBroker } from '@dovecote/testing';

@EventMessage('orders.order-placed')
class OrderPlaced {
  constructor(readonly orderId: string) {}
}

@Injectable()
class Guard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    return context.getType() === 'rpc';
  }
}

@Injectable()
class Notifications {
  onNotified: (text: string) => void = () => undefined;

  @UseGuards(Guard)
  @Subscribe(OrderPlaced)
  notify(event: OrderPlaced, message: Message): void {
    this.onNotified(event.orderId + ' ' + String(event instanceof OrderPlaced) + ' from ' + message.source);
  }
}

test.each(['inside', 'behind AMQP'])('the broker is %s', async (place) => {
  const { broker, url, stop } = await startBroker();
  @Module({
    imports: [DovecoteModule.forRoot({ service: 'shop', broker: place === 'inside' ? { broker } : url })],
    providers: [Guard, Notifications],
  })
  class AppModule {}
  const app = await (await Test.createTestingModule({ imports: [AppModule] }).compile()).createNestApplication().init();
  const notified = new Promise((resolve) => (app.get(Notifications).onNotified = resolve));
  await app.get(Publisher).publish(new OrderPlaced('o-1'));
  expect(await notified).toBe('o-1 true from shop');
  await app.close();
  await stop();
});

let onBilled: (text: string) => void = () => undefined;
let attempts = 0;

@Controller()
@UseFilters(ErrorsAsThrown)
class Billing {
  @EventPattern('orders.*', { retry: { attempts: 2, backoff: 'immediate' } })
  async bill(@Payload() order: { id: string }, @Ctx() context: DovecoteContext): Promise<void> {
    attempts += 1;
    if (attempts === 1) throw new Error('not yet');
    onBilled(order.id + ' at attempt ' + String(context.getMessage().attempt));
  }

  @MessagePattern({ cmd: 'sum' })
  sum(numbers: number[]): number {
    return numbers.reduce((sum, number) => sum + number, 0);
  }
}

test('controllers and clients of its microservices', async () => {
  const { url, stop } = await startBroker();
  @Module({
    imports: [ClientsModule.register([{ name: 'SHOP', customClass: DovecoteClient, options: { service: 'shop', broker: url } }])],
    controllers: [Billing],
  })
  class AppModule {}
  const module = await Test.createTestingModule({ imports: [AppModule] }).compile();
  const app = module.createNestMicroservice({ strategy: new DovecoteServer({ service: 'billing', broker: url }), logger: false });
  await app.listen();
  const billed = new Promise((resolve) => (onBilled = resolve));
  const shop = app.get<ClientProxy>('SHOP');
  await lastValueFrom(shop.emit('orders.order-placed', { id: 'o-1' }), { defaultValue: undefined });
  expect(await billed).toBe('o-1 at attempt 2');
  expect(await firstValueFrom(shop.send({ cmd: 'sum' }, [1, 2, 39]))).toBe(42);
  await app.close();
  await stop();
});
`;

function put(file: string, text: string): void {
  writeFileSync(join(project, file), text);
}

function compiler(name: 'typescript' | 'typescript7'): string {
  return join(root, 'node_modules', name, 'bin/tsc');
}

/** Runs Node to its end; everything it said is in the error when it failed. */
function run(args: readonly string[], cwd: string): { readonly stdout: string; readonly stderr: string } {
  const env = { ...process.env, NODE_OPTIONS: '' };
  const { stdout, stderr, status } = spawnSync(process.execPath, args, { cwd, env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`node ${args.join(' ')} ended with ${status}:\n${stdout}\n${stderr}`);
  return { stdout, stderr };
}

function npm(args: readonly string[], cwd = project): void {
  const own = process.env['npm_execpath'];
  if (own?.endsWith('.js') === true) {
    run([own, ...args], cwd);
    return;
  }
  const { status, stdout, stderr } = spawnSync('npm', args, { cwd, encoding: 'utf8', shell: process.platform === 'win32' });
  if (status !== 0) throw new Error(`npm ${args.join(' ')} ended with ${status}:\n${stdout}\n${stderr}`);
}

/**
 * Holds docker/ to the repository where there is no Docker to try it: each file that an image or a compose file names exists, each variable of ours is one
 * that is read, each port is one that somebody listens on, and what a container is started with is understood.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';

const root = join(import.meta.dirname, '../..');
/** What the programs themselves make of what they are told. */
const { readSettings: readDaemonSettings } = (await import(join(root, 'apps/broker/dist/settings.js'))) as {
  readonly readSettings: (args: readonly string[], environment: NodeJS.ProcessEnv) => { readonly text: string } | DaemonSettings;
};
const { readSettings: readSampleSettings } = (await import(join(root, 'samples/notification-service/dist/settings.js'))) as {
  readonly readSettings: (
    args: readonly string[],
    environment: NodeJS.ProcessEnv,
  ) => { readonly host: string; readonly port: number } | undefined;
};
const folder = join(root, 'docker');
const images = { 'docker/Dockerfile': daemon, 'docker/Dockerfile.sample': sample } as const;

interface Listening {
  readonly port: number;
}

interface DaemonSettings {
  readonly amqp: readonly Listening[];
  readonly kafka: { readonly listeners: readonly Listening[] } | undefined;
  readonly management: Listening | undefined;
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

interface Service {
  readonly image?: string;
  readonly build?: { readonly context: string; readonly dockerfile: keyof typeof images };
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly depends_on?: readonly string[];
}

/** What a container of ours listens on with these words and variables. Throws where it would refuse them. */
function daemon(args: readonly string[], environment: NodeJS.ProcessEnv): readonly number[] {
  const settings = readDaemonSettings(args, environment);
  if ('text' in settings) throw new Error(settings.text);
  const { amqp, kafka, management } = settings;
  return [...amqp, ...(kafka?.listeners ?? []), ...(management === undefined ? [] : [management])].map(({ port }) => port);
}

function sample(args: readonly string[], environment: NodeJS.ProcessEnv): readonly number[] {
  const settings = readSampleSettings(args, environment);
  if (settings === undefined) throw new Error('it would only say how it is used');
  expect(settings.host).toBe('0.0.0.0');
  return [settings.port];
}

function parseImage(name: string) {
  const text = readFileSync(join(root, name), 'utf8').replace(/\\\n\s*/g, ' ');
  const last = text.slice(text.lastIndexOf('\nFROM '));
  const words = (instruction: string): string[] =>
    [...last.matchAll(new RegExp(`^${instruction} (.*)$`, 'gm'))].flatMap(([, rest = '']) => rest.split(/\s+/));
  const [program, ...args] = JSON.parse(/^ENTRYPOINT (\[.*\])$/m.exec(last)![1]!) as string[];
  return {
    copied: [...last.matchAll(/^COPY --from=build \/dovecote\/(\S+) (\S+)$/gm)].map(([, from = '', to = '']) => ({ from, to })),
    environment: Object.fromEntries(words('ENV').map((pair) => pair.split('=') as [string, string])),
    ports: words('EXPOSE').map(Number),
    program,
    file: args.find((word) => word.endsWith('.js'))!,
    args: args.slice(args.findIndex((word) => word.endsWith('.js')) + 1),
  };
}

describe.each(Object.entries(images))('%s', (name, listens) => {
  const image = parseImage(name);

  it('copies what is there, under its own name, and starts a program of it', () => {
    expect(image.copied.filter(({ from, to }) => from !== to || !existsSync(join(root, from)))).toEqual([]);
    expect(image.program).toBe('node');
    expect(existsSync(join(root, image.file))).toBe(true);
    expect(image.copied.some(({ from }) => image.file.startsWith(`${from}/`))).toBe(true);
  });

  it('says nothing that its program does not understand, and exposes what that listens on', () => {
    const args = name.endsWith('.sample') ? [...image.args, '--broker-url', 'amqp://broker'] : image.args;
    expect(listens(args, image.environment)).toEqual(image.ports);
    const sources = ['apps/broker/src/settings.ts', 'samples/notification-service/src/settings.ts'].map((file) =>
      readFileSync(join(root, file), 'utf8'),
    );
    for (const variable of Object.keys(image.environment)) expect(sources.some((text) => text.includes(`'${variable}'`))).toBe(true);
  });

  it('sends no folder to the engine that is built anew there', () => {
    const ignored = readFileSync(join(root, `${name}.dockerignore`), 'utf8').split('\n');
    expect(ignored).toEqual(expect.arrayContaining(['**/node_modules', '**/dist', '**/bundle', '.git']));
  });
});

describe.each(readdirSync(folder).filter((name) => name.startsWith('compose')))('docker/%s', (name) => {
  const { services, volumes } = parse(readFileSync(join(folder, name), 'utf8')) as Compose;

  it('builds images of ours that exist, and asks them for what they understand', () => {
    for (const { build, command = [], environment = {}, ports = [] } of Object.values(services)) {
      if (build === undefined) continue;
      expect([build.context, existsSync(join(root, build.dockerfile))]).toEqual(['..', true]);
      const image = parseImage(build.dockerfile);
      const listening = images[build.dockerfile]([...image.args, ...command], { ...image.environment, ...environment });
      for (const port of ports) expect(listening).toContain(Number(port.split(':')[1]));
    }
  });

  it('lets the sample reach a broker that is there, where it listens', () => {
    const [, url] = services['sample']!.command!;
    const { hostname, port, username, password } = new URL(url!.replace(/^(?:amqp|kafka):/, 'http:'));
    const broker = services[hostname]!;
    expect(services['sample']!.depends_on).toContain(hostname);
    const said = JSON.stringify([broker.environment, broker.ports, broker.image]);
    expect(said).toContain(port);
    if (username !== '') for (const word of [username, password]) expect(said).toContain(word);
  });

  it('declares each volume that it uses', () => {
    const used = Object.values(services).flatMap(({ volumes: own = [] }) => own.map((volume) => volume.split(':')[0] ?? ''));
    expect(used.toSorted()).toEqual(Object.keys(volumes).toSorted());
  });
});

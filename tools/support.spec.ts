/**
 * Holds libs/broker/src/amqp/SUPPORT.md to the code: every method that a client may send stands in it, every argument that the code knows, and every
 * field that is accepted and not read.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';

const broker = join(import.meta.dirname, '../../libs/broker/src');
const read = (path: string): string => readFileSync(join(broker, path), 'utf8');
const support = read('amqp/SUPPORT.md');
/** From its heading to the next. */
const part = (heading: string): string => support.split(/\n(?=## )/).find((text) => text.startsWith(`## ${heading}\n`)) ?? '';

interface Method {
  readonly name: string;
  readonly from: string;
  readonly fields: readonly string[];
}

/** The table of methods.ts, as it stands there. */
function readMethods(text: string): readonly Method[] {
  return [...text.matchAll(/'([a-z]+\.[a-z-]+)': \{\s*class: \d+,\s*method: \d+,\s*from: '(\w+)',\s*fields: \{([^}]*)\}/g)].map(
    ([, name = '', from = '', fields = '']) => ({ name, from, fields: [...fields.matchAll(/(\w+): '/g)].map(([, field = '']) => field) }),
  );
}

const wireName = (field: string): string =>
  field
    .replace(/^is/, '')
    .replace(/(?<=[a-z])([A-Z])|^([A-Z])/g, (_whole, inner?: string, first?: string) =>
      inner === undefined ? first!.toLowerCase() : `-${inner.toLowerCase()}`,
    );

/** Whether a handler takes the field: out of the values of its method by name, or as `values.field` in the handshake. */
function isRead(method: string, field: string): boolean {
  // publisher.ts reads a publish by its bytes, and all of it.
  if (method === 'basic.publish') return true;
  if (method.startsWith('connection.'))
    return new RegExp(`values\\.${field}\\b|\\{[^}]*\\b${field}\\b[^}]*\\} = values`).test(
      read('amqp/handshake.ts') + read('amqp/connection.ts'),
    );
  const handler = new RegExp(`'${method.replace('.', '\\.')}': \\(channel, \\{([^}]*)\\}`).exec(read('amqp/channel-methods.ts'));
  return handler !== null && new RegExp(`\\b${field}\\b`).test(handler[1]!);
}

/** Answered with an error: nobody asked for them. */
const refused = new Set(['connection.blocked', 'connection.unblocked', 'channel.flow-ok', 'basic.cancel-ok']);

describe('SUPPORT.md', () => {
  const fromClients = readMethods(read('amqp/methods.ts')).filter(({ from }) => from !== 'server');

  it('names every method that a client may send', () => {
    expect(fromClients.length).toBe([...read('amqp/methods.ts').matchAll(/from: '(?:client|both)'/g)].length);
    const missing = fromClients.filter(({ name }) => {
      const [group, verb] = name.split('.') as [string, string];
      const lines = (group === 'connection' ? part('Connection') : support).split('\n');
      const word = new RegExp(`(?<![\\w-])${verb}(?![\\w-])`);
      return !lines.some((line) => word.test(line) && (group === 'connection' || line.includes(`${group}.`)));
    });
    expect(missing.map(({ name }) => name)).toEqual([]);
  });

  it('names every argument that the code knows', () => {
    const files = ['queues', 'queues/exchange-types', 'amqp', 'engine'].flatMap((folder) =>
      readdirSync(join(broker, folder))
        .filter((file) => /\.ts$/.test(file) && !/\.spec\.ts$|conversations\.ts$/.test(file))
        .map((file) => join(folder, file)),
    );
    const known = new Set(
      files.flatMap((file) =>
        [...read(file).matchAll(/'(x-[a-z-]+|alternate-exchange|hash-(?:header|property))'/g)].map(([, name = '']) => name),
      ),
    );
    expect(known.size).toBeGreaterThan(30);
    const word = (name: string): RegExp => new RegExp(`(?<![\\w-])${name}(?![\\w-])`);
    expect([...known].filter((name) => !word(name).test(support))).toEqual([]);
  });

  it('lists every field that is accepted and not read', () => {
    const listed = part('Accepted without effect');
    const accepted = fromClients.filter(({ name }) => !refused.has(name));
    const unread = accepted.flatMap(({ name, fields }) =>
      fields.filter((field) => !field.startsWith('reserved') && !isRead(name, field)).map((field) => `${name} ${wireName(field)}`),
    );
    expect(unread).toContain('basic.consume no-local');
    expect(unread.filter((field) => !listed.includes(`\`${field}\``))).toEqual([]);
  });
});

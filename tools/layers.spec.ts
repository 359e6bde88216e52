/**
 * Holds the repository to the map in layers.ts, and holds the checker to its word: for every rule there is a small bad source that must be caught by
 * that rule and by no other, and a good one beside it that must pass.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { check, roomOf, rules, type Breach, type House, type Manifest, type Rule } from './layer-check.js';
import { exceptions, rooms, type Exception } from './layers.js';

const root = join(import.meta.dirname, '..', '..');

describe('the map', () => {
  it('has no ring of rooms', () => {
    const above = (name: string): readonly string[] => rooms.filter((room) => room.name === name).flatMap((room) => room.mayImport);
    const reachable = (name: string, seen: Set<string>): Set<string> => {
      for (const next of above(name)) if (!seen.has(next)) reachable(next, seen.add(next));
      return seen;
    };
    expect(rooms.filter((room) => reachable(room.name, new Set()).has(room.name)).map((room) => room.name)).toEqual([]);
  });
});

describe('the repository', () => {
  it('keeps to the map of its layers', () => {
    expect(check(readHouse()).map(sentence)).toEqual([]);
  });

  it('gives a reason for every room and every exception', () => {
    for (const { because } of [...rooms, ...exceptions]) expect(because.length).toBeGreaterThan(20);
  });

  it('knows every room that a room may import', () => {
    const names = new Set(rooms.map((room) => room.name));
    for (const room of rooms)
      for (const other of room.mayImport) expect([room.name, other, names.has(other)]).toEqual([room.name, other, true]);
  });
});

interface BadSource {
  readonly rule: Rule;
  readonly what: string;
  readonly sources: Readonly<Record<string, string>>;
  readonly exceptions?: readonly Exception[];
  /** Taken as it stands, without the comment that every file has. */
  readonly isBare?: boolean;
}

const engine = 'libs/broker/src/engine/open-storage.ts';
const queue = 'libs/broker/src/queues/queue.ts';
const log = 'libs/broker/src/log/partition.ts';
const frames = 'libs/broker/src/amqp/frames.ts';
const publisher = 'libs/messaging/src/publisher.ts';
const nothing = 'export const nothing = 0;';
const longFunction = `export function long(): void {\n${'  void 0;\n'.repeat(69)}}\n`;
const longFile = `${nothing}\n`.repeat(601);

const bad: readonly BadSource[] = [
  { rule: 'unmapped', what: 'a library nobody put on the map', sources: { 'libs/attic/src/index.ts': nothing } },
  {
    rule: 'room',
    what: 'storage that knows a queue',
    sources: { 'libs/broker/src/storage/journal.ts': `import '../queues/queue.js';`, [queue]: nothing },
  },
  {
    rule: 'room',
    what: 'queues that know the log',
    sources: { [queue]: `import { nothing } from '../log/partition.js';`, [log]: nothing },
  },
  {
    rule: 'room',
    what: 'a log that knows queues, by type only',
    sources: { [log]: `import type { A } from '../queues/queue.js';`, [queue]: nothing },
  },
  {
    rule: 'room',
    what: 'an engine that knows a protocol',
    sources: { [engine]: `export { nothing } from '../amqp/frames.js';`, [frames]: nothing },
  },
  {
    rule: 'room',
    what: 'a protocol server that reaches for the disk',
    sources: { 'libs/broker/src/amqp/server.ts': `import '../storage/journal.js';`, 'libs/broker/src/storage/journal.ts': nothing },
  },
  {
    rule: 'room',
    what: 'an import type behind the map',
    sources: { [queue]: `export type A = import('../log/partition.js').A;`, [log]: nothing },
  },
  {
    rule: 'room',
    what: 'a ground that knows the broker',
    sources: { 'libs/ground/src/clock.ts': `import { Broker } from '@dovecote/broker';` },
  },
  {
    rule: 'deep-import',
    what: 'a path into another package',
    sources: { [publisher]: `import { x } from '../../broker/src/queues/queue.js';`, [queue]: nothing },
  },
  {
    rule: 'deep-import',
    what: 'a subpath that is not exported',
    sources: { 'apps/broker/src/main.ts': `import { x } from '@dovecote/broker/dist/engine/broker.js';` },
  },
  { rule: 'missing-file', what: 'an import of a file that is gone', sources: { [queue]: `import './nowhere.js';` } },
  {
    rule: 'undeclared-package',
    what: 'a package that package.json does not name',
    sources: { 'apps/broker/src/main.ts': `import { x } from 'left-pad';` },
  },
  { rule: 'machine', what: 'a file opened by a queue', sources: { [queue]: `import { openSync } from 'node:fs';` } },
  { rule: 'machine', what: 'a file opened without the node: prefix', sources: { [queue]: `import fs from 'fs/promises';` } },
  {
    rule: 'machine',
    what: 'a socket opened by a protocol server',
    sources: { 'libs/broker/src/amqp/server.ts': `import { createServer } from 'node:net';` },
  },
  { rule: 'machine', what: 'a module required on the sly', sources: { [queue]: `const fs = require('node:fs');` } },
  { rule: 'machine', what: 'a module imported later', sources: { [queue]: `export const read = () => import('node:fs');` } },
  { rule: 'machine', what: 'the hour', sources: { [queue]: `export const at = Date.now();` } },
  { rule: 'machine', what: 'the hour, as a Date', sources: { [queue]: `export const at = new Date();` } },
  { rule: 'machine', what: 'the hour, passed on', sources: { [queue]: `export const clock = { now: Date.now };` } },
  { rule: 'machine', what: 'a timer', sources: { [publisher]: `setTimeout(() => undefined, 10);` } },
  { rule: 'machine', what: 'a timer, passed on', sources: { [publisher]: `export const later = { setImmediate };` } },
  { rule: 'machine', what: 'a timer behind globalThis', sources: { [publisher]: `globalThis.setInterval(() => undefined, 10);` } },
  { rule: 'machine', what: 'a timer inside a signal', sources: { [publisher]: `export const signal = () => AbortSignal.timeout(10);` } },
  { rule: 'machine', what: 'dice', sources: { [queue]: `export const dice = Math.random();` } },
  { rule: 'machine', what: 'dice, taken apart', sources: { [queue]: `export const { random } = Math;` } },
  { rule: 'machine', what: 'random bytes', sources: { [queue]: `import { randomBytes } from 'node:crypto';` } },
  { rule: 'machine', what: 'a random id', sources: { [queue]: `export const id = () => crypto.randomUUID();` } },
  {
    rule: 'machine',
    what: 'a test that waits',
    sources: { 'libs/broker/src/queues/queue.spec.ts': `import { setTimeout as sleep } from 'node:timers/promises';` },
  },
  { rule: 'environment', what: 'a setting read in the middle', sources: { [publisher]: `export const url = process.env.URL;` } },
  { rule: 'environment', what: 'a setting, taken apart', sources: { 'apps/broker/src/settings.ts': `const { env } = process;` } },
  {
    rule: 'environment',
    what: 'a setting by its module',
    sources: { 'apps/broker/src/settings.ts': `import { env } from 'node:process';` },
  },
  { rule: 'wire', what: 'a frame reader that knows the ground', sources: { [frames]: `import type { Socket } from '@dovecote/ground';` } },
  {
    rule: 'nest-edge',
    what: 'NestJS in the broker',
    sources: { 'libs/broker/src/engine/broker.module.ts': `import { Module } from '@nestjs/common';` },
  },
  { rule: 'nest-edge', what: 'NestJS away from the edge', sources: { [publisher]: `import { Injectable } from '@nestjs/common';` } },
  {
    rule: 'nest-edge',
    what: "Nest's microservices where everybody loads them",
    sources: { 'libs/messaging/src/dovecote.module.ts': `import { Server } from '@nestjs/microservices';` },
  },
  { rule: 'nest-edge', what: 'rxjs away from the edge', sources: { [publisher]: `import { Subject } from 'rxjs';` } },
  {
    rule: 'transport-port',
    what: 'a publisher that knows RabbitMQ',
    sources: { [publisher]: `import { Connection } from 'rabbitmq-client';` },
  },
  {
    rule: 'cycle',
    what: 'two files that import each other',
    sources: {
      [queue]: `import './consumer.js';`,
      'libs/broker/src/queues/consumer.ts': `import { type Queue, nothing } from './queue.js';`,
    },
  },
  {
    rule: 'cycle',
    what: 'a ring of three',
    sources: {
      'apps/bench/src/a.ts': `import './b.js';`,
      'apps/bench/src/b.ts': `import './c.js';`,
      'apps/bench/src/c.ts': `import './a.js';`,
    },
  },
  { rule: 'long-file', what: 'a file of 601 lines', sources: { [queue]: longFile } },
  { rule: 'long-file', what: 'a test file of 1,001 lines', sources: { 'libs/ground/src/clock.spec.ts': `${nothing}\n`.repeat(1001) } },
  { rule: 'long-function', what: 'a function of 71 lines', sources: { [queue]: longFunction } },
  {
    rule: 'long-function',
    what: 'a method of 71 lines',
    sources: { [queue]: longFunction.replace('export function long', 'export class A { long').concat('}') },
  },
  {
    rule: 'stale-exception',
    what: 'an exception that is no longer needed',
    sources: { [queue]: nothing },
    exceptions: [{ path: queue, subject: 'long', lines: 80, because: 'it was long once' }],
  },
  {
    rule: 'stale-exception',
    what: 'an exception looser than what it excuses',
    sources: { [queue]: longFunction },
    exceptions: [{ path: queue, subject: 'long', lines: 80, because: 'it was longer once' }],
  },
  { rule: 'kind-name', what: 'a file of helpers', sources: { 'libs/broker/src/queues/helpers.ts': nothing } },
  { rule: 'kind-name', what: 'a folder of interfaces', sources: { 'libs/messaging/src/interfaces/transport.ts': nothing } },
  {
    rule: 'export-star',
    what: 'export *',
    sources: { [queue]: `export * from './consumer.js';`, 'libs/broker/src/queues/consumer.ts': nothing },
  },
  { rule: 'unexplained', what: 'a file without a word', sources: { [queue]: nothing }, isBare: true },
  { rule: 'default-export', what: 'a default function', sources: { [queue]: `export default function queue() {}` } },
  { rule: 'default-export', what: 'a default value', sources: { [queue]: `const a = 0;\nexport default a;` } },
  {
    rule: 'forward-ref',
    what: 'forwardRef',
    sources: { 'libs/messaging/src/a.module.ts': `import { forwardRef } from '@nestjs/common';` },
  },
  { rule: 'enum', what: 'an enum', sources: { [queue]: `export enum Colour { red }` } },
  { rule: 'abstract-class', what: 'an abstract class', sources: { [queue]: `export abstract class Queue {}` } },
  { rule: 'i-prefix', what: 'an interface with an I', sources: { [queue]: `export interface IQueue {}` } },
  { rule: 'import-meta', what: 'import.meta in a library', sources: { [queue]: `export const here = import.meta.url;` } },
  {
    rule: 'top-level-await',
    what: 'a library that awaits while loading',
    sources: { [queue]: `export const a = await Promise.resolve(0);` },
  },
];

describe('the checker', () => {
  it.each(bad)('catches $rule: $what', ({ rule, sources, exceptions: excused, isBare }) => {
    const breaches = check(houseOf(sources, excused, isBare));
    expect([...new Set(breaches.map((one) => one.rule))]).toEqual([rule]);
    expect(breaches[0]?.message).toMatch(/\w+ \w+/);
  });

  it('has a bad source for every rule', () => {
    expect(rules.filter((rule) => !bad.some((one) => one.rule === rule))).toEqual([]);
  });

  it('names the line', () => {
    const [first] = check(houseOf({ [queue]: `${nothing}\n\nexport const at = Date.now();` }));
    expect(first).toMatchObject({ rule: 'machine', path: queue, line: 3 });
  });

  it('lets pass what is allowed', () => {
    const sources = {
      'libs/ground/src/real-clock.ts': `import { openSync } from 'node:fs';\nexport const at = Date.now() + Math.random();\nsetTimeout(() => undefined, 1);`,
      [queue]: `import type { Clock } from '@dovecote/ground';\nimport { createHash } from 'node:crypto';\nexport const at = (ms: number): Date => new Date(ms);`,
      'libs/broker/src/queues/member.ts': `export class A { fetch(): void {} run(): void { this.fetch(); this.constructor.name.at(0); } }\nexport type T = ReturnType<typeof setTimeout>;`,
      'libs/broker/src/queues/queue.spec.ts': `import { it } from '@jest/globals';\nimport { mkdtempSync } from 'node:fs';\nit('reads', () => process.env.URL);`,
      [engine]: `import { nothing } from '../queues/queue.js';`,
      'libs/broker/src/queues/consumer.ts': `import { queue } from './session.js';`,
      'libs/broker/src/queues/session.ts': `import type { Consumer } from './consumer.js';\nexport { type Consumer } from './consumer.js';`,
      'libs/broker/src/amqp/server.ts': `import { open } from '../engine/open-storage.js';`,
      'libs/broker/src/broker.ts': `import { open } from './engine/open-storage.js';\nimport { AmqpServer } from './amqp/server.js';`,
      'libs/messaging/src/messaging.module.ts': `import { Module } from '@nestjs/common';`,
      'libs/messaging/src/transports/amqp.ts': `export const client = () => import('rabbitmq-client');`,
      'apps/broker/src/child.ts': `export const env = { ...process.env, ROLE: 'child' };`,
      'apps/broker/src/main.ts': `import { readFileSync } from 'node:fs';\nexport const port = process.env.PORT;\nsetTimeout(() => undefined, Date.now());`,
    };
    expect(check(houseOf(sources)).map(sentence)).toEqual([]);
  });

  it('lets pass exactly what an exception excuses', () => {
    const excused: Exception = { path: queue, subject: 'long', lines: 71, because: 'a table that is read from top to bottom' };
    expect(check(houseOf({ [queue]: longFunction }, [excused]))).toEqual([]);
    expect(check(houseOf({ [queue]: longFunction }, [{ ...excused, subject: 'other' }])).map((one) => one.rule)).toEqual([
      'long-function',
      'stale-exception',
    ]);
  });

  it('does not take a heading over tests for a long function', () => {
    const suite = `describe('a', () => {\n${'  void 0;\n'.repeat(80)}});`;
    expect(check(houseOf({ 'libs/ground/src/testing.ts': suite }))).toEqual([]);
    expect(check(houseOf({ 'libs/ground/src/testing.ts': suite.replace('describe', 'run') })).map((one) => one.rule)).toEqual([
      'long-function',
    ]);
  });

  it('lets a test drive its room through the rooms above it, and keeps it from strangers', () => {
    const test = 'libs/broker/src/queues/queue.spec.ts';
    const open = 'libs/broker/src/engine/open-storage.ts';
    expect(check(houseOf({ [test]: `import { nothing } from '../engine/open-storage.js';`, [open]: nothing }))).toEqual([]);
    const stranger = check(houseOf({ [test]: `import { nothing } from '../log/partition.js';`, [log]: nothing }));
    expect(stranger.map((one) => one.rule)).toEqual(['room']);
  });

  it('puts a file in the innermost room', () => {
    expect(roomOf('libs/broker/src/queues/queue.ts')?.name).toBe('broker/queues');
    expect(roomOf('libs/broker/src/errors.ts')?.name).toBe('broker/floor');
    expect(roomOf('libs/broker/src/index.ts')?.name).toBe('@dovecote/broker');
    expect(roomOf('libs/attic/src/index.ts')).toBeUndefined();
  });
});

function sentence({ rule, path, line, message }: Breach): string {
  return `${path}:${line} ${message} [${rule}]`;
}

/** A house of a few files, with the manifests of the real one cut down to what the bad sources need. */
function houseOf(sources: Readonly<Record<string, string>>, excused: readonly Exception[] = [], isBare = false): House {
  const exported = { '.': './dist/index.js' };
  const nestPackages = {
    '@nestjs/common': '*',
    '@nestjs/microservices': '*',
    rxjs: '*',
    'rabbitmq-client': '*',
    '@dovecote/ground': '*',
    '@dovecote/broker': '*',
  };
  return {
    sources: new Map(Object.entries(sources).map(([path, text]) => [path, isBare ? text : `${text}\n// Explained.`])),
    manifests: new Map<string, Manifest>([
      ['', { name: 'root' }],
      ['libs/ground', { name: '@dovecote/ground', exports: exported, dependencies: { '@dovecote/broker': '*' } }],
      ['libs/broker', { name: '@dovecote/broker', exports: exported, dependencies: nestPackages }],
      ['libs/messaging', { name: '@dovecote/messaging', exports: exported, peerDependencies: nestPackages }],
      ['apps/broker', { name: '@dovecote/app-broker', dependencies: { '@dovecote/broker': '*' } }],
    ]),
    exceptions: excused,
  };
}

function readHouse(): House {
  const sources = new Map<string, string>();
  const manifests = new Map<string, Manifest>([['', readManifest('')]]);
  for (const wing of ['libs', 'apps', 'samples']) {
    for (const name of readdirSync(join(root, wing))) {
      if (!existsSync(join(root, wing, name, 'package.json'))) continue;
      manifests.set(`${wing}/${name}`, readManifest(`${wing}/${name}`));
      readSources(`${wing}/${name}/src`, true, sources);
    }
  }
  readSources('tools', false, sources);
  readSources('tools/suites', true, sources);
  return { sources, manifests, exceptions };
}

function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')) as Manifest;
}

function readSources(folder: string, isDeep: boolean, into: Map<string, string>): void {
  for (const entry of readdirSync(join(root, folder), { recursive: isDeep, encoding: 'utf8' })) {
    if (entry.endsWith('.ts')) into.set(`${folder}/${entry.split(sep).join('/')}`, readFileSync(join(root, folder, entry), 'utf8'));
  }
}

/**
 * Holds source files to the map in layers.ts. Takes paths and texts, touches no disk, and returns every breach with the rule's name, the place and the
 * reason, so that layers.spec.ts can run it over the repository and over small bad sources that must be caught.
 */
import { posix } from 'node:path';
import { isBuiltin } from 'node:module';
import { brokerClients, environment, kindNames, machine, nest, rooms, size, wire, type Exception, type Room } from './layers.js';
import { readFacts, type Import, type MarkKind, type SourceFacts } from './source-facts.js';

export const rules = [
  'unmapped',
  'room',
  'deep-import',
  'missing-file',
  'undeclared-package',
  'machine',
  'environment',
  'wire',
  'nest-edge',
  'transport-port',
  'cycle',
  'long-file',
  'long-function',
  'stale-exception',
  'kind-name',
  'unexplained',
  'export-star',
  'default-export',
  'forward-ref',
  'enum',
  'abstract-class',
  'i-prefix',
  'import-meta',
  'top-level-await',
] as const;
export type Rule = (typeof rules)[number];

export interface Breach {
  readonly rule: Rule;
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

export interface Manifest {
  readonly name: string;
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

export interface House {
  /** Source text by path from the root of the repository. */
  readonly sources: ReadonlyMap<string, string>;
  /** package.json by its folder: 'libs/ground', and '' for the root. */
  readonly manifests: ReadonlyMap<string, Manifest>;
  readonly exceptions: readonly Exception[];
}

const markReasons: Readonly<Record<Exclude<MarkKind, 'machine' | 'environment'>, string>> = {
  'export-star': 'what is public is named, one by one',
  'default-export': 'a thing has one name, everywhere',
  'forward-ref': 'where forwardRef is needed a layer is wrong',
  enum: 'a union of strings says the same and is erased',
  'abstract-class': 'an interface for the port, a function for what is shared',
  'i-prefix': 'an interface is named after what it is',
  'import-meta': 'libraries also compile to CommonJS, which has no import.meta',
  'top-level-await': 'libraries also compile to CommonJS, which cannot await while loading',
};

const inLibrariesOnly: ReadonlySet<MarkKind> = new Set(['import-meta', 'top-level-await']);

export function check(house: House): readonly Breach[] {
  const files = [...house.sources].map(([path, text]) => readFacts(path, text));
  return [
    ...files.flatMap((file) => checkImports(file, house)),
    ...files.flatMap(checkMarks),
    ...files.flatMap((file) => checkSizes(file, house.exceptions)),
    ...checkExceptions(files, house.exceptions),
    ...files
      .filter((file) => kindNames.path.test(file.path))
      .map((file) => breach('kind-name', file.path, 1, `is named after its kind: ${kindNames.because}`)),
    ...files
      .filter((file) => roomOf(file.path) === undefined)
      .map((file) => breach('unmapped', file.path, 1, 'belongs to no room of tools/layers.ts: add it there, with its reason')),
    ...files
      .filter((file) => !file.isExplained && !/(?:\.spec|\/index)\.ts$/.test(file.path))
      .map((file) =>
        breach('unexplained', file.path, 1, 'opens without a comment: say what it keeps, what survives a crash and who may call it'),
      ),
    ...checkCycles(files),
  ];
}

export function roomOf(path: string): Room | undefined {
  const matching = rooms.filter((room) => (room.at.endsWith('/') ? path.startsWith(room.at) : path === room.at));
  return matching.sort((a, b) => b.at.length - a.at.length)[0];
}

function checkImports(file: SourceFacts, house: House): readonly Breach[] {
  return file.imports.flatMap((one) => {
    if (one.specifier.startsWith('.')) return checkRelative(file, one, house);
    if (isBuiltin(one.specifier)) return checkBuiltin(file, one);
    return checkPackage(file, one, house);
  });
}

function checkRelative(file: SourceFacts, one: Import, house: House): readonly Breach[] {
  const target = targetOf(file.path, one.specifier);
  if (packageOf(target) !== packageOf(file.path))
    return [breach('deep-import', file.path, one.line, `reaches ${target} inside another package: import the package by its name`)];
  if (target.endsWith('.ts') && !house.sources.has(target))
    return [breach('missing-file', file.path, one.line, `imports ${target}, which is not there`)];
  const to = roomOf(target);
  return to === undefined ? [] : checkRoom(file, one, to.name, target);
}

function checkPackage(file: SourceFacts, one: Import, house: House): readonly Breach[] {
  const found: Breach[] = [];
  const name = packageName(one.specifier);
  const isTest = file.path.endsWith('.spec.ts');
  const manifest = house.manifests.get(packageOf(file.path));
  const root = house.manifests.get('');
  const declared = {
    ...manifest?.dependencies,
    ...manifest?.peerDependencies,
    ...(isTest || home(file.path) === 'tools' ? { ...manifest?.devDependencies, ...root?.devDependencies } : {}),
  };
  const isOwn = manifest?.name === name;
  if (!isOwn && declared[name] === undefined && one.specifier !== '@jest/globals')
    found.push(
      breach(
        'undeclared-package',
        file.path,
        one.line,
        `imports ${name}, which the package.json of ${packageOf(file.path) || 'the root'} does not declare`,
      ),
    );
  const isMisplaced = nest.never.test(file.path) || !nest.edge.test(file.path);
  const isStrange = name === nest.optional.package && !nest.optional.allowed.test(file.path);
  if (nest.packages.test(one.specifier) && nest.kept.test(file.path) && (isMisplaced || isStrange))
    found.push(breach('nest-edge', file.path, one.line, `imports ${one.specifier}: ${nest.because}`));
  if (brokerClients.packages.includes(name) && brokerClients.kept.test(file.path) && !brokerClients.allowed.test(file.path))
    found.push(breach('transport-port', file.path, one.line, `imports ${name}: ${brokerClients.because}`));
  if (name.startsWith('@dovecote/')) {
    const exported = [...house.manifests.values()].find((other) => other.name === name)?.exports ?? {};
    const subpath = `.${one.specifier.slice(name.length)}`;
    if (exported[subpath] === undefined)
      found.push(breach('deep-import', file.path, one.line, `imports ${one.specifier}, which ${name} does not export`));
    if (!isOwn) found.push(...checkRoom(file, one, name, one.specifier));
  }
  return found;
}

/** Whether `upper` may import `lower`, directly or through a room between them. */
function knows(upper: string, lower: string): boolean {
  return rooms.some(
    (room) => room.name === upper && room.mayImport.some((name) => name === lower || (name !== upper && knows(name, lower))),
  );
}

function checkRoom(file: SourceFacts, one: Import, to: string, target: string): readonly Breach[] {
  const from = roomOf(file.path);
  if (from === undefined) return [];
  const found: Breach[] = [];
  // A test may drive its room through the rooms above it; strangers stay strangers to it too.
  const looksUp = file.path.endsWith('.spec.ts') && knows(to, from.name);
  if (from.name !== to && !from.mayImport.includes(to) && !looksUp)
    found.push(breach('room', file.path, one.line, `(${from.name}) imports ${target} (${to}): ${from.because}`));
  if (wire.files.test(file.path) && wire.mayNotImport.includes(to))
    found.push(breach('wire', file.path, one.line, `imports ${target}: ${wire.because}`));
  return found;
}

function checkBuiltin(file: SourceFacts, one: Import): readonly Breach[] {
  const name = one.specifier.replace(/^node:/, '');
  const found: Breach[] = [];
  if (name === 'process' && one.names.includes('env') && !environment.allowed.test(file.path))
    found.push(breach('environment', file.path, one.line, `takes env from node:process: ${environment.because}`));
  if (!isKeptFromMachine(file.path)) return found;
  const modules = file.path.endsWith('.spec.ts') ? machine.modulesInTests : machine.modules;
  if (modules.includes(name)) found.push(breach('machine', file.path, one.line, `imports ${one.specifier}: ${machine.because}`));
  const chance = name === 'crypto' ? one.names.filter((taken) => machine.chance.includes(taken)) : [];
  for (const taken of chance)
    found.push(breach('machine', file.path, one.line, `takes ${taken} from ${one.specifier}: ${machine.because}`));
  return found;
}

function checkMarks(file: SourceFacts): readonly Breach[] {
  const isLibrary = file.path.startsWith('libs/') && !file.path.endsWith('.spec.ts');
  return file.marks.flatMap(({ kind, text, line }) => {
    if (kind === 'machine')
      return isKeptFromMachine(file.path) ? [breach('machine', file.path, line, `uses ${text}: ${machine.because}`)] : [];
    if (kind === 'environment')
      return environment.allowed.test(file.path) ? [] : [breach('environment', file.path, line, `uses ${text}: ${environment.because}`)];
    if (inLibrariesOnly.has(kind) && !isLibrary) return [];
    return [breach(kind, file.path, line, `has \`${text}\`: ${markReasons[kind]}`)];
  });
}

function checkSizes(file: SourceFacts, exceptions: readonly Exception[]): readonly Breach[] {
  const found: Breach[] = [];
  const isTest = file.path.endsWith('.spec.ts');
  const limit = excused(exceptions, file.path, undefined) ?? (isTest ? size.testFileLinesMax : size.fileLinesMax);
  if (file.lines > limit) found.push(breach('long-file', file.path, 1, `has ${file.lines} lines, ${limit} are allowed: ${size.because}`));
  if (isTest) return found;
  for (const one of file.functions) {
    const allowed = excused(exceptions, file.path, one.name) ?? size.functionLinesMax;
    if (one.lines > allowed)
      found.push(
        breach('long-function', file.path, one.line, `${one.name} has ${one.lines} lines, ${allowed} are allowed: ${size.because}`),
      );
  }
  return found;
}

function checkExceptions(files: readonly SourceFacts[], exceptions: readonly Exception[]): readonly Breach[] {
  return exceptions.flatMap(({ path, subject, lines }) => {
    const file = files.find((one) => one.path === path);
    const sizes =
      subject === undefined ? [file?.lines ?? 0] : (file?.functions.filter((one) => one.name === subject).map((one) => one.lines) ?? []);
    const actual = Math.max(0, ...sizes);
    const limit = subject === undefined ? size.fileLinesMax : size.functionLinesMax;
    if (actual <= limit)
      return [breach('stale-exception', path, 1, `${subject ?? 'the file'} no longer needs its exception: remove it from tools/layers.ts`)];
    return actual < lines
      ? [breach('stale-exception', path, 1, `${subject ?? 'the file'} shrank to ${actual} lines: lower its exception to that`)]
      : [];
  });
}

/**
 * Files that need each other in a ring before either can load, found as the strongly connected parts of the graph (Tarjan). Types may point at each
 * other inside a room: a queue knows its consumers and a consumer its queue, and nothing of that is left when the program runs.
 */
function checkCycles(files: readonly SourceFacts[]): readonly Breach[] {
  const known = new Set(files.map((file) => file.path));
  const edges = new Map(
    files.map((file) => [
      file.path,
      file.imports
        .filter((one) => one.specifier.startsWith('.') && !one.isTypeOnly)
        .map((one) => targetOf(file.path, one.specifier))
        .filter((to) => known.has(to)),
    ]),
  );
  const order = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const rings: string[][] = [];
  const visit = (path: string): void => {
    order.set(path, order.size);
    low.set(path, order.size - 1);
    stack.push(path);
    for (const to of edges.get(path) ?? []) {
      if (!order.has(to)) visit(to);
      if (stack.includes(to)) low.set(path, Math.min(low.get(path) ?? 0, low.get(to) ?? 0));
    }
    if (low.get(path) !== order.get(path)) return;
    const ring = stack.splice(stack.indexOf(path));
    if (ring.length > 1 || (edges.get(path) ?? []).includes(path)) rings.push(ring);
  };
  for (const path of known) if (!order.has(path)) visit(path);
  return rings.map((ring) => breach('cycle', ring[0] ?? '', 1, `is in a ring of imports: ${ring.toSorted().join(', ')}`));
}

function excused(exceptions: readonly Exception[], path: string, subject: string | undefined): number | undefined {
  return exceptions.find((one) => one.path === path && one.subject === subject)?.lines;
}

function isKeptFromMachine(path: string): boolean {
  return machine.kept.test(path) && !machine.allowed.test(path);
}

function targetOf(from: string, specifier: string): string {
  return posix.join(posix.dirname(from), specifier).replace(/\.js$/, '.ts');
}

/** 'libs/ground' of a file in it; '' for the tools, which belong to the root. */
function packageOf(path: string): string {
  return home(path) === 'tools' ? '' : path.split('/').slice(0, 2).join('/');
}

function home(path: string): string {
  return path.slice(0, path.indexOf('/'));
}

function packageName(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

function breach(rule: Rule, path: string, line: number, message: string): Breach {
  return { rule, path, line, message };
}

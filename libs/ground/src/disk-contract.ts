/** What every `Disk` must do. What survives the loss of power is not asked here: no real disk can be asked, the simulated one's own tests do. */
import assert from 'node:assert/strict';
import { type ContractCase, type ContractSubject, type OpenSubject, contractCases } from './contract.js';
import { type Disk, DiskError, type DiskErrorCode, type DiskFile } from './disk.js';

export interface DiskSubject extends ContractSubject<Disk> {
  /** An empty folder. */
  readonly folder: string;
}

export function diskContract(open: OpenSubject<DiskSubject>): readonly ContractCase[] {
  return contractCases(open, { ...files, ...callbacks, ...names, ...locks });
}

type Cases = Readonly<Record<string, (subject: DiskSubject) => Promise<void>>>;

const files: Cases = {
  'creates a file once and says `exists` the second time': async ({ port, folder }) => {
    await (await port.open(`${folder}/a`, 'create')).close();
    await rejects('exists', `${folder}/a`, port.open(`${folder}/a`, 'create'));
  },
  'says `not-found` for a file that is not there, in every mode that needs one': async ({ port, folder }) => {
    await rejects('not-found', `${folder}/a`, port.open(`${folder}/a`, 'read'));
    await rejects('not-found', `${folder}/a`, port.open(`${folder}/a`, 'edit'));
    await rejects('not-found', `${folder}/no/a`, port.open(`${folder}/no/a`, 'create'));
  },
  'writes many parts one behind the other and reads them back': async ({ port, folder }) => {
    const parts = Array.from({ length: 3_000 }, (_, index) => Buffer.alloc((index % 7) + 1, index % 251));
    const file = await port.open(`${folder}/a`, 'create');
    await write(file, parts, 10);
    await file.close();
    const again = await port.open(`${folder}/a`, 'read');
    const expected = Buffer.concat([Buffer.alloc(10), ...parts]);
    assert.equal(await again.size(), expected.length);
    assert.deepEqual(await read(again, expected.length + 100, 0), expected);
    await again.close();
  },
  'reads fewer bytes only at the end of the file, and none behind it': async ({ port, folder }) => {
    const file = await port.open(`${folder}/a`, 'create');
    await write(file, [Buffer.from('0123456789')], 0);
    assert.equal((await read(file, 4, 3)).toString(), '3456');
    assert.equal((await read(file, 100, 7)).toString(), '789');
    assert.equal((await read(file, 100, 10)).length, 0);
    assert.equal((await read(file, 100, 500)).length, 0);
    await file.close();
  },
  'reads at once what was written, and fewer bytes only at the end of the file': async ({ port, folder }) => {
    const file = await port.open(`${folder}/a`, 'create');
    await write(file, [Buffer.from('0123456789')], 0);
    assert.equal(readNow(port, `${folder}/a`, 4, 3).toString(), '3456');
    await file.close();
    assert.equal(readNow(port, `${folder}/a`, 100, 7).toString(), '789');
    assert.equal(readNow(port, `${folder}/a`, 100, 10).length, 0);
    await rejects(
      'not-found',
      `${folder}/b`,
      Promise.resolve().then(() => readNow(port, `${folder}/b`, 1, 0)),
    );
  },
  'fills a gap with zeros and leaves what stands around a rewritten range': async ({ port, folder }) => {
    const file = await port.open(`${folder}/a`, 'create');
    await write(file, [Buffer.from('abcdef')], 5_000);
    await write(file, [Buffer.from('XY')], 5_002);
    assert.deepEqual(await read(file, 10_000, 0), Buffer.concat([Buffer.alloc(5_000), Buffer.from('abXYef')]));
    await file.close();
  },
  'truncates: cuts, and grows with zeros where something stood before': async ({ port, folder }) => {
    const file = await port.open(`${folder}/a`, 'create');
    await write(file, [Buffer.from('abcdef')], 0);
    await file.truncate(2);
    assert.equal(await file.size(), 2);
    await file.truncate(5);
    assert.deepEqual(await read(file, 100, 0), Buffer.from('ab\0\0\0'));
    await file.close();
  },
  'shows what one handle wrote to another of the same file': async ({ port, folder }) => {
    const one = await port.open(`${folder}/a`, 'create');
    const other = await port.open(`${folder}/a`, 'edit');
    await write(one, [Buffer.from('one')], 0);
    await write(other, [Buffer.from('other')], 3);
    assert.equal((await read(one, 100, 0)).toString(), 'oneother');
    await one.close();
    await other.close();
  },
  'refuses to write through a handle for reading': async ({ port, folder }) => {
    const file = await port.open(`${folder}/a`, 'create');
    await file.close();
    const reader = await port.open(`${folder}/a`, 'read');
    await rejects(undefined, `${folder}/a`, write(reader, [Buffer.from('a')], 0));
    assert.equal(await reader.size(), 0);
    await reader.close();
  },
};

const callbacks: Cases = {
  'carries out two writes that were asked for at once': async ({ port, folder }) => {
    const file = await port.open(`${folder}/a`, 'create');
    await Promise.all([write(file, [Buffer.from('one')], 0), write(file, [Buffer.from('two')], 3)]);
    assert.equal((await read(file, 100, 0)).toString(), 'onetwo');
    await file.close();
  },
  'never calls back before the call returned, and calls back once': async ({ port, folder }) => {
    const file = await port.open(`${folder}/a`, 'create');
    const calls = { write: 0, nothing: 0, sync: 0 };
    await new Promise<void>((resolve) => {
      const count = (kind: keyof typeof calls) => (): void => {
        calls[kind]++;
        if (calls.write + calls.nothing + calls.sync >= 3) resolve();
      };
      file.write([Buffer.from('a')], 0, count('write'));
      file.write([], 0, count('nothing'));
      file.sync(count('sync'));
      assert.deepEqual(calls, { write: 0, nothing: 0, sync: 0 });
    });
    await sync(file);
    assert.deepEqual(calls, { write: 1, nothing: 1, sync: 1 });
    await file.close();
  },
  'takes an empty write as done and leaves the file as it is': async ({ port, folder }) => {
    const file = await port.open(`${folder}/a`, 'create');
    await write(file, [], 100);
    await write(file, [Buffer.alloc(0)], 100);
    assert.equal(await file.size(), 0);
    await file.close();
  },
  'syncs without an error what was written': async ({ port, folder }) => {
    const file = await port.open(`${folder}/a`, 'create');
    await write(file, [Buffer.from('a')], 0);
    await sync(file);
    await file.close();
  },
  'takes a file that is synced as it is written for any other': async ({ port, folder }) => {
    const file = await port.open(`${folder}/a`, 'create-synced');
    await rejects('exists', `${folder}/a`, port.open(`${folder}/a`, 'create-synced'));
    await write(file, [Buffer.from('on'), Buffer.from('e')], 0);
    let isBack = false;
    await new Promise<void>((resolve) => {
      file.sync((error) => {
        assert.equal(error, undefined);
        isBack = true;
        resolve();
      });
      assert.equal(isBack, false);
    });
    await file.truncate(2);
    await sync(file);
    assert.equal((await read(file, 100, 0)).toString(), 'on');
    await file.close();
  },
  'finishes on close what is under way': async ({ port, folder }) => {
    const file = await port.open(`${folder}/a`, 'create');
    const written = write(file, [Buffer.alloc(100_000, 'x')], 0);
    await file.close();
    await written;
    const again = await port.open(`${folder}/a`, 'read');
    assert.equal(await again.size(), 100_000);
    await again.close();
  },
  'refuses with a `DiskError` whatever is asked of a closed file, and lets it be closed twice': async ({ port, folder }) => {
    const file = await port.open(`${folder}/a`, 'create');
    await file.close();
    await file.close();
    await rejects('failed', `${folder}/a`, write(file, [Buffer.from('a')], 0));
    await rejects('failed', `${folder}/a`, sync(file));
    await rejects('failed', `${folder}/a`, file.size());
    await rejects('failed', `${folder}/a`, file.read(Buffer.alloc(1), 0));
    await rejects('failed', `${folder}/a`, file.truncate(0));
  },
};

const names: Cases = {
  'lists files and folders, sorted': async ({ port, folder }) => {
    for (const name of ['b', 'a10', 'a9', 'C']) await (await port.open(`${folder}/${name}`, 'create')).close();
    await port.makeDirectory(`${folder}/aa`);
    sameNames(await port.list(folder), ['C', 'a10', 'a9', 'aa', 'b']);
    await rejects('not-found', `${folder}/no`, port.list(`${folder}/no`));
  },
  'knows what exists': async ({ port, folder }) => {
    await (await port.open(`${folder}/a`, 'create')).close();
    assert.equal(await port.exists(`${folder}/a`), true);
    assert.equal(await port.exists(folder), true);
    assert.equal(await port.exists(`${folder}/b`), false);
    assert.equal(await port.exists(`${folder}/a/under-a-file`), false);
  },
  'makes a folder with the ones above it, and is content where it exists': async ({ port, folder }) => {
    await port.makeDirectory(`${folder}/x/y/z`);
    await port.makeDirectory(`${folder}/x/y/z`);
    sameNames(await port.list(`${folder}/x/y`), ['z']);
    await (await port.open(`${folder}/x/file`, 'create')).close();
    await rejects(undefined, `${folder}/x/file`, port.makeDirectory(`${folder}/x/file/below`));
  },
  'renames over what stands there, and an open file stays itself': async ({ port, folder }) => {
    const old = await port.open(`${folder}/old`, 'create');
    await write(old, [Buffer.from('old')], 0);
    const file = await port.open(`${folder}/new`, 'create');
    await write(file, [Buffer.from('new')], 0);
    await port.rename(`${folder}/new`, `${folder}/old`);
    sameNames(await port.list(folder), ['old']);
    const renamed = await port.open(`${folder}/old`, 'read');
    assert.equal((await read(renamed, 100, 0)).toString(), 'new');
    assert.equal((await read(old, 100, 0)).toString(), 'old');
    for (const open of [old, file, renamed]) await open.close();
    await rejects('not-found', `${folder}/new`, port.rename(`${folder}/new`, `${folder}/other`));
  },
  'renames between folders': async ({ port, folder }) => {
    await port.makeDirectory(`${folder}/x`);
    await (await port.open(`${folder}/a`, 'create')).close();
    await port.rename(`${folder}/a`, `${folder}/x/b`);
    sameNames(await port.list(folder), ['x']);
    sameNames(await port.list(`${folder}/x`), ['b']);
  },
  'removes a file and an empty folder, and nothing else': async ({ port, folder }) => {
    const file = await port.open(`${folder}/a`, 'create');
    await write(file, [Buffer.from('still here')], 0);
    await port.remove(`${folder}/a`);
    assert.equal((await read(file, 100, 0)).toString(), 'still here');
    await file.close();
    await port.makeDirectory(`${folder}/x/y`);
    await rejects(undefined, `${folder}/x`, port.remove(`${folder}/x`));
    await port.remove(`${folder}/x/y`);
    await port.remove(`${folder}/x`);
    sameNames(await port.list(folder), []);
    await rejects('not-found', `${folder}/a`, port.remove(`${folder}/a`));
  },
  'syncs a folder, and says `not-found` where there is none': async ({ port, folder }) => {
    await port.syncDirectory(folder);
    await rejects('not-found', `${folder}/no`, port.syncDirectory(`${folder}/no`));
  },
  'says how much room is left': async ({ port, folder }) => {
    assert.ok((await port.freeBytes(folder)) > 0);
  },
};

const locks: Cases = {
  'gives a folder to one owner at a time, and names it to the next': async ({ port, folder }) => {
    const lock = await port.lock(folder);
    const error = await rejects('locked', folder, port.lock(folder));
    assert.match(error.message, /process \d+ .*since \d{4}-.*stop it or choose another folder/);
    await lock.release();
    await (await port.lock(folder)).release();
  },
  'locks each folder by itself': async ({ port, folder }) => {
    await port.makeDirectory(`${folder}/x`);
    await port.makeDirectory(`${folder}/y`);
    const held = [await port.lock(`${folder}/x`), await port.lock(`${folder}/y`)];
    for (const lock of held) await lock.release();
  },
  'locks no folder that is not there': async ({ port, folder }) => {
    await rejects('not-found', `${folder}/no`, port.lock(`${folder}/no`));
  },
};

function write(file: DiskFile, parts: readonly Uint8Array[], position: number): Promise<void> {
  return new Promise((resolve, reject) => file.write(parts, position, (error) => (error === undefined ? resolve() : reject(error))));
}

function sync(file: DiskFile): Promise<void> {
  return new Promise((resolve, reject) => file.sync((error) => (error === undefined ? resolve() : reject(error))));
}

async function read(file: DiskFile, length: number, position: number): Promise<Buffer> {
  const into = Buffer.alloc(length, 0xff);
  return into.subarray(0, await file.read(into, position));
}

function readNow(disk: Disk, path: string, length: number, position: number): Buffer {
  const into = Buffer.alloc(length, 0xff);
  return into.subarray(0, disk.readNow(path, into, position));
}

/** Not `deepEqual`: inside Jest an array of Node's has another prototype. */
function sameNames(actual: readonly string[], expected: readonly string[]): void {
  assert.equal(actual.join('\n'), expected.join('\n'));
}

/** The error must be a `DiskError`, say which path it is about, and have the code where one is asked for. */
async function rejects(code: DiskErrorCode | undefined, path: string, work: Promise<unknown>): Promise<DiskError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof DiskError, `a DiskError was expected, not ${String(error)}`);
  if (code !== undefined) assert.equal(error.code, code);
  assert.ok(error.message.includes(path), `"${error.message}" does not name ${path}`);
  return error;
}

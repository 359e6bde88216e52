import { afterAll, describe, expect, it } from '@jest/globals';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock, Timer } from './clock.js';
import { clockContract } from './clock-contract.js';
import type { ContractCase, ContractSubject } from './contract.js';
import { type Disk, DiskError, type DiskFile } from './disk.js';
import { type DiskSubject, diskContract } from './disk-contract.js';
import { DiskFaults, FaultyDisk } from './disk-faults.js';
import type { Listener, Network, Socket } from './network.js';
import { networkContract } from './network-contract.js';
import type { Random } from './random.js';
import { randomContract } from './random-contract.js';
import { RealClock } from './real-clock.js';
import { RealDisk } from './real-disk.js';
import { RealNetwork } from './real-network.js';
import { RealRandom } from './real-random.js';
import { SeededRandom } from './seeded-random.js';
import { TestAuthority } from './test-certificates.js';
import { overTls, type TlsCast, tlsContract } from './tls-contract.js';
import { type SimulatedGround, simulatedGround } from './simulated-ground.js';

const scratch = mkdtempSync(join(tmpdir(), 'dovecote-ground-'));
let folders = 0;
afterAll(() => rm(scratch, { recursive: true, force: true }));

/** Keeps the event loop alive while it waits: nothing of the ground does, by its contract. */
async function awake<Answer>(work: Promise<Answer>): Promise<Answer> {
  const alive = setInterval(() => {}, 60_000);
  try {
    return await work;
  } finally {
    clearInterval(alive);
  }
}

function real<Port>(port: Port): ContractSubject<Port> {
  return { port, drive: awake, close: () => Promise.resolve() };
}

async function realDisk(wrap: (disk: Disk) => Disk = (disk) => disk): Promise<DiskSubject> {
  const folder = join(scratch, String(folders++));
  const port = wrap(new RealDisk());
  await port.makeDirectory(folder);
  return { ...real(port), folder };
}

/** A subject in a world of its own; `wrap` breaks or decorates the port. */
function simulated<Port>(pick: (world: SimulatedGround) => Port, seed = 1): ContractSubject<Port> {
  const world = simulatedGround(seed);
  return { port: pick(world), drive: (work) => world.clock.drive(work, { stepsMax: 200_000 }), close: () => Promise.resolve() };
}

async function simulatedDisk(wrap: (disk: Disk) => Disk = (disk) => disk, seed = 1): Promise<DiskSubject> {
  const world = simulatedGround(seed);
  const subject = {
    port: wrap(world.startProcess().ground.disk),
    drive: <Answer>(work: Promise<Answer>) => world.clock.drive(work, { stepsMax: 20_000 }),
    close: () => Promise.resolve(),
    folder: '/case',
  };
  await subject.drive(world.disk.makeDirectory(subject.folder));
  return subject;
}

function holds(title: string, cases: readonly ContractCase[]): void {
  describe(`${title} holds the contract`, () => {
    it.each(cases)('$name', async (contractCase) => {
      await expect(contractCase.run()).resolves.toBeUndefined();
    });
  });
}

holds(
  'the real clock',
  clockContract(() => Promise.resolve(real(new RealClock()))),
);
holds(
  'the simulated clock',
  clockContract(() => Promise.resolve(simulated(({ clock }) => clock))),
);
holds(
  "a process's clock",
  clockContract(() => Promise.resolve(simulated((world) => world.startProcess().ground.clock))),
);

holds(
  'the real chance',
  randomContract(() => Promise.resolve(real(new RealRandom()))),
);
holds(
  'the seeded chance',
  randomContract(() => Promise.resolve(real(new SeededRandom(42)))),
);

holds(
  'the real disk',
  diskContract(() => realDisk()),
);
holds(
  'the real disk with faults that do not strike',
  diskContract(() => realDisk((disk) => new FaultyDisk(disk, new DiskFaults(), new SeededRandom(1)))),
);
for (const seed of [1, 2, 3])
  holds(
    `the simulated disk, seed ${seed}`,
    diskContract(() => simulatedDisk(undefined, seed)),
  );

holds(
  'the real network',
  networkContract(() => Promise.resolve(real(new RealNetwork()))),
);
for (const seed of [1, 2, 3, 4, 5])
  holds(
    `the simulated network, seed ${seed}`,
    networkContract(() => Promise.resolve(simulated(({ network }) => network, seed))),
  );
holds(
  'a slow and narrow simulated network',
  networkContract(() =>
    Promise.resolve(
      simulated(({ network }) => {
        network.pace = { ...network.pace, windowBytes: [1_000, 5_000], pieceBytesMax: 2_000, hiccupShare: 0.2 };
        return network;
      }),
    ),
  ),
);
holds(
  'the network of a process',
  networkContract(() => Promise.resolve(simulated((world) => world.startProcess().ground.network))),
);
const [authority, later, other] = [new TestAuthority(), new TestAuthority(), new TestAuthority()];
const realCast: TlsCast = {
  server: authority.vouchFor('server'),
  renewed: later.vouchFor('server'),
  trust: { authorities: authority.certificate },
  trustRenewed: { authorities: later.certificate },
  stranger: { authorities: other.certificate },
  ada: authority.vouchFor('ada'),
};
const simulatedCast: TlsCast = {
  server: { certificate: 'server', key: '' },
  renewed: { certificate: 'later server', key: '' },
  trust: { authorities: 'server' },
  trustRenewed: { authorities: 'later server' },
  stranger: { authorities: 'other' },
  ada: { certificate: 'ada', key: '' },
};
holds(
  'the real network over TLS',
  networkContract(() => Promise.resolve(real(overTls(new RealNetwork(), realCast)))),
);
holds(
  'TLS of the real network',
  tlsContract(() => Promise.resolve(real(new RealNetwork())), realCast),
);
holds(
  'TLS of the simulated network',
  tlsContract(() => Promise.resolve(simulated(({ network }) => network)), simulatedCast),
);

/** The suite is only worth something when what is broken fails it, in the case that says so. */
async function failing(cases: readonly ContractCase[], names: string): Promise<unknown> {
  const chosen = cases.filter(({ name }) => name.startsWith(names));
  expect(chosen).toHaveLength(1);
  return chosen[0]?.run().then(
    () => 'passed',
    () => 'failed',
  );
}

describe('the contract of the clock fails', () => {
  const flaws: readonly (readonly [string, (clock: Clock) => Partial<Clock>])[] = [
    ['tells whole milliseconds', (clock) => ({ now: () => clock.now() / 7 })],
    ['calls no earlier', (clock) => ({ after: (delayMs, run) => clock.after(delayMs * 0.9, run) })],
    ['calls the earlier due first', (clock) => ({ after: (_delayMs, run) => clock.after(1, run), defer: (run) => clock.defer(run) })],
    ['never calls before', (clock) => ({ defer: (run) => run(), after: (delayMs, run) => clock.after(delayMs, run) })],
    ['forgets a cancelled call', (clock) => ({ after: (delayMs, run): Timer => (clock.after(delayMs, run), { cancel() {} }) })],
    [
      'keeps deferred calls',
      (clock) => ({
        defer: (
          (delayMs) => (run) =>
            void clock.after(delayMs--, run)
        )(3),
        after: (delayMs, run) => clock.after(delayMs, run),
      }),
    ],
    ['defers past every promise', (clock) => ({ defer: (run) => queueMicrotask(run), after: (delayMs, run) => clock.after(delayMs, run) })],
    ['does not take a delay', (clock) => ({ after: (delayMs, run) => clock.after(delayMs > 2 ** 31 - 1 ? 1 : delayMs, run) })],
  ];
  it.each(flaws)('where it breaks "%s"', async (name, flaw) => {
    expect(
      await failing(
        clockContract(() => Promise.resolve(simulated(({ clock }) => broken<Clock>(clock, flaw)))),
        name,
      ),
    ).toBe('failed');
  });
});

describe('the contract of chance fails', () => {
  const flaws: readonly (readonly [string, (random: Random) => Partial<Random>])[] = [
    ['draws every number', (random) => ({ below: (limit) => Math.min(limit - 1, random.below(limit + 1)) })],
    ['takes the limits', (random) => ({ below: (limit) => random.below(Math.max(1, Math.min(2 ** 16, Math.floor(limit) || 1))) })],
    [
      'fills a buffer of its own',
      (random) => ({
        bytes: (
          (shared) => (length: number) =>
            random.bytes(1) && shared.subarray(0, length)
        )(random.bytes(8_192)),
      }),
    ],
  ];
  it.each(flaws)('where it breaks "%s"', async (name, flaw) => {
    expect(
      await failing(
        randomContract(() => Promise.resolve(real(broken<Random>(new SeededRandom(7), flaw)))),
        name,
      ),
    ).toBe('failed');
  });
});

describe('the contract of the disk fails', () => {
  const onFile =
    (flaw: (file: DiskFile) => Partial<DiskFile>) =>
    (disk: Disk): Partial<Disk> => ({ open: async (path, mode) => broken<DiskFile>(await disk.open(path, mode), flaw) });
  const flaws: readonly (readonly [string, (disk: Disk) => Partial<Disk>])[] = [
    [
      'creates a file once',
      (disk) => ({ open: async (path, mode) => disk.open(path, mode === 'create' && (await disk.exists(path)) ? 'edit' : mode) }),
    ],
    [
      'says `not-found`',
      (disk) => ({ open: async (path, mode) => disk.open(path, mode === 'edit' && !(await disk.exists(path)) ? 'create' : mode) }),
    ],
    ['writes many parts', onFile((file) => ({ write: (parts, position, done) => file.write(parts.slice(0, 1_024), position, done) }))],
    ['reads fewer bytes', onFile((file) => ({ read: async (into, position) => Math.max(1, await file.read(into, position)) }))],
    ['reads at once', (disk) => ({ readNow: (path, into, position) => Math.max(1, disk.readNow(path, into, position)) })],
    [
      'fills a gap',
      onFile((file) => ({
        write: (parts, position, done) => void file.size().then((size) => file.write(parts, Math.min(position, size), done)),
      })),
    ],
    ['truncates', onFile((file) => ({ truncate: async (size) => (size < (await file.size()) ? file.truncate(size) : undefined) }))],
    ['refuses to write through', (disk) => ({ open: (path, mode) => disk.open(path, mode === 'read' ? 'edit' : mode) })],
    [
      'carries out two writes',
      onFile((file) => ({
        write: ((isBusy) => (parts, position, done) => {
          if (isBusy) done(undefined);
          else {
            isBusy = true;
            file.write(parts, position, done);
          }
        })(false),
      })),
    ],
    [
      'never calls back before',
      onFile((file) => ({ write: (parts, position, done) => (parts.length === 0 ? done(undefined) : file.write(parts, position, done)) })),
    ],
    [
      'takes an empty write',
      onFile((file) => ({ write: (parts, position, done) => file.write(parts.length === 0 ? [Buffer.alloc(1)] : parts, position, done) })),
    ],
    ['syncs without an error', onFile(() => ({ sync: (done) => queueMicrotask(() => done(new DiskError('failed', 'never'))) }))],
    ['refuses with a `DiskError`', onFile((file) => ({ truncate: (size) => file.truncate(size).catch(() => undefined) }))],
    ['lists files and folders', (disk) => ({ list: async (path) => [...(await disk.list(path))].reverse() })],
    [
      'knows what exists',
      (disk) => ({ exists: async (path) => (path.endsWith('/under-a-file') ? Promise.reject(new Error('ENOTDIR')) : disk.exists(path)) }),
    ],
    [
      'makes a folder',
      (disk) => ({
        makeDirectory: async (path) =>
          (await disk.exists(path)) ? Promise.reject(new DiskError('exists', path)) : disk.makeDirectory(path),
      }),
    ],
    [
      'renames over',
      (disk) => ({
        rename: async (from, to) => ((await disk.exists(to)) ? Promise.reject(new DiskError('exists', to)) : disk.rename(from, to)),
      }),
    ],
    [
      'renames between',
      (disk) => ({ rename: (from, to) => disk.rename(from, `${from.slice(0, from.lastIndexOf('/'))}${to.slice(to.lastIndexOf('/'))}`) }),
    ],
    ['removes a file', (disk) => ({ remove: async (path) => disk.remove(path).catch(() => undefined) })],
    ['syncs a folder', () => ({ syncDirectory: () => Promise.resolve() })],
    ['says how much room', () => ({ freeBytes: () => Promise.resolve(0) })],
    ['gives a folder to one owner', () => ({ lock: () => Promise.resolve({ release: () => Promise.resolve() }) })],
    ['locks each folder', (disk) => ({ lock: (path) => disk.lock(path.slice(0, path.lastIndexOf('/'))) })],
    ['locks no folder', (disk) => ({ lock: async (path) => (await disk.makeDirectory(path), disk.lock(path)) })],
  ];
  it.each(flaws)('where it breaks "%s"', async (name, flaw) => {
    const cases = diskContract(() => simulatedDisk((disk) => broken<Disk>(disk, flaw)));
    expect(await failing(cases, name)).toBe('failed');
  });
  it('where close leaves behind what is under way', async () => {
    const cases = diskContract(() =>
      simulatedDisk((disk) =>
        broken<Disk>(
          disk,
          onFile((file) => {
            let isClosed = false;
            return {
              close: async () => void (isClosed = true),
              write: (parts, position, done) => queueMicrotask(() => (isClosed ? done(undefined) : file.write(parts, position, done))),
            };
          }),
        ),
      ),
    );
    expect(await failing(cases, 'finishes on close')).toBe('failed');
  });
  it('where two handles do not see the same file', async () => {
    const cases = diskContract(() =>
      simulatedDisk((disk) =>
        broken<Disk>(disk, () => ({
          open: async (path, mode) => disk.open(mode === 'edit' ? `${path}.copy` : path, mode === 'edit' ? 'create' : mode),
        })),
      ),
    );
    expect(await failing(cases, 'shows what one handle wrote')).toBe('failed');
  });
});

describe('the contract of the network fails', () => {
  const onSocket =
    (flaw: (socket: Socket) => Partial<Socket>) =>
    (network: Network): Partial<Network> => ({
      listen: (at, accept) => network.listen(at, (socket) => accept(broken<Socket>(socket, flaw))),
      connect: async (to) => broken<Socket>(await network.connect(to), flaw),
    });
  const flaws: readonly (readonly [string, (network: Network) => Partial<Network>])[] = [
    ['takes a free port', (network) => ({ listen: async (at, accept) => ({ ...(await network.listen(at, accept)), port: at.port }) })],
    [
      'says `port-taken`',
      (network) => ({ listen: (at, accept) => network.listen(at, accept).catch(() => network.listen({ ...at, port: 0 }, accept)) }),
    ],
    ['says `refused`', (network) => ({ connect: (to) => network.connect(to).catch(() => Promise.reject(new Error('no'))) })],
    [
      'lets accepted connections live',
      (network) => ({
        listen: async (at, accept) => {
          const accepted: Socket[] = [];
          const listener = await network.listen(at, (socket) => {
            accepted.push(socket);
            accept(socket);
          });
          return {
            host: listener.host,
            port: listener.port,
            renew: (tls) => listener.renew(tls),
            close: () => {
              for (const socket of accepted) socket.destroy();
              return listener.close();
            },
          };
        },
      }),
    ],
    ['knows both ends', onSocket(() => ({ localAddress: '' }))],
    [
      'carries bytes both ways',
      onSocket((socket) => ({
        start: (events) => {
          const shared = Buffer.alloc(65_536);
          socket.start({
            onData: (bytes) => events.onData(shared.subarray(0, bytes.copy(shared))),
            onDrain: () => events.onDrain(),
            onClose: () => events.onClose(),
          });
        },
      })),
    ],
    [
      'fills the room',
      onSocket((socket) => ({
        start: (events) => {
          const only = events.room?.();
          socket.start({
            onData: (bytes) => events.onData(bytes),
            ...(only === undefined ? {} : { room: () => only, onFilled: (length) => events.onFilled?.(length) }),
            onDrain: () => events.onDrain(),
            onClose: () => events.onClose(),
          });
        },
      })),
    ],
    ['holds the writer back', onSocket((socket) => ({ write: (bytes, sent) => socket.write(bytes, sent) || true }))],
    ['holds the writer back', onSocket(() => ({ sentBytes: 0 }))],
    ['gives every buffer back once', onSocket((socket) => ({ write: (bytes, sent) => (sent?.(), socket.write(bytes)) }))],
    [
      'needs the bytes no longer',
      onSocket((socket) => ({
        write: (bytes, sent) => {
          queueMicrotask(() => sent?.());
          return socket.write(bytes);
        },
      })),
    ],
    ['sends all that was written', onSocket((socket) => ({ end: () => socket.destroy() }))],
    ['brings its last words', onSocket((socket) => ({ end: () => socket.destroy() }))],
    [
      'closes both ends at once',
      onSocket((socket) => ({
        start: (events) =>
          socket.start({
            onData: (bytes) => events.onData(bytes),
            onDrain: () => events.onDrain(),
            onClose: () => {
              events.onClose();
              events.onClose();
            },
          }),
      })),
    ],
    [
      'gives back the buffers',
      onSocket((socket) => {
        let isDestroyed = false;
        return {
          destroy: () => {
            isDestroyed = true;
            socket.destroy();
          },
          write: (bytes, sent) => socket.write(bytes, () => isDestroyed || sent?.()),
        };
      }),
    ],
    ['takes writes to a closed', onSocket((socket) => ({ write: (bytes, sent) => socket.write(bytes, sent) || true }))],
    [
      'tells the end',
      onSocket((socket) => {
        let isDestroyed = false;
        return {
          destroy: () => {
            isDestroyed = true;
            socket.destroy();
          },
          start: (events) => {
            if (!isDestroyed) socket.start(events);
          },
        };
      }),
    ],
  ];
  it.each(flaws)('where it breaks "%s"', async (name, flaw) => {
    expect(
      await failing(
        networkContract(() => Promise.resolve(simulated(({ network }) => broken<Network>(network, flaw)))),
        name,
      ),
    ).toBe('failed');
  });
});

describe('the contract of TLS fails', () => {
  const onAccepted =
    (flaw: (socket: Socket) => Partial<Socket>) =>
    (network: Network): Partial<Network> => ({
      listen: (at, accept) => network.listen(at, (socket) => accept(broken<Socket>(socket, flaw))),
    });
  const flaws: readonly (readonly [string, (network: Network) => Partial<Network>])[] = [
    ['gives a client no name', onAccepted(() => ({ peerName: 'ada' }))],
    ['knows a client by its certificate', onAccepted(() => ({ peerName: undefined }))],
    [
      'takes no client without a certificate',
      (network) => ({ listen: (at, accept) => network.listen({ ...at, tls: { ...at.tls!, requiresClient: false } }, accept) }),
    ],
    [
      'takes nobody who speaks plainly',
      (network) => ({
        listen: ({ host, port }, accept) => network.listen({ host, port }, accept),
        connect: ({ host, port }) => network.connect({ host, port }),
      }),
    ],
    ['says `untrusted`', (network) => ({ connect: (to) => network.connect({ ...to, tls: {} }) })],
    [
      'serves a renewed certificate',
      (network) => ({
        listen: async (at, accept) => broken<Listener>(await network.listen(at, accept), () => ({ renew: () => undefined })),
      }),
    ],
  ];
  it.each(flaws)('where it breaks "%s"', async (name, flaw) => {
    const open = (): Promise<ContractSubject<Network>> => Promise.resolve(simulated(({ network }) => broken<Network>(network, flaw)));
    expect(await failing(tlsContract(open, simulatedCast), name)).toBe('failed');
  });
});

/** `inner` with some of its parts replaced; the rest answers as before. */
function broken<Port extends object>(inner: Port, flaw: (inner: Port) => Partial<Port>): Port {
  const replaced = flaw(inner);
  return new Proxy(inner, {
    get(_target, key) {
      if (Object.hasOwn(replaced, key)) return Reflect.get(replaced, key);
      const value: unknown = Reflect.get(inner, key, inner);
      return typeof value === 'function' ? value.bind(inner) : value;
    },
  });
}

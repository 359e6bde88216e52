import type { DiskLock, Ground } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { Limits } from '../limits.js';
import { FoundBatches } from '../log/journaled-batches.js';
import { Gate } from '../queues/gate.js';
import { MessageLog, readRecord } from '../queues/message-log.js';
import { RecordReplay } from '../queues/record-replay.js';
import { Trimmer } from '../queues/trimmer.js';
import { Turn } from '../queues/turn.js';
import type { VirtualHost } from '../queues/virtual-host.js';
import { Arena } from '../storage/arena.js';
import { Journal, type JournalDurability } from '../storage/journal.js';
import { Pager } from '../storage/pager.js';
import { Progress } from '../storage/progress.js';
import { folderError, recover } from '../storage/recovery.js';
import { Spill } from '../storage/spill.js';
import { AccessControl, everything } from './access-control.js';
import type { BrokerOptions, Durability } from './options.js';
import { VirtualHosts } from './virtual-hosts.js';

/** Everything of a broker below its protocols, ready to serve. */
export interface OpenStorage {
  readonly durability: Durability;
  readonly arena: Arena;
  readonly hosts: VirtualHosts;
  /** The virtual host `/`. */
  readonly host: VirtualHost;
  readonly journal: Journal | undefined;
  /** What the journal has of the partitioned log, until that is opened. */
  readonly found: FoundBatches | undefined;
  readonly lock: DiskLock | undefined;
  /** Says who is told when the disk fails for good. */
  onFailure(listener: (error: CodedError) => void): void;
}

/** Claims the folder, recovers what is in it and starts the journal. Rejects with a CodedError and leaves nothing claimed. */
export async function openStorage(options: BrokerOptions, ground: Ground, limits: Limits): Promise<OpenStorage> {
  const { data } = options;
  const durability = options.durability ?? (data === undefined ? 'memory' : 'fsync');
  if (durability === 'memory') return openVolatile(options, ground, limits);
  if (data === undefined) {
    throw new CodedError('data-folder-unusable', `Durability '${durability}' needs a data folder: give one, or choose 'memory'`);
  }
  let lock: DiskLock | undefined;
  try {
    await ground.disk.makeDirectory(data);
    lock = await ground.disk.lock(data);
    return await openJournaled(options, data, durability, ground, limits, lock);
  } catch (error) {
    await lock?.release();
    throw folderError(data, error);
  }
}

function openVolatile(options: BrokerOptions, ground: Ground, limits: Limits): OpenStorage {
  const { exchangeTypes = [] } = options;
  const arena = new Arena();
  const turn = new Turn(ground.clock);
  const gate = new Gate();
  const { random, clock } = ground;
  const access = new AccessControl(random);
  const hosts = new VirtualHosts({ arena, turn, gate, random, clock, limits, log: undefined, exchangeTypes }, access);
  configure(hosts, options);
  turn.watch = () => watchMemory(arena, gate, limits);
  arena.onChange = () => turn.schedule();
  return {
    durability: 'memory',
    arena,
    hosts,
    host: hosts.first,
    journal: undefined,
    found: undefined,
    lock: undefined,
    onFailure: () => undefined,
  };
}

async function openJournaled(
  options: BrokerOptions,
  data: string,
  durability: JournalDurability,
  ground: Ground,
  limits: Limits,
  lock: DiskLock,
): Promise<OpenStorage> {
  const { exchangeTypes = [], log: report = () => undefined } = options;
  const { disk, clock, random } = ground;
  const arena = new Arena();
  const turn = new Turn(clock);
  const gate = new Gate();
  const log = new MessageLog(arena);
  const hosts = new VirtualHosts({ arena, turn, gate, random, clock, limits, log, exchangeTypes }, new AccessControl(random));
  const residentBytesMax = Math.min(limits.residentBytesMax, limits.memoryBytesMax / 2);
  const pager = new Pager({ arena, disk, clock, residentBytesMax, spill: await Spill.open(disk, `${data}/spill`) });
  const directory = `${data}/journal`;
  const progress = new Progress(clock, report);
  const found = new FoundBatches(arena);
  const replay = new RecordReplay(arena, (chunk, offset, length) => {
    if (FoundBatches.has(chunk.bytes[offset])) found.take(chunk, offset, length);
    else readRecord(chunk, offset, length, hosts);
  });
  const start = await recover({
    disk,
    random,
    arena,
    directory,
    durability,
    progress: (bytesRead, bytesTotal) => progress.tell(bytesRead, bytesTotal),
    relieve: () => void pager.relieve(),
    replay: (chunk, offset, length) => {
      progress.records++;
      replay.take(chunk, offset, length);
    },
  });
  replay.forget();
  configure(hosts, options);
  const fileBytesMax = limits.journalFileBytesMax;
  const journal = new Journal({ disk, clock, random, arena, directory, durability, fileBytesMax }, start);
  log.useJournal(journal);
  turn.useJournal(journal, log);
  arena.onChange = () => turn.schedule();
  const trimmer = new Trimmer({ arena, journal, log, turn, holders: hosts, fileBytesMax, slackBytes: limits.journalSlackBytes });
  pager.onFailure = (error) => journal.end(error);
  turn.watch = () => {
    if (pager.relieve()) turn.schedule();
    trimmer.work();
    watchMemory(arena, gate, limits);
    gate.journalIsBehind(journal.uncommittedBytes > limits.uncommittedBytesMax);
  };
  const failure = await startJournal(journal, { data, turn, gate, hosts, trimmer, report });
  return { durability, arena, hosts, host: hosts.first, journal, found, lock, onFailure: (listener) => (failure.tell = listener) };
}

interface JournalUsers {
  readonly data: string;
  readonly turn: Turn;
  readonly gate: Gate;
  readonly hosts: VirtualHosts;
  readonly trimmer: Trimmer;
  readonly report: (line: string) => void;
}

/** Resolves when the first commit is durable, to where the one who is told of a failure can be set. Rejects, and ends the journal, when there is none. */
async function startJournal(journal: Journal, users: JournalUsers): Promise<{ tell: (error: CodedError) => void }> {
  const { data, turn, gate, hosts, trimmer, report } = users;
  const failure: { tell: (error: CodedError) => void } = { tell: () => undefined };
  let isStarted = false;
  const started = new Promise<void>((resolve, reject) => {
    failure.tell = reject;
    journal.start({
      isWaiting: false,
      sealing: () => turn.sealing(),
      sealed: () => turn.sealed(),
      committed: () => turn.committed(),
      checkpoint: () => {
        hosts.appendCheckpoint();
        trimmer.consider();
      },
      full: (reason) => {
        if (reason !== undefined && !isStarted)
          failure.tell(new CodedError('disk-full', `The disk of ${data} is full: free some space and start again`));
        else if (reason !== undefined) report(`The disk of ${data} is full: publishers are held back until there is space. ${reason}`);
        gate.diskIsFull(reason);
      },
      failed: (error) => failure.tell(error),
    });
    turn.afterCommit(() => {
      isStarted = true;
      resolve();
    });
  });
  try {
    await started;
  } catch (error) {
    await journal.abandon();
    throw error;
  }
  return failure;
}

/**
 * Everything was read back. What the caller said of users and virtual hosts rules over what was kept. Users without permissions of their own may do everything
 * in every virtual host that the caller named, and in `/`.
 */
function configure(hosts: VirtualHosts, { users = [], virtualHosts = [], permissions = [] }: BrokerOptions): void {
  hosts.finishRecovery();
  hosts.ensure(virtualHosts);
  const named = ['/', ...virtualHosts.map(({ name }) => name)];
  const withOwn = new Set(permissions.map(({ user }) => user));
  const others = users.filter(({ name }) => !withOwn.has(name));
  const granted = others.flatMap(({ name }) => named.map((virtualHost) => everything(name, virtualHost)));
  hosts.access.configure(users, [...granted, ...permissions]);
}

/** Publishers are held back above the limit and let in again when a tenth of it is free. */
function watchMemory(arena: Arena, gate: Gate, { memoryBytesMax }: Limits): void {
  if (arena.bytesInUse > memoryBytesMax) {
    gate.memoryIsFull(`messages take more than ${memoryBytesMax} bytes of memory: publishing goes on when consumers have caught up`);
  } else if (arena.bytesInUse < memoryBytesMax * 0.9) gate.memoryIsFull(undefined);
}

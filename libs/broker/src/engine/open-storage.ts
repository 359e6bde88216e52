import type { DiskLock, Ground } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { Limits } from '../limits.js';
import type { ExchangeType } from '../queues/exchange-type.js';
import { Gate } from '../queues/gate.js';
import { MessageLog, readRecord } from '../queues/message-log.js';
import { RecordReplay } from '../queues/record-replay.js';
import { Turn } from '../queues/turn.js';
import { VirtualHost } from '../queues/virtual-host.js';
import { Arena } from '../storage/arena.js';
import { Journal, type JournalDurability } from '../storage/journal.js';
import { Pager } from '../storage/pager.js';
import { folderError, recover } from '../storage/recovery.js';
import type { BrokerOptions, Durability } from './options.js';

/** Everything of a broker below its protocols, ready to serve. */
export interface OpenStorage {
  readonly durability: Durability;
  readonly arena: Arena;
  readonly host: VirtualHost;
  readonly journal: Journal | undefined;
  readonly lock: DiskLock | undefined;
  /** Says who is told when the disk fails for good. */
  onFailure(listener: (error: CodedError) => void): void;
}

const progressEveryMs = 1000;

/** Claims the folder, recovers what is in it and starts the journal. Rejects with a CodedError and leaves nothing claimed. */
export async function openStorage(options: BrokerOptions, ground: Ground, limits: Limits): Promise<OpenStorage> {
  const { data } = options;
  const durability = options.durability ?? (data === undefined ? 'memory' : 'fsync');
  const { exchangeTypes = [] } = options;
  if (durability === 'memory') return openVolatile(ground, limits, exchangeTypes);
  if (data === undefined) {
    throw new CodedError('data-folder-unusable', `Durability '${durability}' needs a data folder: give one, or choose 'memory'`);
  }
  let lock: DiskLock | undefined;
  try {
    await ground.disk.makeDirectory(data);
    lock = await ground.disk.lock(data);
    return await openJournaled(data, durability, ground, limits, lock, options.log ?? (() => undefined), exchangeTypes);
  } catch (error) {
    await lock?.release();
    throw folderError(data, error);
  }
}

function openVolatile(ground: Ground, limits: Limits, exchangeTypes: readonly ExchangeType[]): OpenStorage {
  const arena = new Arena();
  const turn = new Turn(ground.clock);
  const gate = new Gate();
  const host = new VirtualHost('/', {
    arena,
    turn,
    gate,
    random: ground.random,
    clock: ground.clock,
    limits,
    log: undefined,
    exchangeTypes,
  });
  turn.watch = () => watchMemory(arena, gate, limits);
  arena.onChange = () => turn.schedule();
  return { durability: 'memory', arena, host, journal: undefined, lock: undefined, onFailure: () => undefined };
}

async function openJournaled(
  data: string,
  durability: JournalDurability,
  ground: Ground,
  limits: Limits,
  lock: DiskLock,
  report: (line: string) => void,
  exchangeTypes: readonly ExchangeType[],
): Promise<OpenStorage> {
  const { disk, clock, random } = ground;
  const arena = new Arena();
  const turn = new Turn(clock);
  const gate = new Gate();
  const log = new MessageLog(arena);
  const host = new VirtualHost('/', { arena, turn, gate, random, clock, limits, log, exchangeTypes });
  const pager = new Pager({ arena, disk, residentBytesMax: Math.min(limits.residentBytesMax, limits.memoryBytesMax / 2) });
  const directory = `${data}/journal`;
  const replay = new RecordReplay(arena, (chunk, offset, length) => readRecord(chunk, offset, length, host));
  const start = await recover({
    disk,
    random,
    arena,
    directory,
    durability,
    progress: reportProgress(ground, report),
    relieve: () => void pager.relieve(),
    replay: (chunk, offset, length) => replay.take(chunk, offset, length),
  });
  replay.forget();
  host.finishRecovery();
  const journal = new Journal({ disk, clock, random, arena, directory, durability, fileBytesMax: limits.journalFileBytesMax }, start);
  log.useJournal(journal);
  turn.useJournal(journal, log);
  arena.onChange = () => turn.schedule();
  pager.onFailure = (error) => journal.end(error);
  turn.watch = () => {
    if (pager.relieve()) turn.schedule();
    watchMemory(arena, gate, limits);
    gate.journalIsBehind(journal.uncommittedBytes > limits.uncommittedBytesMax);
  };
  let fail: (error: CodedError) => void = () => undefined;
  let isStarted = false;
  const started = new Promise<void>((resolve, reject) => {
    fail = reject;
    journal.start({
      sealing: () => turn.sealing(),
      sealed: () => turn.sealed(),
      committed: () => turn.committed(),
      checkpoint: () => host.appendCheckpoint(),
      full: (reason) => {
        if (reason !== undefined && !isStarted)
          fail(new CodedError('disk-full', `The disk of ${data} is full: free some space and start again`));
        else if (reason !== undefined) report(`The disk of ${data} is full: publishers are held back until there is space. ${reason}`);
        gate.diskIsFull(reason);
      },
      failed: (error) => fail(error),
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
  return { durability, arena, host, journal, lock, onFailure: (listener) => (fail = listener) };
}

/** A line a second while a long recovery runs. */
function reportProgress({ clock }: Ground, report: (line: string) => void): (bytesRead: number, bytesTotal: number) => void {
  let last = clock.monotonicMs();
  return (bytesRead, bytesTotal) => {
    const now = clock.monotonicMs();
    if (now - last < progressEveryMs) return;
    last = now;
    const percent = Math.floor((100 * bytesRead) / Math.max(bytesTotal, 1));
    report(`Recovering: ${percent} % of ${Math.ceil(bytesTotal / 1_048_576)} MiB read`);
  };
}

/** Publishers are held back above the limit and let in again when a tenth of it is free. */
function watchMemory(arena: Arena, gate: Gate, { memoryBytesMax }: Limits): void {
  if (arena.bytesInUse > memoryBytesMax) {
    gate.memoryIsFull(`messages take more than ${memoryBytesMax} bytes of memory: publishing goes on when consumers have caught up`);
  } else if (arena.bytesInUse < memoryBytesMax * 0.9) gate.memoryIsFull(undefined);
}

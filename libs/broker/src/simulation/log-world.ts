import type { Scenario, SeededRandom, SimulatedGround, SimulatedProcess } from '@dovecote/ground/testing';
import type { CodedError } from '../errors.js';
import type { Partition } from '../log/log.js';
import type { OpenLog } from '../log/open-log.js';
import { type Sabotage, watchedGround } from './faulty-ground.js';
import { JournaledLog } from './journaled-log.js';
import { fail } from './log-model.js';

/**
 * The partitioned log on a simulated machine, and what befalls it: the process is killed, the power goes, the disk fails or is full, files are removed by hand, the clock jumps.
 * It is opened again as soon as somebody needs it. Who uses it, a guest, knows what it was told and saw, and holds that against what it finds.
 */
export interface LogGuest<Action> {
  /** The log is there for the first time. */
  begin(): Promise<void>;
  /** One that makes no sense where it comes does nothing. */
  act(action: Action): Promise<void> | void;
  /** The log was opened: what is there is compared with what must be, and what was not answered is sent again. */
  opened(): Promise<void>;
  /** Everything that is visible now counts as seen. */
  look(): void;
  /** Files with this ending were removed. */
  filesLost?(suffix: string): void;
  /** Everything is well again: waits until all is answered. */
  finish(): Promise<void>;
  /** Compares for the last time, after an end in order. */
  compare(): Promise<void>;
}

export type Trouble =
  | { readonly do: 'crash'; readonly power: boolean; readonly lose: string | undefined }
  | { readonly do: 'restart' | 'checkpoint' | 'free' }
  | { readonly do: 'fail'; readonly operation: 'sync' | 'syncDirectory' | 'write'; readonly nth: number }
  | { readonly do: 'fill'; readonly bytes: number }
  | { readonly do: 'jump'; readonly hours: number }
  | { readonly do: 'wait'; readonly ms: number };

/** What comes beside crashes: under `fsync` the power may go, under `os` only the process. */
export type TroubleKind = 'power-cuts' | 'kills' | 'full-disk';

const troubleShare = 0.36;
const data = '/data';
const folder = `${data}/log`;
/** How long an answer is waited for before the run goes on without it. */
export const patienceMs = 3000;
/** Files that follow from the batches: losing one costs a scan. */
const hints = [
  '.index',
  '.timeindex',
  '.txnindex',
  '.snapshot',
  '.window',
  'leader-epoch-checkpoint',
  'recovery-point-offset-checkpoint',
  'index-checkpoint',
];
const troubles: ReadonlySet<string> = new Set<Trouble['do']>(['crash', 'restart', 'checkpoint', 'free', 'fail', 'fill', 'jump', 'wait']);

export function scenarioOfLog<Action extends { readonly do: string }>(
  name: string,
  settings: { readonly trouble: TroubleKind; readonly sabotage: Sabotage },
  draw: (random: SeededRandom) => Action,
  guest: (world: LogWorld<Action>) => LogGuest<Action>,
): Scenario<LogWorld<Action>, Action | Trouble> {
  return {
    name,
    draw: (random) => (random.chance(troubleShare) ? drawTrouble(settings.trouble, random) : draw(random)),
    begin: async (machine) => {
      const world = new LogWorld(machine, settings.trouble, settings.sabotage, guest);
      await world.begin();
      return world;
    },
    act: (world, action) => world.act(action),
    check: (world) => world.check(),
  };
}

function drawTrouble(kind: TroubleKind, random: SeededRandom): Trouble {
  let left = random.below(36);
  const falls = (share: number): boolean => (left -= share) < 0;
  if (falls(7)) {
    const lose = random.chance(0.3) ? hints[random.below(hints.length)] : undefined;
    return { do: 'crash', power: kind !== 'kills' && random.chance(0.7), lose };
  }
  if (falls(3)) return { do: 'restart' };
  if (falls(4)) return { do: 'checkpoint' };
  if (falls(3)) return { do: 'jump', hours: random.below(40) - 20 };
  if (falls(2) && kind === 'power-cuts') {
    const operation = (['sync', 'sync', 'syncDirectory', 'write'] as const)[random.below(4)]!;
    return { do: 'fail', operation, nth: 1 + random.below(6) };
  }
  if (falls(4) && kind === 'full-disk') return random.chance(0.5) ? { do: 'fill', bytes: random.below(30_000) } : { do: 'free' };
  return { do: 'wait', ms: random.chance(0.1) ? random.below(3000) : random.between(0, 15) };
}

export class LogWorld<Action extends { readonly do: string }> {
  /** Goes up with each opening and each end: what the memory of an earlier one still says counts no more. */
  life = 0;
  private readonly guest: LogGuest<Action>;
  private process: SimulatedProcess | undefined;
  private journaled: JournaledLog | undefined;
  private failure: CodedError | undefined;
  private hasFailedDisk = false;
  private hasEnded = false;
  /** It was told to close: on a disk that is full then, or fails, it ends as if it had crashed. */
  private isClosing = false;

  constructor(
    readonly machine: SimulatedGround,
    private readonly trouble: TroubleKind,
    private readonly sabotage: Sabotage,
    guest: (world: LogWorld<Action>) => LogGuest<Action>,
  ) {
    this.guest = guest(this);
  }

  get log(): OpenLog | undefined {
    return this.journaled?.log;
  }

  async begin(): Promise<void> {
    await this.open();
    await this.guest.begin();
  }

  async act(action: Action | Trouble): Promise<void> {
    if (isTrouble(action)) return this.befall(action);
    await this.ready();
    return this.guest.act(action);
  }

  async check(): Promise<void> {
    this.machine.faults.clear();
    await this.machine.clock.pause(2 * patienceMs);
    await this.ready();
    await this.crash({ power: this.trouble !== 'kills', lose: undefined });
    await this.ready();
    await this.guest.finish();
    await this.restart();
    await this.ready();
    await this.guest.compare();
  }

  // What the guest needs.

  /** Goes on without what takes longer than anybody waits. */
  async patiently(work: Promise<unknown>): Promise<void> {
    await Promise.race([work, this.machine.clock.pause(patienceMs)]);
  }

  /** The same for a comparison, which an end of the log may cut short: then it says nothing. */
  async held(comparison: Promise<void>): Promise<void> {
    const { life } = this;
    const unlessEnded = comparison.catch((error: unknown) => {
      if (this.life === life && this.failure === undefined) throw error;
    });
    await this.patiently(unlessEnded);
  }

  async deleteRecords(model: { start: number }, partition: Partition, wanted: number): Promise<void> {
    const { life } = this;
    const deleted = partition.deleteRecordsBefore(wanted).then((start) => {
      if (this.life === life && typeof start === 'number') model.start = Math.max(model.start, start);
    });
    await this.patiently(deleted.catch(() => undefined));
  }

  /** One attempt at a time, as a producer does. */
  later(producer: { hasTimer: boolean }, again: () => void): void {
    const { life } = this;
    if (producer.hasTimer) return;
    producer.hasTimer = true;
    this.machine.clock.after(200, () => {
      producer.hasTimer = false;
      if (this.life === life) again();
    });
  }

  // What befalls the log.

  private async befall(action: Trouble): Promise<void> {
    const { clock, faults } = this.machine;
    switch (action.do) {
      case 'wait':
        return clock.pause(action.ms);
      case 'fail':
        return faults.fail(action.operation, { nth: action.nth });
      case 'fill':
        return faults.fillUpAfter(action.bytes);
      case 'free':
        return faults.freeUp();
      case 'jump':
        return clock.setWallClock(clock.now() + action.hours * 3_600_000);
      case 'crash':
        return this.crash(action);
      case 'restart':
        await this.ready();
        return this.restart();
      case 'checkpoint':
        await this.ready();
        return this.patiently(this.log!.checkpoint());
    }
  }

  private async crash({ power, lose }: { readonly power: boolean; readonly lose: string | undefined }): Promise<void> {
    if (this.log !== undefined) this.guest.look();
    this.machine.crash({ power });
    this.endLife();
    if (lose === undefined) return;
    await this.removeFiles(lose);
    this.guest.filesLost?.(lose);
  }

  private async removeFiles(suffix: string): Promise<void> {
    const { disk } = this.machine;
    for (const name of await disk.list(folder)) {
      if (name.endsWith(suffix)) await disk.remove(`${folder}/${name}`);
      if (!/-\d+$/.test(name)) continue;
      for (const file of await disk.list(`${folder}/${name}`)) if (file.endsWith(suffix)) await disk.remove(`${folder}/${name}/${file}`);
    }
  }

  private async restart(): Promise<void> {
    const process = this.process!;
    this.guest.look();
    this.isClosing = true;
    await this.patiently(this.journaled!.close().catch(() => undefined));
    if (process.isRunning) process.kill();
    this.endLife();
  }

  private endLife(): void {
    this.journaled = undefined;
    this.isClosing = false;
    this.life++;
  }

  private async ready(): Promise<void> {
    for (let attempt = 0; this.log === undefined; attempt++) {
      if (attempt === 6) fail(`the log does not open: ${this.failure?.message}`);
      if (attempt > 1) this.machine.faults.clear();
      await this.open();
    }
  }

  private async open(): Promise<void> {
    const life = ++this.life;
    const process = this.machine.startProcess();
    this.process = process;
    this.failure = undefined;
    this.hasFailedDisk = false;
    this.hasEnded = false;
    try {
      const journaled = await JournaledLog.open({
        ground: watchedGround(process.ground, this.sabotage, () => (this.hasFailedDisk = true)),
        data,
        durability: this.trouble === 'kills' ? 'os' : 'fsync',
        journalFileBytesMax: 8_000,
        aloneBytesMin: 6_000,
        failed: (error) => this.ended(life, error),
      });
      if (this.life !== life) return;
      this.journaled = journaled;
      if (this.hasEnded) return this.die();
    } catch (error) {
      process.kill();
      this.failure = error as CodedError;
      if (!this.hasFailedDisk && this.failure.code !== 'disk-full') throw error;
      if (this.failure.code === 'disk-full') this.machine.faults.freeUp();
      return;
    }
    await this.guest.opened();
  }

  private ended(life: number, error: CodedError): void {
    if (life !== this.life || this.isClosing) return;
    if (!this.hasFailedDisk) fail(`the log ended by itself: ${error.message}`);
    this.failure = error;
    this.hasEnded = true;
    if (this.log !== undefined) this.die(); // or else when it is open, or does not open
  }

  private die(): void {
    this.guest.look();
    this.process!.kill();
    this.endLife();
  }
}

function isTrouble(action: { readonly do: string }): action is Trouble {
  return troubles.has(action.do);
}

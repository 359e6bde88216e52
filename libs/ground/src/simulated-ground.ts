/**
 * A whole world from one seed: time, a disk, a network and chance, and processes that live in it and can be killed.
 *
 * The world itself is a ground too, for what must outlive a crash: clients on other machines, and the checks. What is to be crashed runs on the
 * ground of a process. Two worlds with one seed unfold alike, event by event, as long as what runs in them asks nothing else for time or chance.
 */
import type { Clock, Timer } from './clock.js';
import { DiskFaults } from './disk-faults.js';
import type { Ground } from './ground.js';
import { SeededRandom } from './seeded-random.js';
import { SimulatedClock } from './simulated-clock.js';
import { SimulatedDisk } from './simulated-disk.js';
import { SimulatedNetwork } from './simulated-network.js';
import { SimulatedVolume } from './simulated-volume.js';
import { Trace } from './trace.js';

export function simulatedGround(seed: number | string): SimulatedGround {
  return new SimulatedGround(new SeededRandom(seed));
}

export class SimulatedGround implements Ground {
  readonly trace = new Trace();
  readonly clock = new SimulatedClock(this.trace);
  readonly volume = new SimulatedVolume();
  /** What shall go wrong with the disks of all processes. */
  readonly faults = new DiskFaults();
  /** A disk of nobody's process on the same volume, for checks: the faults do not touch it. */
  readonly disk: SimulatedDisk;
  readonly network: SimulatedNetwork;
  readonly #processes = new Set<SimulatedProcess>();
  #processCount = 0;

  constructor(readonly random: SeededRandom) {
    this.disk = new SimulatedDisk({ clock: this.clock, random: random.fork('disk'), volume: this.volume, processNumber: 0 });
    this.network = new SimulatedNetwork(this.clock, random.fork('network'));
  }

  /** A process on the machine with the disk. It ends by `kill`, or with `crash`. */
  startProcess(): SimulatedProcess {
    const process = new SimulatedProcess(++this.#processCount, this);
    this.#processes.add(process);
    this.trace.note(`process ${process.number} starts`);
    return process;
  }

  /**
   * Every process dies at once, in the middle of whatever it does; without power the disk forgets what was not synced. Start new ones to go on.
   * After a loss of power clients hear nothing until they send, as in life: those that only wait need a heartbeat, or `network.cutAll`.
   */
  crash(how: { readonly power: boolean }): void {
    for (const process of this.#processes) process.kill(how);
    this.#processes.clear();
    if (how.power) this.disk.crash(how);
  }

  /** As long as it runs, `crash` ends it. */
  forget(process: SimulatedProcess): void {
    this.#processes.delete(process);
  }
}

/** A process that can be killed at any moment: none of its timers, callbacks and promises go on after that. */
export class SimulatedProcess {
  readonly ground: Ground & { readonly disk: SimulatedDisk };
  readonly #clock: ProcessClock;
  #isRunning = true;

  constructor(
    readonly number: number,
    private readonly world: SimulatedGround,
  ) {
    const random = world.random.fork(`process ${number}`);
    this.#clock = new ProcessClock(world.clock);
    const disk = new SimulatedDisk({
      clock: world.clock,
      random: random.fork('disk'),
      volume: world.volume,
      faults: world.faults,
      processNumber: number,
    });
    disk.pace = world.disk.pace;
    this.ground = { clock: this.#clock, disk, network: world.network.of(this), random };
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** kill -9. `power` only says what the other ends of its connections hear: nothing. */
  kill(how: { readonly power: boolean } = { power: false }): void {
    if (!this.#isRunning) return;
    this.#isRunning = false;
    this.world.forget(this);
    this.world.trace.note(`process ${this.number} is killed`);
    this.#clock.stop();
    this.ground.disk.kill();
    this.world.network.hangUp(this, { isSilent: how.power });
  }
}

/** The world's time, with the timers of one process. */
class ProcessClock implements Clock {
  readonly #timers = new Set<Timer>();
  #isStopped = false;

  constructor(private readonly world: SimulatedClock) {}

  now(): number {
    return this.world.now();
  }

  monotonicMs(): number {
    return this.world.monotonicMs();
  }

  after(delayMs: number, run: () => void): Timer {
    if (this.#isStopped) return NEVER;
    const timer = this.world.after(delayMs, () => {
      this.#timers.delete(timer);
      run();
    });
    this.#timers.add(timer);
    return {
      cancel: () => {
        this.#timers.delete(timer);
        timer.cancel();
      },
    };
  }

  defer(run: () => void): void {
    this.after(0, run);
  }

  stop(): void {
    this.#isStopped = true;
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
  }
}

const NEVER: Timer = { cancel() {} };

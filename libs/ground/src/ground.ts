import type { Clock } from './clock.js';
import type { Disk } from './disk.js';
import type { Doors } from './doors.js';
import type { Network } from './network.js';
import type { Random } from './random.js';
import { RealClock } from './real-clock.js';
import { RealDisk } from './real-disk.js';
import { RealDoors } from './real-doors.js';
import { RealNetwork } from './real-network.js';
import { RealRandom } from './real-random.js';

/** The things a program takes from the machine. Whoever is given one of these can be run by the simulator. */
export interface Ground {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly network: Network;
  /** Not every machine has them: a simulated one has none. */
  readonly doors?: Doors;
  readonly random: Random;
}

/** The machine itself: what a program is given when nobody simulates it. */
export function realGround(): Ground {
  return { clock: new RealClock(), disk: new RealDisk(), network: new RealNetwork(), doors: new RealDoors(), random: new RealRandom() };
}

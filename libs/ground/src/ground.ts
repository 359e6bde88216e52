import type { Clock } from './clock.js';
import type { Disk } from './disk.js';
import type { Network } from './network.js';
import type { Random } from './random.js';
import { RealClock } from './real-clock.js';
import { RealDisk } from './real-disk.js';
import { RealNetwork } from './real-network.js';
import { RealRandom } from './real-random.js';

/** The four things a program takes from the machine. Whoever is given one of these can be run by the simulator. */
export interface Ground {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly network: Network;
  readonly random: Random;
}

/** The machine itself: what a program is given when nobody simulates it. */
export function realGround(): Ground {
  return { clock: new RealClock(), disk: new RealDisk(), network: new RealNetwork(), random: new RealRandom() };
}

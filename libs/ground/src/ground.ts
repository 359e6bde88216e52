import type { Clock } from './clock.js';
import type { Disk } from './disk.js';
import type { Network } from './network.js';
import type { Random } from './random.js';

/** The four things a program takes from the machine. Whoever is given one of these can be run by the simulator. */
export interface Ground {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly network: Network;
  readonly random: Random;
}

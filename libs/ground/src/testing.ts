/** What a test needs of the ground: the simulated world, planned faults, runs from a seed, and the suite every implementation of a port must pass. */
export { type SimulatedGround, type SimulatedProcess, simulatedGround } from './simulated-ground.js';
export { SimulatedClock, StuckError, type DriveLimits } from './simulated-clock.js';
export { SimulatedDisk, type DiskPace, type SimulatedDiskOptions } from './simulated-disk.js';
export { SimulatedVolume } from './simulated-volume.js';
export { SimulatedNetwork } from './simulated-network.js';
export type { NetworkPace } from './simulated-socket.js';
export { DiskFaults, FaultyDisk, type FaultyOperation } from './disk-faults.js';
export { SeededRandom } from './seeded-random.js';
export { Trace } from './trace.js';
export {
  describeRun,
  shrink,
  simulate,
  simulateMany,
  type ManyRuns,
  type Scenario,
  type ShrinkOptions,
  type SimulationFailure,
  type SimulationOptions,
  type SimulationRun,
} from './simulation.js';
export type { ContractCase, ContractSubject, OpenSubject } from './contract.js';
export { clockContract } from './clock-contract.js';
export { type DiskSubject, diskContract } from './disk-contract.js';
export { TestAuthority, type TestCertificate } from './test-certificates.js';
export { networkContract } from './network-contract.js';
export { overTls, tlsContract, type TlsCast } from './tls-contract.js';
export { randomContract } from './random-contract.js';

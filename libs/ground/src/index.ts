export type { Ground } from './ground.js';
export type { Clock, Timer } from './clock.js';
export { DiskError, type Disk, type DiskErrorCode, type DiskFile, type DiskLock } from './disk.js';
export { NetworkError, type ListenAddress, type Listener, type Network, type NetworkErrorCode, type Socket, type SocketEvents } from './network.js';
export type { Random } from './random.js';

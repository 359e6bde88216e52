export { type Ground, realGround } from './ground.js';
export type { Clock, Timer } from './clock.js';
export { DiskError, type Disk, type DiskErrorCode, type DiskFile, type DiskLock, type OpenMode } from './disk.js';
export type { Door, Doors, FoundDoor } from './doors.js';
export {
  NetworkError,
  type ConnectAddress,
  type ListenAddress,
  type Listener,
  type Network,
  type NetworkErrorCode,
  type Socket,
  type SocketEvents,
  type TlsIdentity,
  type TlsTrust,
} from './network.js';
export { httpGet, type HttpAnswer, type HttpGetOptions } from './http-get.js';
export { serveHttp, type HttpBounds, type HttpRequest, type HttpResponse } from './http-server.js';
export type { Random } from './random.js';
export { RealClock } from './real-clock.js';
export { RealDisk } from './real-disk.js';
export { RealNetwork } from './real-network.js';
export { RealRandom } from './real-random.js';
export { crc32 } from './crc32.js';
export { crc32c } from './crc32c.js';

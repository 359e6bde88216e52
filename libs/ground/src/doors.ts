/**
 * Ways into the process that owns a folder, for other processes of the same account on the same machine. They are found by the folder alone: no port
 * has to be agreed on, and nobody who may not write to the folder can come in.
 */
import type { Socket } from './network.js';

export interface Doors {
  /**
   * Lets others in until `close` or the end of the process. Only the owner of the folder's lock may call it: what stands there of an earlier owner is
   * taken away. `about` is told to whoever looks for the door. Rejects with a `NetworkError` where the machine has no such sockets.
   */
  open(folder: string, about: Readonly<Record<string, string>>, accept: (socket: Socket) => void): Promise<Door>;
  /** The door as it was told last; nothing where there is none. That somebody still stands behind it only connecting shows. */
  find(folder: string): Promise<FoundDoor | undefined>;
}

export interface Door {
  /** Takes no more connections; the ones it accepted live on. */
  close(): Promise<void>;
}

export interface FoundDoor {
  /** Where to connect to, as `net.connect({ path })` takes it. */
  readonly path: string;
  readonly about: Readonly<Record<string, string>>;
}

/**
 * One end of a simulated connection.
 *
 *   write -> unsent -> (the peer's) inbox, as much as its window holds -> onData, in pieces of any size
 *
 * The inbox stands for both systems' buffers and the wire between: what lies in it may be lost when the connection breaks. Nothing survives
 * the process that owns the end. Made in pairs by the simulated network, the only caller besides the owner.
 */
import type { Timer } from './clock.js';
import type { Socket, SocketEvents } from './network.js';
import type { SeededRandom } from './seeded-random.js';
import type { SimulatedClock } from './simulated-clock.js';
import { fingerprint } from './trace.js';

/** How the wire behaves; the network's `pace`, read again for every move. */
export interface NetworkPace {
  /** What every move of bytes takes, in milliseconds of the simulated clock; drawn from evenly. */
  readonly delayMs: readonly [number, number];
  /** The share of moves that take `hiccupMs` on top. */
  readonly hiccupShare: number;
  readonly hiccupMs: readonly [number, number];
  /** The most bytes handed over at once; 1 splits at every byte. */
  readonly pieceBytesMax: number;
  /** Bytes that are on their way at most, each way. Small windows make back-pressure. */
  readonly windowBytes: readonly [number, number];
}

export interface Wire {
  readonly clock: SimulatedClock;
  readonly random: SeededRandom;
  readonly pace: NetworkPace;
  /** While true nothing moves and nobody is told anything, as when a cable is pulled. */
  readonly isStalled: boolean;
}

export class SimulatedSocket implements Socket {
  readonly remoteAddress = '127.0.0.1';
  readonly localAddress = '127.0.0.1';
  peerName: string | undefined;
  receivedBytes = 0;
  sentBytes = 0;
  peer: SimulatedSocket | undefined;
  #events: SocketEvents | undefined;
  #isPaused = false;
  /** We said that nothing more comes from us. */
  #isEnding = false;
  #isClosed = false;
  #closeWasTold = false;
  #ownerIsGone = false;
  #needsDrain = false;
  #unsent: Outgoing[] = [];
  #unsentBytes = 0;
  #inbox: Uint8Array[] = [];
  #inboxBytes = 0;
  /** What comes behind the bytes in the inbox. */
  #last: 'nothing' | 'end' | 'reset' = 'nothing';
  #linger: Timer | undefined;
  #isSendDue = false;
  #isReceiveDue = false;
  /** Where the owner wants the next bytes. */
  #given: Buffer | undefined;
  readonly #windowBytes: number;

  constructor(
    readonly name: string,
    readonly localPort: number,
    readonly remotePort: number,
    private readonly wire: Wire,
  ) {
    const [least, most] = wire.pace.windowBytes;
    this.#windowBytes = least + wire.random.below(most - least + 1);
  }

  get unsentBytes(): number {
    return this.#unsentBytes;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  start(events: SocketEvents): void {
    this.#events = events;
    if (this.#isClosed) this.#tellClose();
    else this.#receiveSoon();
  }

  write(bytes: Uint8Array, sent?: () => void): boolean {
    if (this.#isClosed || this.#isEnding) {
      if (sent !== undefined) this.#soon(sent);
      return false;
    }
    if (bytes.length > 0 || sent !== undefined) this.#unsent.push({ bytes, sent, offset: 0 });
    this.#unsentBytes += bytes.length;
    // The system usually takes small writes at once, as a real one does.
    if (!this.#isSendDue && !this.wire.isStalled && this.wire.random.chance(0.7)) this.#send();
    else this.#sendSoon();
    if (this.#unsentBytes < HIGH_WATER_MARK_BYTES) return true;
    this.#needsDrain = true;
    return false;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#receiveSoon();
  }

  end(): void {
    if (this.#isEnding || this.#isClosed) return;
    this.#isEnding = true;
    this.#sendSoon();
    // What still comes in is dropped from now on, which also lets the end of the peer's bytes through.
    this.#receiveSoon();
  }

  destroy(): void {
    if (this.#isClosed) return;
    this.#close();
    // A system that still had bytes for us resets the connection, else it sends out what it took.
    if (this.#inboxBytes > 0 || this.wire.random.chance(0.3)) this.peer?.break(0);
    else this.peer?.hearEnd();
  }

  /** The connection breaks for this end: some of what was on its way arrives, then it is closed, within `delayMs`. */
  break(delayMs: number): void {
    if (this.#isClosed || this.#last === 'reset') return;
    this.#last = 'reset';
    this.#dropInbox(this.wire.random.below(this.#inboxBytes + 1));
    this.wire.clock.after(this.#delayMs() + this.wire.random.between(0, delayMs), () => {
      this.#note('broke');
      this.#close();
    });
    this.#receiveSoon();
  }

  /** The owner's process is gone: nothing is called any more. A power cut leaves the peer without a word; else the system says good-bye. */
  abandon(how: { readonly isSilent: boolean }): void {
    this.#ownerIsGone = true;
    this.#events = undefined;
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#linger?.cancel();
    this.#unsent = [];
    if (how.isSilent || this.peer === undefined) return;
    if (this.wire.random.chance(0.5)) this.peer.hearEnd();
    else this.peer.break(0);
  }

  /** After a stall, or a window that opened: whatever can move is set moving. */
  wake(): void {
    if (this.#unsent.length > 0 || this.#isEnding) this.#sendSoon();
    this.#receiveSoon();
  }

  /** The peer will send no more than what is on its way. */
  hearEnd(): void {
    if (this.#last === 'nothing') this.#last = 'end';
    this.#receiveSoon();
  }

  #sendSoon(): void {
    if (this.#isSendDue || this.#isClosed || this.wire.isStalled) return;
    this.#isSendDue = true;
    this.wire.clock.after(this.#delayMs(), () => {
      this.#isSendDue = false;
      if (!this.#isClosed && !this.wire.isStalled) this.#send();
    });
  }

  /** Moves what fits into the peer's inbox; goes on when the peer has read. */
  #send(): void {
    const peer = this.peer;
    if (peer === undefined) return;
    for (let next = this.#unsent[0]; next !== undefined; next = this.#unsent[0]) {
      const count = Math.min(next.bytes.length - next.offset, peer.#room());
      // Copied only where the owner will be told that it may change them; else whoever changes them all the same finds out.
      const piece = next.bytes.subarray(next.offset, next.offset + count);
      peer.#arrive(next.sent === undefined ? piece : Buffer.from(piece));
      next.offset += count;
      this.#unsentBytes -= count;
      this.sentBytes += count;
      if (next.offset < next.bytes.length) break;
      this.#unsent.shift();
      if (next.sent !== undefined) this.#soon(next.sent);
    }
    if (this.#unsent.length > 0) {
      // A peer that is gone takes nothing; the first try after that tells us so.
      if (peer.#isClosed) this.break(0);
      return;
    }
    if (this.#needsDrain) {
      this.#needsDrain = false;
      this.#soon(() => !this.#isClosed && this.#events?.onDrain());
    }
    if (this.#isEnding) {
      peer.hearEnd();
      this.#linger ??= this.wire.clock.after(LINGER_MS, () => this.destroy());
      if (this.#last === 'end' && this.#inboxBytes === 0) this.#close();
    } else if (peer.#isClosed && peer.#ownerIsGone) this.break(0);
  }

  #room(): number {
    return this.#isClosed ? 0 : this.#windowBytes - this.#inboxBytes;
  }

  #arrive(bytes: Uint8Array): void {
    if (bytes.length === 0 || this.#last === 'reset') return;
    this.receivedBytes += bytes.length;
    this.#inbox.push(bytes);
    this.#inboxBytes += bytes.length;
    this.#receiveSoon();
  }

  #receiveSoon(): void {
    if (this.#isReceiveDue || this.#isClosed || this.wire.isStalled || !this.#hasNews()) return;
    this.#isReceiveDue = true;
    this.wire.clock.after(this.#delayMs(), () => {
      this.#isReceiveDue = false;
      if (!this.#isClosed && !this.wire.isStalled && this.#hasNews()) this.#receive();
    });
  }

  #hasNews(): boolean {
    if (this.#events === undefined || (this.#isPaused && !this.#isEnding)) return false;
    return this.#inboxBytes > 0 || this.#last === 'end';
  }

  #receive(): void {
    if (this.#inboxBytes > 0) {
      const most = Math.min(this.#inboxBytes, this.wire.pace.pieceBytesMax);
      const bytes = this.#take(this.wire.random.chance(0.5) ? most : 1 + this.wire.random.below(most));
      this.#note(`receives ${fingerprint(bytes)}`);
      this.peer?.wake();
      if (!this.#isEnding) this.#handOver(bytes);
    } else if (this.#isEnding) {
      if (this.#unsent.length === 0) this.#close();
    } else {
      // Node's way, as our sockets are set: the end of the input ends the output, once what was written is sent.
      this.#note('hears the end');
      this.#isEnding = true;
      if (this.#unsent.length === 0) {
        this.peer?.hearEnd();
        this.#close();
      } else this.#sendSoon();
    }
    this.#receiveSoon();
  }

  /** Into the room of an owner who has some, which holds other bytes as soon as it was told: who keeps a piece of it finds out. */
  #handOver(bytes: Buffer): void {
    const events = this.#events;
    if (events?.room === undefined) return events?.onData(bytes);
    for (let at = 0; at < bytes.length && !this.#isClosed && !this.#isEnding;) {
      const given = (this.#given ??= events.room());
      const length = bytes.copy(given, 0, at);
      at += length;
      events.onFilled!(length);
      this.#given = undefined;
    }
  }

  /** A buffer of its own, whatever the sender does with its bytes. */
  #take(count: number): Buffer {
    const bytes = Buffer.allocUnsafeSlow(count);
    for (let done = 0; done < count;) {
      const first = this.#inbox[0];
      if (first === undefined) break;
      const part = first.subarray(0, count - done);
      bytes.set(part, done);
      done += part.length;
      if (part.length === first.length) this.#inbox.shift();
      else this.#inbox[0] = first.subarray(part.length);
    }
    this.#inboxBytes -= count;
    return bytes;
  }

  /** Keeps the first `count` bytes of the inbox. */
  #dropInbox(count: number): void {
    const kept = this.#take(count);
    this.#inbox = count === 0 ? [] : [kept];
    this.#inboxBytes = count;
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#linger?.cancel();
    for (const { sent } of this.#unsent) if (sent !== undefined) this.#soon(sent);
    this.#unsent = [];
    this.#unsentBytes = 0;
    this.#tellClose();
  }

  #tellClose(): void {
    if (this.#events === undefined || this.#closeWasTold) return;
    this.#closeWasTold = true;
    const events = this.#events;
    this.#soon(() => {
      this.#note('closes');
      events.onClose();
    });
  }

  #soon(run: () => void): void {
    this.wire.clock.defer(() => {
      if (!this.#ownerIsGone) run();
    });
  }

  #delayMs(): number {
    const { delayMs, hiccupShare, hiccupMs } = this.wire.pace;
    const drawn = this.wire.random.between(...delayMs);
    return this.wire.random.chance(hiccupShare) ? drawn + this.wire.random.between(...hiccupMs) : drawn;
  }

  #note(what: string): void {
    this.wire.clock.trace.note(`socket ${this.name} ${what}`);
  }
}

interface Outgoing {
  readonly bytes: Uint8Array;
  readonly sent: (() => void) | undefined;
  offset: number;
}

/** As the real socket does. */
const HIGH_WATER_MARK_BYTES = 256 * 1024;
const LINGER_MS = 1_000;

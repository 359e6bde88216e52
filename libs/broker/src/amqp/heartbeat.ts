import type { Clock, Timer } from '@dovecote/ground';
import { frameEnd } from '../queues/content.js';
import { frameTypes } from './frames.js';

/**
 * Keeps a connection from looking dead, and notices when the other side is.
 *
 * It looks four times per timeout: two looks without a byte sent, and it sends a heartbeat; eight looks without a byte received
 * (two timeouts), and the connection is lost. It counts looks and not time, and between two looks the loop takes what waits in the
 * socket: so a timer that ran late, because this process was busy or asleep, never costs a client its connection.
 */
const looksPerTimeout = 4;
const silentLooksMax = 2 * looksPerTimeout;
export const heartbeatFrame = Buffer.from([frameTypes.heartbeat, 0, 0, 0, 0, 0, 0, frameEnd]);

export interface HeartbeatLine {
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /** False while we do not read, so that silence proves nothing. */
  readonly isListening: boolean;
  sendHeartbeat(): void;
  lost(): void;
}

export class Heartbeat {
  private sentBytes = 0;
  private receivedBytes = 0;
  private idleLooks = 0;
  private silentLooks = 0;
  private timer: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly line: HeartbeatLine,
  ) {}

  /** 0 seconds: neither sends nor watches. */
  start(timeoutS: number): void {
    if (timeoutS === 0) return;
    this.arm((timeoutS * 1000) / looksPerTimeout);
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = undefined;
  }

  private arm(intervalMs: number): void {
    this.timer = this.clock.after(intervalMs, () => {
      this.arm(intervalMs);
      this.look();
    });
  }

  private look(): void {
    const { line } = this;
    const { sentBytes, receivedBytes } = line;
    this.idleLooks = sentBytes === this.sentBytes ? this.idleLooks + 1 : 0;
    this.silentLooks = receivedBytes === this.receivedBytes && line.isListening ? this.silentLooks + 1 : 0;
    this.sentBytes = sentBytes;
    this.receivedBytes = receivedBytes;
    if (this.silentLooks >= silentLooksMax) line.lost();
    else if (this.idleLooks >= 2) {
      this.idleLooks = 0;
      this.sentBytes += heartbeatFrame.length; // the heartbeat itself is no sign of life for the next look
      line.sendHeartbeat();
    }
  }
}

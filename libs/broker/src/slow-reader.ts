import type { Clock, Socket, Timer } from '@dovecote/ground';

/**
 * Watches a peer that reads more slowly than we write, and notices one that does not read at all.
 *
 * Such a peer holds what it was given and will not look at: messages that others could have, and memory that no alarm counts. Heartbeats do
 * not show it, because it may well go on sending them. As RabbitMQ does, it is given up when the system has taken nothing of what waits
 * for so long; Kafka gives it ten minutes, as anybody who says nothing. It looks four times in that time and counts looks, not time: so a process that was asleep blames nobody.
 */
const looksMax = 4;

export class SlowReader {
  private timer: Timer | undefined;
  private sentBytes = 0;
  private idleLooks = 0;

  constructor(
    private readonly clock: Clock,
    private readonly socket: Pick<Socket, 'sentBytes'>,
    private readonly timeoutMs: number,
    private readonly lost: (why: string) => void,
  ) {}

  get isWatched(): boolean {
    return this.timer !== undefined;
  }

  /** Something waits that the system does not take. False where that is known already. */
  watch(): boolean {
    if (this.timer !== undefined) return false;
    this.sentBytes = this.socket.sentBytes;
    this.idleLooks = 0;
    this.arm();
    return true;
  }

  /** Everything was taken, or nobody waits any more. */
  forget(): void {
    this.timer?.cancel();
    this.timer = undefined;
  }

  private arm(): void {
    this.timer = this.clock.after(this.timeoutMs / looksMax, () => this.look());
  }

  private look(): void {
    const { sentBytes } = this.socket;
    this.idleLooks = sentBytes === this.sentBytes ? this.idleLooks + 1 : 0;
    this.sentBytes = sentBytes;
    this.arm();
    if (this.idleLooks >= looksMax) this.lost(`client read nothing of what waits for it, timeout ${this.timeoutMs / 1000} s`);
  }
}

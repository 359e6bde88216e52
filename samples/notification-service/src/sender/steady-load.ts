/**
 * Makes something happen a given number of times a second, evenly. After a pause of the machine it catches up on one second at most: a load that
 * insists on what it missed is a flood.
 */
const TICK_MS = 20;

export class SteadyLoad {
  private perSecond = 0;
  private due = 0;
  private lastMs = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly act: () => void) {}

  set(perSecond: number): void {
    this.perSecond = perSecond;
    this.lastMs = performance.now();
    // A random start keeps five services with the same rate from acting in the same instant.
    this.due = Math.random();
    if (perSecond > 0) this.timer ??= setInterval(() => this.tick(), TICK_MS);
    else this.stop();
  }

  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private tick(): void {
    const nowMs = performance.now();
    this.due = Math.min(this.due + ((nowMs - this.lastMs) / 1000) * this.perSecond, Math.max(this.perSecond, 1));
    this.lastMs = nowMs;
    for (; this.due >= 1; this.due -= 1) this.act();
  }
}

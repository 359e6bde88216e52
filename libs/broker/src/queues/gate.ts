/**
 * Whether publishers may publish.
 *
 *   open      yes
 *   busy      the journal is behind by more than it should: do not read from publishers for a moment
 *   blocked   an alarm: memory is used up or the disk is full. Tell publishers the reason and wait for an operator or for consumers
 *
 * Nothing that was accepted is dropped in any of them.
 */
export type GateState = 'open' | 'busy' | 'blocked';

export class Gate {
  state: GateState = 'open';
  reason = '';
  private readonly listeners = new Set<() => void>();
  private diskReason: string | undefined;
  private memoryReason: string | undefined;
  private isBusy = false;

  /** The alarm is about the disk: no consumer can end it. */
  get isDiskFull(): boolean {
    return this.diskReason !== undefined;
  }

  /** Calls `listener` whenever the state changes, until the returned function is called. */
  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  diskIsFull(reason: string | undefined): void {
    this.diskReason = reason;
    this.update();
  }

  memoryIsFull(reason: string | undefined): void {
    this.memoryReason = reason;
    this.update();
  }

  journalIsBehind(isBehind: boolean): void {
    this.isBusy = isBehind;
    this.update();
  }

  private update(): void {
    this.reason = this.diskReason ?? this.memoryReason ?? '';
    const state = this.reason !== '' ? 'blocked' : this.isBusy ? 'busy' : 'open';
    if (state === this.state) return;
    this.state = state;
    for (const listener of [...this.listeners]) listener();
  }
}

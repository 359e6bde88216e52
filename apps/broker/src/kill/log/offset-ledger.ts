/**
 * What groups committed and what they were given: the judge of the offsets in a kill test of the log. A place is a partition by whatever name. It knows no
 * broker and keeps everything in memory.
 */
export interface OffsetFaults {
  /** Committed: older than what was acknowledged last, or newer than what was asked for last. */
  readonly takenBack: readonly string[];
  /** Given to a group behind what it was given before, or before it: not where it stood. */
  readonly skipped: readonly string[];
}

interface Place {
  asked: number;
  acknowledged: number;
  /** Where the group goes on. */
  next: number;
}

export class OffsetLedger {
  commitCount = 0;
  private readonly places = new Map<string, Place>();
  private readonly takenBack: string[] = [];
  private readonly skipped: string[] = [];

  /** A member was given what is from here to there. */
  give(group: string, place: string, from: number, next: number): void {
    const own = this.place(group, place);
    if (from !== own.next) this.skipped.push(`${group} at ${place}: given ${from}, where ${own.next} must come`);
    own.next = next;
  }

  ask(group: string, place: string, offset: number): void {
    this.place(group, place).asked = offset;
  }

  acknowledge(group: string, place: string, offset: number): void {
    this.place(group, place).acknowledged = offset;
    this.commitCount++;
  }

  /** What is committed where another process looks; undefined for nothing. The next member goes on there. */
  find(group: string, place: string, offset: number | undefined): void {
    const own = this.place(group, place);
    const found = offset ?? 0;
    if (found < own.acknowledged || found > own.asked)
      this.takenBack.push(`${group} at ${place}: ${found}, not from ${own.acknowledged} to ${own.asked}`);
    own.acknowledged = own.asked = own.next = found;
  }

  /** Behind the last that was acknowledged. */
  committed(group: string, place: string): number {
    return this.place(group, place).acknowledged;
  }

  get faults(): OffsetFaults {
    return { takenBack: this.takenBack, skipped: this.skipped };
  }

  private place(group: string, name: string): Place {
    const key = `${group} ${name}`;
    const place = this.places.get(key) ?? { asked: 0, acknowledged: 0, next: 0 };
    this.places.set(key, place);
    return place;
  }
}

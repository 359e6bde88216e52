/**
 * What writers were promised and what was found: the judge of the records in a kill test of the log. It knows no broker and keeps everything in memory.
 *
 * A line is a writer's numbers from 0 in one partition. A line that is never repeated gives up what was not acknowledged when the process ends; one that
 * is repeated sends it again in the next life, and every number of it must be there once. Either way what is found of a life has no holes.
 */
export interface LineOptions {
  readonly topic: string;
  readonly partition: number;
  readonly isRepeated: boolean;
}

export interface FoundRecord {
  readonly offset: number;
  /** Undefined where nobody can have written it. */
  readonly record: { readonly line: string; readonly number: number } | undefined;
}

export interface LineFaults {
  /** Acknowledged, and not where it was said to be. */
  readonly lost: readonly string[];
  /** Found twice, behind a later one, behind one that is not there, or given up in an earlier life. */
  readonly misplaced: readonly string[];
  /** Found and never appended, or with other bytes. */
  readonly foreign: readonly string[];
}

interface Line extends LineOptions {
  appended: number;
  acknowledgedCount: number;
  /** Offsets by number, until it is looked whether they are there. */
  readonly acknowledged: Map<number, number>;
  /** The number that must come next. */
  expected: number;
}

export class LineLedger {
  private readonly lines = new Map<string, Line>();
  /** By partition: `line:number` of each offset that was found. */
  private readonly pages = new Map<string, string[]>();
  private readonly lost: string[] = [];
  private readonly misplaced: string[] = [];
  private readonly foreign: string[] = [];

  add(name: string, options: LineOptions): void {
    this.lines.set(name, { ...options, appended: 0, acknowledgedCount: 0, acknowledged: new Map(), expected: 0 });
  }

  /** The next number of a line. */
  append(line: string): number {
    return this.lines.get(line)!.appended++;
  }

  acknowledge(line: string, number: number, offset: number): void {
    const own = this.lines.get(line)!;
    own.acknowledged.set(number, offset);
    own.acknowledgedCount++;
  }

  /** How far a partition was read. */
  end(topic: string, partition: number): number {
    return this.page(topic, partition).length;
  }

  /** What is in a partition from its `end` on. */
  find(topic: string, partition: number, records: readonly FoundRecord[]): void {
    const page = this.page(topic, partition);
    for (const { offset, record } of records) {
      const where = `${topic}-${partition}@${offset}`;
      if (offset !== page.length) this.misplaced.push(`${where}, where ${page.length} must come`);
      page.push(record === undefined ? 'foreign' : `${record.line}:${record.number}`);
      const line = record && this.lines.get(record.line);
      if (line === undefined || line.topic !== topic || line.partition !== partition || record!.number >= line.appended) {
        this.foreign.push(where);
        continue;
      }
      if (record!.number !== line.expected) this.misplaced.push(`${page.at(-1)}, where ${line.expected} must come`);
      line.expected = Math.max(line.expected, record!.number + 1);
    }
  }

  /** The process has ended and all partitions were read: what was acknowledged must have been there; what was not is given up where nobody repeats it. */
  endLife(): void {
    for (const [name, line] of this.lines) {
      for (const [number, offset] of line.acknowledged)
        if (this.page(line.topic, line.partition)[offset] !== `${name}:${number}`) this.lost.push(`${name}:${number}`);
      line.acknowledged.clear();
      if (!line.isRepeated) line.expected = line.appended;
    }
  }

  /** A partition was read as a whole: what was found once must be there still. */
  findAgain(topic: string, partition: number, records: readonly FoundRecord[]): void {
    const now = new Map(records.map(({ offset, record }) => [offset, record && `${record.line}:${record.number}`]));
    this.page(topic, partition).forEach((name, offset) => {
      if (now.get(offset) !== name) this.lost.push(`${name} at ${offset}, where it was once`);
    });
  }

  get counts(): { readonly appended: number; readonly acknowledged: number; readonly found: number } {
    const lines = [...this.lines.values()];
    return {
      appended: lines.reduce((sum, { appended }) => sum + appended, 0),
      acknowledged: lines.reduce((sum, { acknowledgedCount }) => sum + acknowledgedCount, 0),
      found: [...this.pages.values()].reduce((sum, page) => sum + page.length, 0),
    };
  }

  get faults(): LineFaults {
    return { lost: this.lost, misplaced: this.misplaced, foreign: this.foreign };
  }

  private page(topic: string, partition: number): string[] {
    const place = `${topic}-${partition}`;
    const page = this.pages.get(place) ?? [];
    this.pages.set(place, page);
    return page;
  }
}

import { DiskError } from '@dovecote/ground';
import type { Commits } from './commits.js';

/**
 * Work on files that nobody waits for, one thing after the other: checkpoints, removing old segments. A full disk leaves it for the next time; any other
 * failure of the disk ends the log. One per log.
 */
export class Housekeeping {
  private last: Promise<void> = Promise.resolve();

  constructor(
    private readonly commits: Commits,
    private readonly report: (line: string) => void,
  ) {}

  /** Resolves when the work ended, well or not. */
  run(what: string, work: () => Promise<void>): Promise<void> {
    this.last = this.last.then(async () => {
      if (this.commits.failure !== undefined) return;
      try {
        await work();
      } catch (error) {
        if (this.commits.failure !== undefined) return;
        if (error instanceof DiskError && error.code === 'full') this.report(`${what} has to wait, the disk is full. ${error.message}`);
        else this.commits.fail(`${what} failed`, error);
      }
    });
    return this.last;
  }

  /** Resolves when everything asked for by now is done. */
  settled(): Promise<void> {
    return this.last;
  }
}

/**
 * What one process says happened: a file of its own, one line for each fact, only ever appended to.
 *
 *   sent 5b0c…           a sender is about to publish the event with this id
 *   confirmed 5b0c…      the broker has promised to keep it
 *   handled 5b0c… {…}    the notification went out; behind the id stands what was said, to whom
 *
 * A line is handed to the operating system before the process goes on, so every whole line survives kill -9 of the process (not a power cut;
 * the broker is the one that must). The last line may be torn. Every start of a process gets a new file, so nothing is written behind a tear.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';

export type Fact = 'sent' | 'confirmed' | 'handled';

@Injectable()
export class FactFile implements OnApplicationShutdown {
  private readonly file: number;

  constructor(path: string) {
    this.file = openSync(path, 'ax');
  }

  /** Throws what the disk says (full, for one): the fact must then not be acted on. */
  append(fact: Fact, id: string, detail?: object): void {
    writeSync(this.file, detail === undefined ? `${fact} ${id}\n` : `${fact} ${id} ${JSON.stringify(detail)}\n`);
  }

  onApplicationShutdown(): void {
    closeSync(this.file);
  }
}

/**
 * Nest's log, reduced to what a person at the console can use: warnings and errors, one sentence a line, without time, colour, context or stack. The
 * stage puts the name of the process in front, and passes warnings on only where nothing else explains them: they go to the output, errors to the error
 * output. With DEBUG set in the environment, everything is said.
 */
import type { LoggerService } from '@nestjs/common';

export class SentenceLogger implements LoggerService {
  constructor(private readonly isVerbose = false) {}

  log(message: unknown): void {
    if (this.isVerbose) console.log(sentence(message));
  }

  debug(message: unknown): void {
    this.log(message);
  }

  verbose(message: unknown): void {
    this.log(message);
  }

  warn(message: unknown): void {
    console.log(sentence(message));
  }

  error(message: unknown): void {
    console.error(sentence(message));
  }

  fatal(message: unknown): void {
    this.error(message);
  }
}

/** What went wrong, without the stack. */
export function sentence(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n', 1)[0] ?? text;
}

import { Logger } from '@nestjs/common';
import type { Log } from './log.js';

/** What messaging says, through the logger of the application. */
export function nestLog(): Log {
  const logger = new Logger('Dovecote');
  return {
    info: (sentence) => logger.log(sentence),
    warn: (sentence) => logger.warn(sentence),
    error: (sentence) => logger.error(sentence),
  };
}

import { CodedError } from '../errors.js';

/** What is asked for and not built is refused, because to leave it out would be a silent lesser guarantee. */
export function notBuilt(what: string): CodedError {
  return new CodedError('not-implemented', `${what} is not built yet: leave it out, or use RabbitMQ where you need it`);
}

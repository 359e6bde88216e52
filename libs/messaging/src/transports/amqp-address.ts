import { MessagingError, reasonOf } from '../errors.js';

/** A broker's URL, and how it may be shown: logs are read by more people than may know the password. */
export interface BrokerAddress {
  readonly url: string;
  readonly shown: string;
  readonly host: string;
  readonly port: number;
}

/** A broker that died without a word is noticed within two of these, in seconds. */
const HEARTBEAT_SECONDS = 10;

/** Throws a `MessagingError` of code `invalid-options`. The heartbeat may be set in the URL (`?heartbeat=30`). */
export function parseAddress(text: string): BrokerAddress {
  let url: URL;
  try {
    url = new URL(text);
  } catch (error) {
    // The text itself may hold the password, so it is not repeated.
    throw new MessagingError(
      'invalid-options',
      `The broker's URL cannot be read (${reasonOf(error)}): write amqp://user:password@host:port/vhost.`,
    );
  }
  if (url.hostname === '') {
    throw new MessagingError('invalid-options', 'The broker URL names no host: write amqp://user:password@host:port/vhost.');
  }
  if (!url.searchParams.has('heartbeat')) url.searchParams.set('heartbeat', String(HEARTBEAT_SECONDS));
  const port = url.port === '' ? (url.protocol === 'amqps:' ? '5671' : '5672') : url.port;
  const shown = `${url.protocol}//${url.hostname}:${port}${url.pathname === '/' ? '' : url.pathname}`;
  return { url: url.href, shown, host: url.hostname, port: Number(port) };
}

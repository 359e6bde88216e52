/** The sentences of a network that refuses, the same from the real and the simulated one. */
import { type ListenAddress, NetworkError, type NetworkErrorCode } from './network.js';
import { systemCode } from './system-code.js';

/** Turns what Node says about an address that cannot be listened on into a `NetworkError`; without a cause the port is taken. */
export function listenError(at: ListenAddress, cause?: Error): NetworkError {
  const where = address(at);
  switch (cause === undefined ? 'EADDRINUSE' : systemCode(cause)) {
    case 'EADDRINUSE':
      return refuse(
        'port-taken',
        `${where} is taken: stop the program that listens there, or choose another port (0 takes a free one)`,
        cause,
      );
    case 'EACCES':
    case 'EPERM':
      return refuse('denied', `this account may not listen on ${where}: choose a port above 1023, or give it the right to`, cause);
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return refuse(
        'failed',
        `this machine has no address ${at.host}: listen on 127.0.0.1, on 0.0.0.0 or on one of its own addresses`,
        cause,
      );
    default:
      return refuse('failed', `cannot listen on ${where}: ${cause?.message}`, cause);
  }
}

/** The same for an address that cannot be reached; without a cause nobody listens there. */
export function connectError(to: Pick<ListenAddress, 'host' | 'port'>, cause?: Error): NetworkError {
  const code = cause === undefined ? 'ECONNREFUSED' : systemCode(cause);
  if (isAboutTrust(code)) {
    const sentence = `${address(to)} is not believed to be who it says: give the certificate of its authority, or its right name`;
    return refuse('untrusted', `${sentence} (${cause?.message})`, cause);
  }
  const kind: NetworkErrorCode = code === 'ECONNREFUSED' ? 'refused' : code === 'EACCES' || code === 'EPERM' ? 'denied' : 'failed';
  const reason = kind === 'refused' ? 'nobody listens there: start the server, or check host and port' : cause?.message;
  return refuse(kind, `cannot connect to ${address(to)}: ${reason}`, cause);
}

/** A certificate that cannot be used. */
export function certificateError(at: ListenAddress, cause: Error): NetworkError {
  const what = `the certificate for ${address(at)}, or its key, cannot be used`;
  return refuse('certificate', `${what}: give PEM texts that belong together (${cause.message})`, cause);
}

/** As one writes it: IPv6 in brackets. */
export function address({ host, port }: Pick<ListenAddress, 'host' | 'port'>): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function isAboutTrust(code: string | undefined): boolean {
  return code !== undefined && /CERT|SELF_SIGNED|UNABLE_TO|ALTNAME/.test(code);
}

function refuse(code: NetworkErrorCode, message: string, cause: Error | undefined): NetworkError {
  return new NetworkError(code, message, cause === undefined ? undefined : { cause });
}

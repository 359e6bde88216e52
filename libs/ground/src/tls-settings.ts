import type { TlsIdentity } from './network.js';

/** A server's identity as Node's `tls` wants it. Whoever calls it hands it on at once: it holds a key. */
export function secureContextOf({ certificate, key, authorities }: TlsIdentity): {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
  readonly minVersion: 'TLSv1.2';
} {
  return { cert: certificate, key, ...(authorities === undefined ? {} : { ca: authorities }), minVersion: 'TLSv1.2' };
}

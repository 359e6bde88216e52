/**
 * The eight bytes with which a client says what it speaks, and what strangers say instead.
 *
 * Wire code: no I/O.
 */
export const protocolHeaderBytes = 8;

/** AMQP 0-9-1: what we speak, and what we answer to everybody who speaks something else. */
export const ourProtocolHeader = Buffer.from('AMQP\x00\x00\x09\x01', 'latin1');

/** AMQP 0-9, which is 0-9-1 for everything that matters here. */
const olderProtocolHeader = Buffer.from('AMQP\x01\x01\x00\x09', 'latin1');

/** Whether the first bytes of a connection (eight at most, fewer while they come) are, or may become, our protocol. */
export function isProtocolHeader(head: Buffer): boolean {
  return [ourProtocolHeader, olderProtocolHeader].some((known) => known.subarray(0, head.length).equals(head));
}

/** A sentence for the log: what somebody seems to have wanted here. */
export function strangerOn(head: Buffer): string {
  const text = head.toString('latin1');
  if (/^(GET|POST|PUT|HEAD|DELETE|OPTIONS|PATCH|CONNECT|PRI)\b/.test(text)) {
    return 'an HTTP client called the AMQP port: point it at the HTTP port, or this client at an amqp:// URL';
  }
  if (head[0] === 0x16 && head[1] === 0x03) {
    return 'a TLS client (amqps://) called the plain AMQP port: use amqp://, or put a TLS proxy in front of this port';
  }
  if (text.startsWith('AMQP')) {
    return `a client asked for AMQP ${head[5] ?? 0}.${head[6] ?? 0}.${head[7] ?? 0} (protocol ${head[4] ?? 0}): this port speaks AMQP 0-9-1 only`;
  }
  return `bytes that are not AMQP (${head.toString('hex')}) came to the AMQP port`;
}

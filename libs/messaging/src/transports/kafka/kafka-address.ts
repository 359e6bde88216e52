import { MessagingError } from '../../errors.js';

/** A Kafka cluster's URL: where to begin, how to log in, and how it may be shown (logs are read by more people than may know the password). */
export interface KafkaAddress {
  readonly brokers: readonly { readonly host: string; readonly port: number }[];
  readonly isTls: boolean;
  readonly user: { readonly name: string; readonly password: string } | undefined;
  readonly mechanism: SaslMechanism;
  readonly shown: string;
}

export type SaslMechanism = (typeof mechanisms)[number];

const mechanisms = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'] as const;
const DEFAULT_PORT = 9092;
const ADVICE = 'write kafka://host:port,host:port, or kafkas://user:password@host:port for TLS and a login';
const SHAPE = /^(kafkas?):\/\/(?:([^:@/]*):([^@/]*)@)?([^@/?]+)\/?(?:\?(.*))?$/;
const HOST = /^(\[[0-9a-f:]+\]|[^:[\]]+)(?::(\d{1,5}))?$/i;

/**
 * `kafka://k1:9092,k2:9092`, with TLS `kafkas:`, with a login `kafkas://user:password@k1:9093?mechanism=SCRAM-SHA-512` (PLAIN when not given; name and
 * password percent-encoded). Throws a `MessagingError` of code `invalid-options`; the password is never repeated.
 */
export function parseKafkaAddress(text: string): KafkaAddress {
  const [, scheme, name, password, hosts = '', query] = SHAPE.exec(text) ?? [];
  if (scheme === undefined) throw refused(`The broker's URL cannot be read: ${ADVICE}`);
  const brokers = hosts.split(',').map((host) => {
    const [, address, port = String(DEFAULT_PORT)] = HOST.exec(host) ?? [];
    if (address === undefined || Number(port) > 65_535)
      throw refused(`The broker's URL names a host that cannot be read (${host}): ${ADVICE}`);
    return { host: address.replace(/^\[|\]$/g, ''), port: Number(port) };
  });
  const mechanism = new URLSearchParams(query).get('mechanism') ?? 'PLAIN';
  if (!isMechanism(mechanism)) throw refused(`The broker's URL asks for the mechanism ${mechanism}: it may be ${mechanisms.join(', ')}`);
  return {
    brokers,
    isTls: scheme === 'kafkas',
    user: name === undefined || password === undefined ? undefined : { name: decoded(name), password: decoded(password) },
    mechanism,
    shown: `${scheme}://${hosts}`,
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refused("The user or password in the broker's URL has a % that encodes nothing: write %25 for a percent sign");
  }
}

function isMechanism(text: string): text is SaslMechanism {
  return (mechanisms as readonly string[]).includes(text);
}

function refused(sentence: string): MessagingError {
  return new MessagingError('invalid-options', `${sentence}.`);
}

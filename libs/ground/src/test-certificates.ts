/**
 * Certificates for tests: an authority and whoever it vouches for, made anew in memory, with Node's own keys and a few lines of DER (X.509 v3,
 * RFC 5280). Valid from 2020 to 2119, so that no test fails by the calendar. Nothing of it is for anything but tests.
 */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

export interface TestCertificate {
  /** PEM. */
  readonly certificate: string;
  /** PEM. */
  readonly key: string;
}

export class TestAuthority {
  /** PEM of its own certificate: whoever has this believes those it vouches for. */
  readonly certificate: string;
  private readonly keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  private serial = 1;

  constructor(private readonly name = 'Test authority') {
    this.certificate = this.issue(name, this.keys.publicKey, [basicConstraints]);
  }

  /** For a server at 127.0.0.1 or localhost, or for a client of that name. */
  vouchFor(name: string): TestCertificate {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    return { certificate: this.issue(name, publicKey, [alternativeNames]), key };
  }

  private issue(name: string, publicKey: KeyObject, extensions: readonly Buffer[]): string {
    const body = sequence(
      tagged(0xa0, integer(2)),
      integer(this.serial++),
      signatureAlgorithm,
      distinguishedName(this.name),
      sequence(time('20200101000000Z'), time('21190101000000Z')),
      distinguishedName(name),
      publicKey.export({ type: 'spki', format: 'der' }),
      tagged(0xa3, sequence(...extensions)),
    );
    const signature = sign('sha256', body, this.keys.privateKey);
    const whole = sequence(body, signatureAlgorithm, tagged(0x03, Buffer.concat([Buffer.of(0), signature])));
    const lines = whole.toString('base64').match(/.{1,64}/g)!;
    return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
  }
}

function tagged(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const head = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...head]), content]);
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts));
}

function integer(value: number): Buffer {
  return tagged(0x02, Buffer.of(value & 127));
}

function time(text: string): Buffer {
  return tagged(0x18, Buffer.from(text));
}

function identifier(...bytes: readonly number[]): Buffer {
  return tagged(0x06, Buffer.from(bytes));
}

function distinguishedName(commonName: string): Buffer {
  return sequence(tagged(0x31, sequence(identifier(0x55, 4, 3), tagged(0x0c, Buffer.from(commonName)))));
}

const signatureAlgorithm = sequence(identifier(0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2));
const basicConstraints = sequence(
  identifier(0x55, 0x1d, 0x13),
  tagged(0x01, Buffer.of(255)),
  tagged(0x04, sequence(tagged(0x01, Buffer.of(255)))),
);
const alternativeNames = sequence(
  identifier(0x55, 0x1d, 0x11),
  tagged(0x04, sequence(tagged(0x82, Buffer.from('localhost')), tagged(0x87, Buffer.of(127, 0, 0, 1)))),
);

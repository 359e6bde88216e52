/** What every `Network` must do where TLS is asked for, beside all that it does without (network-contract.ts runs over TLS too). */
import assert from 'node:assert/strict';
import { type ContractCase, type ContractSubject, contractCases, type OpenSubject } from './contract.js';
import { type Network, NetworkError, type Socket, type TlsIdentity, type TlsTrust } from './network.js';

/** Whom the cases need; the real network wants real certificates. */
export interface TlsCast {
  /** Whom clients should believe, and a later certificate of the same. */
  readonly server: TlsIdentity;
  readonly renewed: TlsIdentity;
  /** Believe the server, and the server as it will be. */
  readonly trust: TlsTrust;
  readonly trustRenewed: TlsTrust;
  /** Believes others only. */
  readonly stranger: TlsTrust;
  /** What proves to the server that a client is `ada`. */
  readonly ada: Required<Pick<TlsTrust, 'certificate' | 'key'>>;
}

const HOST = '127.0.0.1';

/** The same network, with TLS in all that is opened on it. */
export function overTls(network: Network, { server, trust }: TlsCast): Network {
  return {
    listen: (at, accept) => network.listen({ ...at, tls: server }, accept),
    connect: (to) => network.connect({ ...to, tls: trust }),
  };
}

export function tlsContract(open: OpenSubject<ContractSubject<Network>>, cast: TlsCast): readonly ContractCase[] {
  const { server, renewed, trust, trustRenewed, stranger, ada } = cast;
  return contractCases(open, {
    'gives a client no name that does not prove one': async ({ port }) => {
      const { accepted, connect, end } = await listening(port, server);
      await connect({ ...trust, ...ada });
      assert.equal((await accepted()).peerName, undefined);
      await end();
    },
    'knows a client by its certificate, where authorities are given': async ({ port }) => {
      const { accepted, connect, end } = await listening(port, { ...server, authorities: trust.authorities! });
      await connect({ ...trust, ...ada });
      assert.equal((await accepted()).peerName, 'ada');
      await connect(trust);
      assert.equal((await accepted()).peerName, undefined);
      await end();
    },
    'takes no client without a certificate where one is required': async ({ port }) => {
      const { accepted, connect, end } = await listening(port, { ...server, authorities: trust.authorities!, requiresClient: true });
      const refused = await connect(trust);
      await closed(refused);
      await connect({ ...trust, ...ada });
      assert.equal((await accepted()).peerName, 'ada');
      await end();
    },
    'takes nobody who speaks plainly': async ({ port }) => {
      const { accepted, connect, end } = await listening(port, server);
      const plain = await connect(undefined);
      plain.write(Buffer.from('AMQP\0\0\x09\x01 and so on: this is no handshake'));
      await closed(plain);
      await connect(trust);
      await accepted(); // and goes on
      await end();
    },
    'says `untrusted` to a client that does not believe the server': async ({ port }) => {
      const { connect, end } = await listening(port, server);
      await rejectsAs('untrusted', connect(stranger));
      await end();
    },
    'serves a renewed certificate to who comes from then on': async ({ port }) => {
      const { accepted, connect, end, listener } = await listening(port, server);
      const early = await connect(trust);
      const far = await accepted();
      listener.renew(renewed);
      await rejectsAs('untrusted', connect(trust));
      await connect(trustRenewed);
      const got = new Promise<string>((resolve) =>
        early.start({ onData: (bytes) => resolve(bytes.toString()), onDrain: () => undefined, onClose: () => resolve('closed') }),
      );
      far.write(Buffer.from('still here'));
      assert.equal(await got, 'still here');
      await end();
    },
  });
}

async function listening(network: Network, identity: TlsIdentity) {
  const waiting: Socket[] = [];
  let wake: (() => void) | undefined;
  const quiet = { onData: () => undefined, onDrain: () => undefined, onClose: () => undefined };
  const listener = await network.listen({ host: HOST, port: 0, tls: identity }, (socket) => {
    socket.start(quiet);
    waiting.push(socket);
    wake?.();
  });
  const accepted = async (): Promise<Socket> => {
    while (waiting.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    return waiting.shift()!;
  };
  const open: Socket[] = [];
  const connect = async (tls: TlsTrust | undefined): Promise<Socket> => {
    const socket = await network.connect({ host: HOST, port: listener.port, ...(tls === undefined ? {} : { tls }) });
    open.push(socket);
    return socket;
  };
  const end = async (): Promise<void> => {
    for (const socket of [...open, ...waiting]) socket.destroy();
    await listener.close();
  };
  return { listener, accepted, connect, end };
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.start({ onData: () => undefined, onDrain: () => undefined, onClose: () => resolve() }));
}

async function rejectsAs(code: NetworkError['code'], work: Promise<unknown>): Promise<void> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof NetworkError, `a NetworkError was expected, not ${String(error)}`);
  assert.equal(error.code, code);
}

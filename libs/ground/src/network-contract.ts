/** What every `Network` must do. */
import assert from 'node:assert/strict';
import { type ContractCase, type ContractSubject, type OpenSubject, contractCases } from './contract.js';
import { type Listener, type Network, NetworkError, type Socket, type SocketEvents } from './network.js';

export function networkContract(open: OpenSubject<ContractSubject<Network>>): readonly ContractCase[] {
  return contractCases(open, { ...addresses, ...bytes, ...rooms, ...endings });
}

type Cases = Readonly<Record<string, (subject: ContractSubject<Network>) => Promise<void>>>;

const HOST = '127.0.0.1';

const addresses: Cases = {
  'takes a free port for 0 and says which': async ({ port }) => {
    const [one, other] = [await port.listen({ host: HOST, port: 0 }, ignore), await port.listen({ host: HOST, port: 0 }, ignore)];
    assert.ok(one.port > 0 && other.port > 0 && one.port !== other.port);
    assert.equal(one.host, HOST);
    await one.close();
    await other.close();
  },
  'says `port-taken`, where, and what to do': async ({ port }) => {
    const listener = await port.listen({ host: HOST, port: 0 }, ignore);
    const error = await rejects('port-taken', port.listen({ host: HOST, port: listener.port }, ignore));
    assert.match(error.message, new RegExp(`${HOST}:${listener.port} is taken: .*another port`));
    await listener.close();
    await (await port.listen({ host: HOST, port: listener.port }, ignore)).close();
  },
  'says `refused` where nobody listens': async ({ port }) => {
    const listener = await port.listen({ host: HOST, port: 0 }, ignore);
    await listener.close();
    const error = await rejects('refused', port.connect({ host: HOST, port: listener.port }));
    assert.match(error.message, new RegExp(`${HOST}:${listener.port}`));
  },
  'lets accepted connections live when the listener closes': async ({ port }) => {
    const { near, far, listener } = await pair(port);
    await listener.close();
    near.socket.write(Buffer.from('still here'));
    await far.receives(10);
    assert.equal(far.received().toString(), 'still here');
    await closeBoth(near, far);
  },
  'knows both ends': async ({ port }) => {
    const { near, far, listener } = await pair(port);
    assert.equal(near.socket.remotePort, listener.port);
    assert.equal(near.socket.remoteAddress, HOST);
    assert.ok(far.socket.remotePort > 0);
    assert.equal(far.socket.localPort, listener.port);
    assert.equal(far.socket.localAddress, HOST);
    assert.equal(near.socket.localPort, far.socket.remotePort);
    await closeBoth(near, far);
    await listener.close();
  },
};

const bytes: Cases = {
  'carries bytes both ways, in order and whole': async ({ port }) => {
    const { near, far, listener } = await pair(port);
    const [there, back] = [pattern(1_500_000, 3), pattern(700_001, 5)];
    for (let at = 0; at < there.length; at += 70_001) near.socket.write(there.subarray(at, at + 70_001));
    for (let at = 0; at < back.length; at += 999) far.socket.write(back.subarray(at, at + 999));
    await Promise.all([far.receives(there.length), near.receives(back.length)]);
    // Compared at the end: a buffer that the socket used again would show.
    assert.ok(far.received().equals(there) && near.received().equals(back));
    assert.equal(far.socket.receivedBytes, there.length);
    await closeBoth(near, far);
    await listener.close();
  },
  'holds the writer back while the reader pauses, and says when to go on': async ({ port }) => {
    const { near, far, listener } = await pair(port);
    far.socket.pause();
    const chunk = pattern(65_536, 7);
    let chunks = 0;
    for (let goesOn = true; goesOn || near.socket.unsentBytes === 0; chunks++) {
      assert.ok(chunks < 2_000, 'the writer was never held back');
      goesOn = near.socket.write(chunk);
    }
    const takenBefore = near.socket.sentBytes;
    assert.ok(takenBefore < chunks * chunk.length);
    const drained = near.drains();
    far.socket.resume();
    await far.receives(takenBefore + 1);
    assert.ok(near.socket.sentBytes > takenBefore, 'what the peer reads was not seen to go');
    await drained;
    assert.equal(near.socket.unsentBytes, 0);
    assert.ok(near.socket.sentBytes >= chunks * chunk.length); // TLS sends more than was written
    await far.receives(chunks * chunk.length);
    await closeBoth(near, far);
    await listener.close();
  },
  'gives every buffer back once, in order, and not before the write returned': async ({ port }) => {
    const { near, far, listener } = await pair(port);
    const given: number[] = [];
    await new Promise<void>((resolve) => {
      for (let index = 0; index < 50; index++) {
        near.socket.write(Buffer.alloc(index === 25 ? 300_000 : index), () => {
          given.push(index);
          if (given.length === 50) resolve();
        });
        assert.equal(given.length, 0);
      }
    });
    assert.deepEqual(given, [...given.keys()]);
    await closeBoth(near, far);
    await listener.close();
  },
  'needs the bytes no longer once it gave them back': async ({ port }) => {
    const { near, far, listener } = await pair(port);
    const buffer = Buffer.alloc(50_000);
    for (let round = 1; round <= 20; round++) {
      buffer.fill(round);
      await new Promise<void>((resolve) => void near.socket.write(buffer, resolve));
    }
    await far.receives(20 * buffer.length);
    for (let round = 1; round <= 20; round++)
      assert.ok(
        far
          .received()
          .subarray((round - 1) * buffer.length, round * buffer.length)
          .every((byte) => byte === round),
      );
    await closeBoth(near, far);
    await listener.close();
  },
};

const rooms: Cases = {
  'fills the room that the receiver gives, asked anew each time': async ({ port }) => {
    const sent = pattern(400_000, 13);
    const received: Buffer[] = [];
    const [small, large] = [Buffer.alloc(7), Buffer.alloc(30_000)];
    let given = small;
    let [count, asked, filled] = [0, 0, 0];
    const take = (socket: Socket, bytes: Buffer): void => {
      received.push(Buffer.from(bytes));
      count += bytes.length;
      if (count === sent.length) return socket.end();
      if (received.length % 5 > 0) return undefined;
      socket.pause();
      queueMicrotask(() => socket.resume());
    };
    const closed = new Promise<Listener>((resolve, reject) => {
      const accept = (socket: Socket): void =>
        socket.start({
          onData: (bytes) => take(socket, bytes),
          room: () => (given = ++asked % 3 === 0 ? small : large),
          onFilled: (length) => {
            filled++;
            take(socket, given.subarray(0, length));
            given.fill(0xee);
          },
          onDrain: ignore,
          onClose: () => resolve(listening),
        });
      const listening = port.listen({ host: HOST, port: 0 }, accept);
      void listening.then(async (listener) => {
        const near = new End(await port.connect({ host: HOST, port: listener.port }));
        for (let at = 0; at < sent.length; at += 50_001) near.socket.write(sent.subarray(at, at + 50_001));
        await near.closes();
      }, reject);
    });
    await (await closed).close();
    assert.ok(Buffer.concat(received).equals(sent));
    assert.ok(asked === filled || asked === filled + 1, `asked ${asked} times for ${filled} fillings`);
  },
};

const endings: Cases = {
  'sends all that was written before it ends, and closes both ends once': async ({ port }) => {
    const { near, far, listener } = await pair(port);
    const last = pattern(900_000, 11);
    near.socket.write(last);
    near.socket.end();
    await Promise.all([near.closes(), far.closes()]);
    assert.ok(far.received().equals(last));
    await listener.close();
  },
  'brings its last words to a peer that is still sending': async ({ port }) => {
    const { near, far, listener } = await pair(port);
    far.socket.write(Buffer.from('you are wrong'));
    far.socket.end();
    for (let index = 0; index < 20; index++) near.socket.write(pattern(5_000, index));
    await Promise.all([near.closes(), far.closes()]);
    assert.equal(near.received().toString(), 'you are wrong');
    await listener.close();
  },
  'closes both ends at once when one is destroyed, and nothing comes after that': async ({ port }) => {
    const { near, far, listener } = await pair(port);
    near.socket.write(pattern(10_000, 1));
    near.socket.destroy();
    near.socket.destroy();
    await Promise.all([near.closes(), far.closes()]);
    const { length } = far.received();
    far.socket.write(Buffer.from('anybody?'));
    // A round trip of another connection: time enough for anything that would still come.
    (await port.connect({ host: HOST, port: listener.port })).destroy();
    assert.equal(far.received().length, length);
    await listener.close();
  },
  'gives back the buffers of a connection that breaks': async ({ port }) => {
    const { near, far, listener } = await pair(port);
    far.socket.pause();
    const given: number[] = [];
    const all = new Promise<void>((resolve) => {
      for (let index = 0; index < 100; index++) near.socket.write(Buffer.alloc(65_536), () => given.push(index) === 100 && resolve());
    });
    near.socket.destroy();
    await all;
    await near.closes();
    far.socket.resume();
    await far.closes();
    await listener.close();
  },
  'takes writes to a closed connection in good part: false, and the buffer comes back': async ({ port }) => {
    const { near, far, listener } = await pair(port);
    near.socket.destroy();
    await near.closes();
    await new Promise<void>((resolve) => assert.equal(near.socket.write(Buffer.from('too late'), resolve), false));
    near.socket.end();
    await far.closes();
    await listener.close();
  },
  'tells the end to whoever starts after it': async ({ port }) => {
    let accepted: Socket | undefined;
    const listener = await port.listen({ host: HOST, port: 0 }, (socket) => (accepted = socket).destroy());
    const near = new End(await port.connect({ host: HOST, port: listener.port }));
    await near.closes();
    assert.ok(accepted !== undefined);
    await new End(accepted).closes();
    await listener.close();
  },
};

/** One end of a connection, with what came out of it. Fails the case when something comes after the close, or the close twice. */
class End implements SocketEvents {
  readonly #chunks: Buffer[] = [];
  #length = 0;
  #isClosed = false;
  #wrong: string | undefined;
  #wake: (() => void)[] = [];
  #drainCount = 0;

  constructor(readonly socket: Socket) {
    socket.start(this);
  }

  onData(chunk: Buffer): void {
    if (this.#isClosed) this.#wrong = 'bytes came after the close';
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    this.#wakeAll();
  }

  onDrain(): void {
    if (this.#isClosed) this.#wrong = 'a drain came after the close';
    this.#drainCount++;
    this.#wakeAll();
  }

  onClose(): void {
    if (this.#isClosed) this.#wrong = 'the close came twice';
    this.#isClosed = true;
    this.#wakeAll();
  }

  received(): Buffer {
    assert.equal(this.#wrong, undefined);
    return Buffer.concat(this.#chunks);
  }

  receives(length: number): Promise<void> {
    return this.#until(
      () => this.#length >= length || this.#isClosed,
      `closed before ${length} bytes came`,
      () => this.#length >= length,
    );
  }

  drains(): Promise<void> {
    const before = this.#drainCount;
    return this.#until(
      () => this.#drainCount > before || this.#isClosed,
      'closed before it drained',
      () => this.#drainCount > before,
    );
  }

  closes(): Promise<void> {
    return this.#until(
      () => this.#isClosed,
      '',
      () => true,
    );
  }

  async #until(isOver: () => boolean, sentence: string, isGood: () => boolean): Promise<void> {
    while (!isOver()) await new Promise<void>((resolve) => this.#wake.push(resolve));
    assert.ok(isGood(), sentence);
    assert.equal(this.#wrong, undefined);
  }

  #wakeAll(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

async function pair(network: Network): Promise<{ readonly near: End; readonly far: End; readonly listener: Listener }> {
  let accepted: (end: End) => void = ignore;
  const far = new Promise<End>((resolve) => (accepted = resolve));
  let isFirst = true;
  const listener = await network.listen({ host: HOST, port: 0 }, (socket) => {
    if (isFirst) accepted(new End(socket));
    else socket.destroy();
    isFirst = false;
  });
  const near = new End(await network.connect({ host: HOST, port: listener.port }));
  return { near, far: await far, listener };
}

async function closeBoth(near: End, far: End): Promise<void> {
  near.socket.end();
  await Promise.all([near.closes(), far.closes()]);
}

function ignore(): void {}

/** Bytes whose order shows. */
function pattern(length: number, step: number): Buffer {
  const filled = Buffer.alloc(length);
  for (let index = 0; index < length; index++) filled[index] = (index * step + (index >> 8)) & 0xff;
  return filled;
}

async function rejects(code: NetworkError['code'], work: Promise<unknown>): Promise<NetworkError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof NetworkError, `a NetworkError was expected, not ${String(error)}`);
  assert.equal(error.code, code);
  return error;
}

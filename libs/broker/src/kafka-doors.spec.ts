/** Where Kafka clients come in: before anything of Kafka is there, and what happens to them until it is. */
import { describe, expect, it } from '@jest/globals';
import { NetworkError, type Socket, type SocketEvents } from '@dovecote/ground';
import { SeededRandom, SimulatedClock, SimulatedNetwork } from '@dovecote/ground/testing';
import { KafkaDoors, type KafkaEntrance } from './kafka-doors.js';
import type { KafkaListener } from './engine/options.js';
import type { ListenerView } from './kafka/listener-view.js';

/** A client, or whoever stands behind the doors: what it heard, and whether the other side is gone. */
class Ear implements SocketEvents {
  heard = '';
  isClosed = false;

  constructor(readonly socket: Socket) {
    socket.start(this);
  }

  onData(bytes: Buffer): void {
    this.heard += bytes.toString();
  }

  onDrain(): void {}

  onClose(): void {
    this.isClosed = true;
  }
}

class House {
  readonly clock = new SimulatedClock();
  readonly network = new SimulatedNetwork(this.clock, new SeededRandom(1));
  readonly inside: { readonly ear: Ear; readonly view: ListenerView }[] = [];
  asked = 0;
  private readonly waiting: { readonly resolve: (entrance: KafkaEntrance) => void; readonly reject: (error: Error) => void }[] = [];
  private readonly entrance: KafkaEntrance = { accept: (socket, view) => void this.inside.push({ ear: new Ear(socket), view }) };

  open(listeners: readonly KafkaListener[], waitingMax = 10): Promise<KafkaDoors> {
    const server = (): Promise<KafkaEntrance> => {
      this.asked++;
      return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
    };
    return this.clock.drive(KafkaDoors.open({ network: this.network, listeners, waitingMax, server }));
  }

  async client(port: number, says = ''): Promise<Ear> {
    const ear = new Ear(await this.clock.drive(this.network.connect({ host: '127.0.0.1', port })));
    if (says !== '') ear.socket.write(Buffer.from(says));
    await this.clock.advance(1000);
    return ear;
  }

  opened(): Promise<void> {
    for (const { resolve } of this.waiting.splice(0)) resolve(this.entrance);
    return this.pass();
  }

  failed(): Promise<void> {
    for (const { reject } of this.waiting.splice(0)) reject(new Error('the disk is full'));
    return this.pass();
  }

  pass(): Promise<void> {
    return this.clock.advance(1000);
  }
}

describe('the doors', () => {
  it('ask for the server when the first client comes, which is let in with all that it said meanwhile', async () => {
    const house = new House();
    const doors = await house.open([{ port: 0 }]);
    expect(house.asked).toBe(0);
    const client = await house.client(doors.addresses[0]!.port, 'hello');
    expect([house.asked, house.inside.length]).toEqual([1, 0]);
    client.socket.write(Buffer.from(', anybody'));
    await house.pass();
    await house.opened();
    const { ear } = house.inside[0]!;
    expect(ear.heard).toBe('hello, anybody');
    ear.socket.write(Buffer.from('me'));
    client.socket.write(Buffer.from('?'));
    await house.pass();
    expect([client.heard, ear.heard]).toEqual(['me', 'hello, anybody?']);
    const second = await house.client(doors.addresses[0]!.port, 'me too');
    expect([house.asked, house.inside[1]!.ear.heard, second.isClosed]).toEqual([1, 'me too', false]);
  });

  it('let each client in with the address of the door that it came through, and ask those from elsewhere who they are', async () => {
    const house = new House();
    const advertised = { host: 'pigeons.example', port: 9 };
    const doors = await house.open([{ port: 0 }, { port: 0, host: '0.0.0.0', advertised }, { port: 0, advertised, login: true }]);
    const ports = doors.addresses.map(({ port }) => port);
    expect(doors.addresses.map((address) => address.advertised)).toEqual([{ host: '127.0.0.1', port: ports[0] }, advertised, advertised]);
    for (const port of ports) await house.client(port);
    await house.opened();
    expect(house.inside.map(({ view }) => view)).toEqual([
      { host: '127.0.0.1', port: ports[0], needsLogin: false },
      { ...advertised, needsLogin: true },
      { ...advertised, needsLogin: true },
    ]);
  });

  it('turn away who waits when the server cannot be opened, and ask again for the next', async () => {
    const house = new House();
    const doors = await house.open([{ port: 0 }]);
    const first = await house.client(doors.addresses[0]!.port, 'hello');
    await house.failed();
    expect(first.isClosed).toBe(true);
    await house.client(doors.addresses[0]!.port);
    expect(house.asked).toBe(2);
  });

  it('let only so many wait, and nobody who has gone again', async () => {
    const house = new House();
    const doors = await house.open([{ port: 0 }], 1);
    const patient = await house.client(doors.addresses[0]!.port);
    const late = await house.client(doors.addresses[0]!.port);
    expect([patient.isClosed, late.isClosed]).toEqual([false, true]);
    patient.socket.destroy();
    await house.pass();
    await house.opened();
    expect(house.inside).toEqual([]);
  });

  it('let nobody in any more when they are closed, and send away who waits', async () => {
    const house = new House();
    const doors = await house.open([{ port: 0 }]);
    const { port } = doors.addresses[0]!;
    const client = await house.client(port);
    await house.clock.drive(doors.close());
    await house.opened();
    expect([client.isClosed, house.inside]).toEqual([true, []]);
    await expect(house.client(port)).rejects.toThrow(NetworkError);
  });

  it('leave no socket behind when one of the ports is taken, and say so', async () => {
    const house = new House();
    const doors = await house.open([{ port: 7 }]);
    await expect(house.open([{ port: 8 }, { port: 7 }])).rejects.toMatchObject({ code: 'port-unusable' });
    await expect(house.client(8)).rejects.toThrow(NetworkError);
    await house.clock.drive(doors.close());
    await expect(house.open([{ port: 0, host: '::' }])).rejects.toThrow('nobody can come to ::');
  });
});

/**
 * What our broker answers to what, held against what an Apache Kafka 4.3 answered to the same (transcripts.ts): every kind of request in every
 * version, ordinary and refused. The words of refusals are our own; all else is equal.
 */
import { describe, expect, it } from '@jest/globals';
import type { Socket } from '@dovecote/ground';
import { simulatedGround } from '@dovecote/ground/testing';
import { Broker } from '../broker.js';
import { apis } from './apis.js';
import { converse, type Wire } from './conversation.js';
import { conversations } from './conversations.js';
import { groupConversations } from './group-conversations.js';
import { RequestFrames } from './request-frames.js';
import { transcripts } from './transcripts.js';

const all = { ...conversations, ...groupConversations };

/** Answers one frame after the other; undefined from when the connection is closed. */
function wireOver(socket: Socket): Wire {
  const frames = new RequestFrames(() => 2 ** 30);
  const waiting: ((frame: Buffer | undefined) => void)[] = [];
  let isClosed = false;
  socket.start({
    onData: (bytes) => {
      frames.push(bytes);
      for (let frame = frames.next(); frame !== undefined; frame = frames.next()) waiting.shift()!(Buffer.from(frame));
    },
    onDrain: () => undefined,
    onClose: () => {
      isClosed = true;
      for (const answer of waiting.splice(0)) answer(undefined);
    },
  });
  return {
    exchange: (frame) =>
      new Promise((resolve) => {
        if (isClosed) resolve(undefined);
        else {
          waiting.push(resolve);
          socket.write(frame);
        }
      }),
  };
}

async function play(name: keyof typeof all): Promise<readonly string[]> {
  const machine = simulatedGround(1);
  const { ground } = machine.startProcess();
  const kafka = { port: 9092 };
  const broker = await machine.clock.drive(Broker.open({ data: '/data', durability: 'os', ground, kafka }));
  const connect = async (): Promise<Wire> => wireOver(await machine.network.connect({ host: '127.0.0.1', port: broker.kafkaPort! }));
  const said = await machine.clock.drive(converse(all[name]!, { connect, now: () => ground.clock.now(), own: 'c000000-' }));
  await machine.clock.drive(broker.close());
  return said;
}

describe('the answers are those of Apache Kafka 4.3:', () => {
  it.each(Object.keys(all))('%s', async (name) => {
    expect(await play(name)).toEqual(transcripts[name]);
  });

  it('every kind of request is among them, in every version that is announced', () => {
    const heard = new Map<string, Set<number>>();
    for (const line of Object.values(transcripts).flat()) {
      const [, api = '', first = '', last = first] = /: (\w+) (\d+)(?:-(\d+))? /.exec(line) ?? [];
      const versions = heard.get(api) ?? new Set();
      for (let version = Number(first); version <= Number(last); version++) versions.add(version);
      heard.set(api, versions);
    }
    const unheard = [...apis.values()].flatMap(({ name, minVersion, maxVersion }) => {
      const versions = Array.from({ length: maxVersion - minVersion + 1 }, (_, i) => minVersion + i);
      return versions.filter((version) => heard.get(name)?.has(version) !== true).map((version) => `${name} ${version}`);
    });
    expect(unheard).toEqual([]);
  });
});

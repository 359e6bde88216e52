import { describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { CONTENDERS } from './contenders.js';
import { leftOverAmqp } from './left.js';
import { poison } from './poison.js';
import { measureThroughput } from './throughput.js';

async function onBroker<Found>(task: (host: string) => Promise<Found>): Promise<Found> {
  const broker = await Broker.open({ durability: 'memory', amqp: { port: 0 } });
  try {
    return await task(`guest:guest@127.0.0.1:${broker.amqpPort}`);
  } finally {
    await broker.close();
  }
}

describe('the comparison of transports', () => {
  it.each(['dovecote-amqp', 'nest-rmq'] as const)('sees every message of %s handled, and what each process spent on it', async (name) => {
    const found = await onBroker((host) => measureThroughput(CONTENDERS[name], host, `bench-${name}`, { warmupMs: 0, measureMs: 300 }));
    for (const figure of Object.values(found)) expect(figure).toBeGreaterThan(0);
  });

  it('counts how often a poisoned message was handled, and finds it where it ended', async () => {
    const [contender, name] = [CONTENDERS['dovecote-amqp'], 'bench-poisoned'];
    const found = await onBroker((host) => {
      const buried = async (): Promise<void> => {
        while ((await leftOverAmqp(host, contender, name)) !== 'dead letters: 1');
      };
      return poison(contender, host, name, 'throws', buried, (one) => leftOverAmqp(host, one, name));
    });
    expect(found).toEqual({ times: 3, harmless: 10, left: 'dead letters: 1' });
  });
});

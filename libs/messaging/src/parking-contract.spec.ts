import { describe, expect, it } from '@jest/globals';
import { Broker } from '@dovecote/broker';
import { realGround } from '@dovecote/ground';
import { brokenParking, parkingDefects } from './broken-parking.js';
import { parkingStoreContract } from './parking-contract.js';
import type { ContractCase } from './transport-contract.js';
import { AmqpSubject } from './transports/amqp-subject.js';
import { EmbeddedSubject } from './transports/embedded-subject.js';
import { JumpingClock } from './transports/kafka/jumping-clock.js';
import { KafkaSubject } from './transports/kafka/kafka-subject.js';

/** Our own broker as a Kafka cluster of one node. */
async function openKafka(): Promise<KafkaSubject> {
  const clock = new JumpingClock();
  const kafka = { port: 0, initialRebalanceDelayMs: 0 };
  const broker = await Broker.open({ durability: 'memory', kafka, ground: { ...realGround(), clock } });
  return new KafkaSubject(`kafka://127.0.0.1:${broker.kafkaPort}`, clock, () => broker.close());
}

/** Our own broker behind a socket. */
async function openAmqp(): Promise<AmqpSubject> {
  const broker = await Broker.open({ durability: 'memory', amqp: { port: 0 } });
  return AmqpSubject.open(`amqp://guest:guest@127.0.0.1:${broker.amqpPort}`, () => broker.close());
}

describe('what waits for its key on the embedded broker', () => {
  keeps(parkingStoreContract(() => EmbeddedSubject.open()));
});

describe('what waits for its key over amqp, on our broker', () => {
  keeps(parkingStoreContract(openAmqp));
});

const foreignAmqp = process.env['DOVECOTE_TEST_AMQP_URL'];

describe('what waits for its key over amqp, on the broker at DOVECOTE_TEST_AMQP_URL', () => {
  if (foreignAmqp === undefined || foreignAmqp === '') it.todo('is not set: skipped');
  else keeps(parkingStoreContract(() => AmqpSubject.open(foreignAmqp)));
});

describe('what waits for its key over kafka, on our broker', () => {
  keeps(parkingStoreContract(openKafka));
});

const foreignUrl = process.env['DOVECOTE_TEST_KAFKA_URL'];

describe('what waits for its key over kafka, on the cluster at DOVECOTE_TEST_KAFKA_URL', () => {
  if (foreignUrl === undefined || foreignUrl === '') it.todo('is not set: skipped');
  else keeps(parkingStoreContract(() => Promise.resolve(new KafkaSubject(foreignUrl, new JumpingClock()))));
});

describe('the contract of what waits passes a wrapped store without a defect', () => {
  keeps(parkingStoreContract(async () => brokenParking(await openKafka(), () => ({}))));
});

describe('the contract of what waits notices a store that', () => {
  it.each(Object.entries(parkingDefects))('%s', async (_name, { defect, failing }) => {
    const cases = parkingStoreContract(async () => brokenParking(await openKafka(), defect));
    const guilty = cases.filter(({ name }) => name === failing);
    expect(guilty).toHaveLength(1);
    await expect(guilty[0]!.run()).rejects.toMatchObject({ code: 'ERR_ASSERTION' });
  });
});

function keeps(cases: readonly ContractCase[]): void {
  it.each(cases)('$name', async ({ run }) => {
    expect(await run()).toBe('kept');
  });
}

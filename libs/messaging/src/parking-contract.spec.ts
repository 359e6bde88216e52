import { describe, expect, it } from '@jest/globals';
import { brokenParking, parkingDefects } from './broken-parking.js';
import type { ContractCase } from './contract-case.js';
import { parkingStoreContract } from './parking-contract.js';
import { AmqpSubject } from './transports/amqp-subject.js';
import { EmbeddedSubject } from './transports/embedded-subject.js';
import { JumpingClock } from './transports/kafka/jumping-clock.js';
import { KafkaSubject } from './transports/kafka/kafka-subject.js';
import { openOurAmqp, openOurKafka } from './transports/our-subjects.js';

describe('what waits for its key on the embedded broker', () => {
  keeps(parkingStoreContract(() => EmbeddedSubject.open()));
});

describe('what waits for its key over amqp, on our broker', () => {
  keeps(parkingStoreContract(openOurAmqp));
});

const foreignAmqp = process.env['DOVECOTE_TEST_AMQP_URL'];

describe('what waits for its key over amqp, on the broker at DOVECOTE_TEST_AMQP_URL', () => {
  if (foreignAmqp === undefined || foreignAmqp === '') it.todo('is not set: skipped');
  else keeps(parkingStoreContract(() => AmqpSubject.open(foreignAmqp)));
});

describe('what waits for its key over kafka, on our broker', () => {
  keeps(parkingStoreContract(openOurKafka));
});

const foreignUrl = process.env['DOVECOTE_TEST_KAFKA_URL'];

describe('what waits for its key over kafka, on the cluster at DOVECOTE_TEST_KAFKA_URL', () => {
  if (foreignUrl === undefined || foreignUrl === '') it.todo('is not set: skipped');
  else keeps(parkingStoreContract(() => Promise.resolve(new KafkaSubject(foreignUrl, new JumpingClock()))));
});

describe('the contract of what waits passes a wrapped store without a defect', () => {
  keeps(parkingStoreContract(async () => brokenParking(await openOurKafka(), () => ({}))));
});

describe('the contract of what waits notices a store that', () => {
  it.each(Object.entries(parkingDefects))('%s', async (_name, { defect, failing }) => {
    const cases = parkingStoreContract(async () => brokenParking(await openOurKafka(), defect));
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

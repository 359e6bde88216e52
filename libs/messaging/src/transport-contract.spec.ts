import { describe, expect, it } from '@jest/globals';
import { broken, defects } from './broken-transports.js';
import type { ContractCase } from './contract-case.js';
import { transportContract } from './transport-contract.js';
import { AmqpSubject } from './transports/amqp-subject.js';
import { EmbeddedSubject } from './transports/embedded-subject.js';
import { openOurAmqp, openOurKafka } from './transports/our-subjects.js';
import { TwoBrokersSubject } from './transports/two-brokers-subject.js';
import { turn } from './turn.js';

const openEmbedded = (): Promise<EmbeddedSubject> => EmbeddedSubject.open();

describe('the embedded transport', () => {
  keeps(transportContract(openEmbedded));
});

describe('the amqp transport, on our broker', () => {
  keeps(transportContract(openOurAmqp));
});

describe('the kafka transport, on our broker', () => {
  keeps(transportContract(openOurKafka), ['kept', 'not-promised']);
});

describe('two brokers as one: both embedded', () => {
  keeps(transportContract(async () => new TwoBrokersSubject(await openEmbedded(), await openEmbedded())));
});

describe('two brokers as one: events over kafka, commands over amqp, on our broker', () => {
  keeps(
    transportContract(async () => new TwoBrokersSubject(await openOurKafka(), await openOurAmqp())),
    ['kept', 'not-promised'],
  );
});

const foreignUrl = process.env['DOVECOTE_TEST_AMQP_URL'];

describe('the amqp transport, on the broker at DOVECOTE_TEST_AMQP_URL', () => {
  if (foreignUrl === undefined || foreignUrl === '') it.todo('is not set: skipped');
  else keeps(transportContract(() => AmqpSubject.open(foreignUrl)));
});

describe('the contract suite passes a wrapped transport without a defect', () => {
  keeps(transportContract(async () => broken(await openEmbedded(), () => ({}))));
});

describe('the contract suite notices a transport that', () => {
  it.each(Object.entries(defects))('%s', async (_name, { defect, failing }) => {
    const cases = transportContract(async () => broken(await openEmbedded(), defect));
    const guilty = cases.filter(({ name }) => name === failing);
    expect(guilty).toHaveLength(1);
    for (const { run } of guilty) expect(await outcome(run())).not.toBe('passes');
  });
});

function keeps(cases: readonly ContractCase[], outcomes: readonly string[] = ['kept']): void {
  it.each(cases)('$name', async ({ run }) => {
    expect(outcomes).toContain(await run());
  });
}

/** A case that waits for what a broken transport never delivers fails as well: nothing is left that could end it. */
async function outcome(run: Promise<unknown>): Promise<'fails' | 'passes' | 'waits for ever'> {
  const verdict = run.then(
    () => 'passes' as const,
    () => 'fails' as const,
  );
  return Promise.race([verdict, turns(500).then(() => 'waits for ever' as const)]);
}

async function turns(count: number): Promise<void> {
  for (let index = 0; index < count; index++) await turn();
}

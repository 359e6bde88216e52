import { describe, expect, it } from '@jest/globals';
import { type Defect, broken, defects } from './broken-transports.js';
import type { ContractCase } from './contract-case.js';
import { transportCrashes } from './transport-crashes.js';
import { AmqpSubject } from './transports/amqp-subject.js';
import { EmbeddedSubject } from './transports/embedded-subject.js';
import { openOurAmqp, openOurKafka } from './transports/our-subjects.js';

describe('the embedded transport', () => {
  keeps(transportCrashes(() => EmbeddedSubject.open()));
});

describe('the amqp transport, on our broker', () => {
  keeps(transportCrashes(openOurAmqp));
});

describe('the kafka transport, on our broker', () => {
  keeps(transportCrashes(openOurKafka));
});

const foreignUrl = process.env['DOVECOTE_TEST_AMQP_URL'];

describe('the amqp transport, on the broker at DOVECOTE_TEST_AMQP_URL', () => {
  if (foreignUrl === undefined || foreignUrl === '') it.todo('is not set: skipped');
  else keeps(transportCrashes(() => AmqpSubject.open(foreignUrl)));
});

/** Each with a case that must fail because of it. */
const guilty: Readonly<Record<string, { readonly defect: Defect; readonly failing: string }>> = {
  'acknowledges before the handler is done': {
    defect: defects['acknowledges before the handler is done']!.defect,
    failing: 'loses no message whose handler is done with it when a member dies when its handler has begun',
  },
  'confirms first and sends later': {
    defect: defects['confirms first and sends later']!.defect,
    failing: 'loses no message that is a dead letter when a member dies when it has acknowledged',
  },
  'forgets what is kept for an inbox': {
    defect: defects['forgets what is kept for an inbox']!.defect,
    failing: 'loses no message that is tried again when a member dies when it has acknowledged',
  },
  'publishes everything twice': {
    defect: (sound) => ({
      publish: async (envelope, deadlineMs, route) => {
        await sound.publish(envelope, deadlineMs, route);
        await sound.publish(envelope, deadlineMs, route);
      },
    }),
    failing: 'loses no message that is tried again when a member dies when that was confirmed',
  },
};

describe('the crashes notice a transport that', () => {
  it.each(Object.entries(guilty))('%s', async (_name, { defect, failing }) => {
    const cases = transportCrashes(async () => broken(await EmbeddedSubject.open(), defect), 100).filter(({ name }) => name === failing);
    expect(cases).toHaveLength(1);
    for (const { run } of cases) await expect(run()).rejects.toThrow(/the message was lost|it ended \d+ times|its handler was called/);
  });
});

function keeps(cases: readonly ContractCase[]): void {
  it.each(cases)('$name', async ({ run }) => {
    expect(await run()).toBe('kept');
  });
}

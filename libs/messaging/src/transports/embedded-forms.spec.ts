import { describe, expect, it } from '@jest/globals';
import { type Envelope, plainEvent } from '../envelope.js';
import { toProperties } from './cloud-events.js';
import { EmbeddedForms } from './embedded-forms.js';

const address = { exchange: 'dovecote.events', routingKey: 'orders.order-placed' };
const event: Envelope = {
  ...plainEvent,
  id: 'one',
  type: 'orders.order-placed',
  source: 'orders',
  time: '2026-11-28T20:00:00.123Z',
  key: 'order-1',
  version: 1,
  contentType: 'application/json',
  body: Buffer.from('{}'),
};

/** As a client of the broker sees it. */
function said(forms: EmbeddedForms, envelope: Envelope): unknown {
  const { properties = {}, common } = forms.message(envelope, address);
  return common?.with(properties) ?? properties;
}

describe('events of one type', () => {
  it('are said as each would be by itself, whatever differs between them', () => {
    const forms = new EmbeddedForms();
    const others: Partial<Envelope>[] = [
      { id: 'two', time: '2026-11-28T20:00:01.000Z', key: 'Schlüssel' },
      { key: undefined },
      { version: 2 },
      { version: undefined },
      { source: 'elsewhere' },
      { contentType: 'application/avro' },
      { type: 'orders.order-shipped' },
      { type: 't'.repeat(90) },
      { source: 's'.repeat(200) },
      { time: undefined },
      { time: 'a while ago' },
      { headers: { traceparent: '00-1-2-01' } },
      { correlationId: 'zero', causationId: 'zero' },
      { dataSchema: 'schema:1' },
      { expiresAtMs: 1 },
      { replyTo: 'somewhere' },
      { kind: 'command' },
      { trail: { failures: 1, starts: 0, history: [], death: undefined } },
    ];
    for (const other of [{}, ...others, {}]) {
      const envelope = { ...event, ...other };
      expect([other, said(forms, envelope)]).toEqual([other, toProperties(envelope)]);
    }
    expect(forms.message({ ...event, id: 'three' }, address).common).toBe(forms.message(event, address).common);
  });
});

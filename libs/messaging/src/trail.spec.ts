import { describe, expect, it } from '@jest/globals';
import type { Death, Trail } from './envelope.js';
import { HISTORY_MAX, REASON_CHARACTERS_MAX } from './limits.js';
import { died, failed, started, trailHeaders, trailOf } from './trail.js';

function travelled(trail: Trail): Trail {
  const headers = trailHeaders(trail);
  return trailOf((name) => headers[name]);
}

describe('the trail of a message', () => {
  it('comes through headers as it was', () => {
    const death = { cause: 'attempts', atMs: 9, reason: 'down', group: 'notifications', handler: 'Notifications.notify' } as const;
    const trail = died(started(failed(failed(undefined, 1, 'down'), 2, 'still "down" ü')), death);
    expect(travelled(trail)).toEqual(trail);
    expect(trail).toEqual({
      failures: 2,
      starts: 1,
      history: [
        { atMs: 1, reason: 'down' },
        { atMs: 2, reason: 'still "down" ü' },
      ],
      death,
    });
    expect(trailHeaders(failed(undefined, 1, 'x'))).toEqual({ 'dovecote-failures': '1', 'dovecote-history': '[{"atMs":1,"reason":"x"}]' });
  });

  it('says what waits for a dead letter, and nothing where a stranger says nonsense about it', () => {
    const death = {
      cause: 'fatal',
      atMs: 9,
      reason: 'down',
      group: 'g',
      handler: undefined,
      parked: { lane: 'orders/3', sequence: 17 },
    } as const;
    expect(travelled(died(undefined, death)).death).toEqual(death);
    const odd = { ...death, parked: { lane: 3, sequence: 'x' } } as unknown as Death;
    expect(travelled(died(undefined, odd)).death).not.toHaveProperty('parked');
  });

  it('stays small however often and however long a message fails', () => {
    let trail: Trail | undefined;
    for (let atMs = 0; atMs < 100; atMs++) trail = failed(trail, atMs, 'x'.repeat(10_000));
    expect(trail!.failures).toBe(100);
    expect(trail!.history.map(({ atMs }) => atMs)).toEqual(Array.from({ length: HISTORY_MAX }, (_, index) => 100 - HISTORY_MAX + index));
    expect(trail!.history[0]!.reason).toHaveLength(REASON_CHARACTERS_MAX);
  });

  it('is read as far as it makes sense where a stranger wrote it', () => {
    const nothing = { failures: 0, starts: 0, history: [], death: undefined };
    const read = (headers: Readonly<Record<string, string>>): Trail => trailOf((name) => headers[name]);
    expect(read({ 'dovecote-failures': '-1', 'dovecote-starts': '1e9', 'dovecote-history': '{', 'dovecote-death': 'null' })).toEqual(
      nothing,
    );
    expect(
      read({ 'dovecote-history': '[1,null,{"atMs":"1","reason":2}]', 'dovecote-death': '{"atMs":1,"reason":"x","cause":"toString"}' }),
    ).toEqual(nothing);
    const many = JSON.stringify(Array.from({ length: 1_000 }, () => ({ atMs: 1, reason: 'x', more: 'y'.repeat(1_000) })));
    expect(read({ 'dovecote-history': many }).history).toEqual(Array.from({ length: HISTORY_MAX }, () => ({ atMs: 1, reason: 'x' })));
  });
});

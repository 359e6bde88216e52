/** A member whose coordinator does what a cluster does in its worst moments. */
import { describe, expect, it } from '@jest/globals';
import { SeededRandom, SimulatedClock } from '@dovecote/ground/testing';
import { Backoff } from '../../backoff.js';
import { GroupMember } from './group-member.js';
import { encodeAssignment } from './group-assignment.js';
import { type JoinAnswer, type KafkaClient, type KafkaGroupCalls, kafkaCodes } from './kafka-client.js';

const never = new Promise<never>(() => undefined);

describe('a member of a group', () => {
  it('leaves although its share of the partitions, and the answer to its farewell, never come', async () => {
    const clock = new SimulatedClock();
    const said: string[] = [];
    let syncs = 0;
    const answer: JoinAnswer = { code: kafkaCodes.none, memberId: 'me', generation: 1, leader: 'another', members: [] };
    const calls: Partial<KafkaGroupCalls> = {
      join: () => Promise.resolve(answer),
      sync: () => (++syncs === 1 ? Promise.resolve({ code: kafkaCodes.none, assignment: encodeAssignment([]) }) : never),
      leave: () => {
        said.push('leave');
        return never;
      },
    };
    const client = { group: () => calls } as Partial<KafkaClient> as KafkaClient;
    const noEvents = { assigned: () => never, revoked: () => never, lost: () => undefined, failed: () => undefined };
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
    const times = { sessionTimeoutMs: 45_000, heartbeatEveryMs: 3_000, rebalanceTimeoutMs: 60_000 };
    const backoff = new Backoff(new SeededRandom(1), 100, 1_000);
    const member = new GroupMember(client, { group: 'g', ...times, clock, backoff, log }, noEvents);
    await member.join(['orders']);
    member.subscribe(['orders', 'likes']);
    await turns();
    expect(syncs).toBe(2);

    let hasLeft = false;
    const leaving = member.leave().then(() => (hasLeft = true));
    await turns();
    expect(said).toEqual(['leave']);
    expect(hasLeft).toBe(false);
    await clock.advance(1_000);
    await leaving;
  });
});

async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

/**
 * What is on an AMQP broker of what a service needs, found out without making anything: each thing is asked for passively, and what is there is declared as it
 * should be, which changes nothing and is refused where it differs. A refusal ends its channel, so each question has one of its own. Bindings cannot be
 * asked for over AMQP; they are left out.
 */
import type { Channel, ChannelModel } from 'amqplib';
import { reasonOf } from '../errors.js';
import type { PlannedThing } from '../transport.js';
import { declare } from './amqp-subscription.js';
import { type Declared, describe } from './topology.js';

export async function planOf(connection: ChannelModel, things: readonly Declared[]): Promise<readonly PlannedThing[]> {
  const planned: PlannedThing[] = [];
  for (const declared of things) {
    if (declared.thing !== 'exchange' && declared.thing !== 'queue') continue;
    const thing = describe(declared);
    const isThere = (await refusalOf(connection, (channel) => check(channel, declared))) === undefined;
    const difference = isThere ? await refusalOf(connection, (channel) => declare(channel, declared)) : undefined;
    if (!isThere) planned.push({ thing, state: 'absent', detail: 'it would be made' });
    else if (difference === undefined) planned.push({ thing, state: 'present', detail: undefined });
    else planned.push({ thing, state: 'different', detail: difference });
  }
  return planned;
}

async function check(channel: Channel, { thing, name }: Declared & { readonly name: string }): Promise<void> {
  await (thing === 'queue' ? channel.checkQueue(name) : channel.checkExchange(name));
}

/** What the broker says against it, in its words; nothing where it agrees. */
async function refusalOf(connection: ChannelModel, ask: (channel: Channel) => Promise<void>): Promise<string | undefined> {
  const channel = await connection.createChannel();
  // The answer comes with the promise.
  channel.on('error', nothing);
  try {
    await ask(channel);
  } catch (error) {
    return reasonOf(error);
  }
  await channel.close();
  return undefined;
}

function nothing(): void {}

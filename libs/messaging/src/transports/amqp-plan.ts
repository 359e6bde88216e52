/**
 * What is on an AMQP broker of what a service needs, found out without making anything: each thing is asked for passively, and what is there is declared as it
 * should be, which changes nothing and is refused where it differs. A refusal ends its channel, so each question has one of its own. Bindings cannot be
 * asked for over AMQP: amqp-bindings.ts does it another way.
 */
import type { Channel, ChannelModel } from 'amqplib';
import { reasonOf } from '../errors.js';
import type { PlannedThing, SubscriptionRequest } from '../transport.js';
import { messagesIn } from './amqp-queue-count.js';
import { declare } from './amqp-subscription.js';
import { waysOutOfOtherLanes } from './lanes/left-lanes.js';
import { type Declared, describe } from './topology.js';

export function planOf(
  connection: ChannelModel,
  things: readonly Declared[],
  request: Pick<SubscriptionRequest, 'sources'> = { sources: [] },
): Promise<readonly PlannedThing[]> {
  return Promise.all(things.filter(isWorthALine).map((declared) => findOut(connection, declared, request)));
}

/** What must not be there is no part of a plan, and the 32 ways into the lanes come with their exchange: they would hide the others. */
export function isWorthALine(declared: Declared): boolean {
  if (declared.thing === 'no-link' || declared.thing === 'no-binding') return false;
  return declared.thing !== 'binding' || declared.arguments === undefined;
}

async function findOut(connection: ChannelModel, declared: Declared, request: Pick<SubscriptionRequest, 'sources'>): Promise<PlannedThing> {
  const thing = describe(declared);
  if (declared.thing !== 'exchange' && declared.thing !== 'queue') return { thing, state: 'unseen', detail: undefined };
  const refusal = await refusalOf(connection, (channel) => check(channel, declared));
  if (refusal !== undefined && /NOT[-_]FOUND/.test(refusal)) return { thing, state: 'absent', detail: undefined };
  const difference = refusal ?? (await refusalOf(connection, (channel) => declare(channel, declared)));
  if (difference === undefined) return { thing, state: 'present', detail: undefined };
  // Who may not configure cannot compare either; whether it does is not this one's concern then.
  if (/ACCESS[-_]REFUSED/.test(difference))
    return { thing, state: 'present', detail: 'it could not be compared: this user may not configure it' };
  const otherwise = `delete the ${declared.thing} when it is empty and start again, or give the settings it was made with`;
  return {
    thing,
    state: 'different',
    detail: / with message "(?:[A-Z_]+ - )?(.*)"$/.exec(difference)?.[1] ?? difference,
    wayOut: (await waysOutOfOtherLanes(difference, request, (queue) => messagesIn(connection, queue))) ?? otherwise,
  };
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

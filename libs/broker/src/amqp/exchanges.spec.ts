import { describe, expect, it } from '@jest/globals';
import { converse } from './amqp-world.js';
import { exchangeConversations } from './exchange-conversations.js';
import { handshake, openChannel } from './scripted-client.js';

describe('exchanges are talked about as with a RabbitMQ 4.0.5', () => {
  it.each(exchangeConversations)('%s', async (_name, said, answered) => {
    const all = await converse([handshake, openChannel, ...said]);
    expect(all.slice(4)).toEqual(answered); // behind the handshake's three answers and channel.open-ok
  });
});

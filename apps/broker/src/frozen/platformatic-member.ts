/** A member of a group run by @platformatic/kafka, for the test that freezes it. Who is refused begins anew, as another member. */
import { Consumer, MessagesStreamModes, stringDeserializers } from '@platformatic/kafka';
import { handle, options, sayAssigned } from './member-words.js';

const { broker, group, topic, sessionMs } = options;

for (;;) {
  const consumer = new Consumer({
    clientId: 'platformatic',
    groupId: group,
    bootstrapBrokers: [broker],
    deserializers: stringDeserializers,
    sessionTimeout: sessionMs,
    rebalanceTimeout: sessionMs,
    heartbeatInterval: sessionMs / 10,
    maxWaitTime: sessionMs / 10,
    // Told to try again, it joins after a refused commit, and commits as the new member what the old one may not.
    retries: 0,
  });
  // It says of itself that it could not join with a member that is gone.
  consumer.on('error', () => undefined);
  consumer.on('consumer:group:join', ({ assignments }) =>
    sayAssigned((assignments ?? []).flatMap((one) => (one.topic === topic ? one.partitions : []))),
  );
  const stream = await consumer.consume({
    topics: [topic],
    mode: MessagesStreamModes.COMMITTED,
    fallbackMode: 'earliest',
    autocommit: false,
  });
  for await (const { value, partition, offset } of stream) {
    const offsets = [{ topic, partition, offset: offset + 1n, leaderEpoch: 0 }];
    if (!(await handle(value, () => consumer.commit({ offsets })))) break;
  }
  // What it says of the member that is gone is refused as well.
  await Promise.resolve(consumer.close(true)).catch(() => undefined);
}

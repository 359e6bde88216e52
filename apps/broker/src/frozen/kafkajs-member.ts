/** A member of a group run by kafkajs, for the test that freezes it. */
import { Kafka, logLevel } from 'kafkajs';
import { handle, options, sayAssigned } from './member-words.js';

const { broker, group, topic, sessionMs } = options;
const kafka = new Kafka({ brokers: [broker], logLevel: logLevel.NOTHING });
const consumer = kafka.consumer({
  groupId: group,
  sessionTimeout: sessionMs,
  rebalanceTimeout: sessionMs,
  heartbeatInterval: sessionMs / 10,
  // It gives no sign of life while it waits for records.
  maxWaitTimeInMs: sessionMs / 10,
});
consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => sayAssigned(payload.memberAssignment[topic] ?? []));
await consumer.connect();
await consumer.subscribe({ topics: [topic], fromBeginning: true });
await consumer.run({
  autoCommit: false,
  // Where that is refused, the next sign of life is too, and it joins again.
  eachMessage: async ({ partition, message: { value, offset } }) => {
    await handle(String(value), () => consumer.commitOffsets([{ topic, partition, offset: String(Number(offset) + 1) }]));
  },
});

/** Our own broker behind each of its protocols, with a clock that leaps, for the suites that every transport must pass. For tests only. */
import { Broker } from '@dovecote/broker';
import { realGround } from '@dovecote/ground';
import { AmqpSubject } from './amqp-subject.js';
import { JumpingClock } from './kafka/jumping-clock.js';
import { KafkaSubject } from './kafka/kafka-subject.js';

export async function openOurAmqp(): Promise<AmqpSubject> {
  const clock = new JumpingClock();
  const broker = await Broker.open({ durability: 'memory', amqp: { port: 0 }, ground: { ...realGround(), clock } });
  const subject = await AmqpSubject.open(`amqp://guest:guest@127.0.0.1:${broker.amqpPort}`, () => broker.close());
  subject.pass = (ms) => clock.pass(ms);
  return subject;
}

export async function openOurKafka(): Promise<KafkaSubject> {
  const clock = new JumpingClock();
  const kafka = { port: 0 };
  const broker = await Broker.open({ durability: 'memory', kafka, ground: { ...realGround(), clock } });
  return new KafkaSubject(`kafka://127.0.0.1:${broker.kafkaPort}`, clock, () => broker.close());
}

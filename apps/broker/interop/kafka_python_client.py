"""kafka-python against the daemon: python kafka_python_client.py HOST:PORT. Prints a line for each thing it saw; ends with 0 when all of it was as it must be.

Run by interop-python.spec.ts.
"""

import sys

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import InvalidTopicError

LOGIN = {
    "bootstrap_servers": sys.argv[1],
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "PLAIN",
    "sasl_plain_username": "ann",
    "sasl_plain_password": "secret",
}


def see(what):
    print(what, flush=True)


def produced():
    admin = KafkaAdminClient(**LOGIN)
    admin.create_topics([NewTopic("python", 1, 1)])
    producer = KafkaProducer(acks="all", compression_type="gzip", **LOGIN)
    offsets = [producer.send("python", b"%d" % number, key=b"k").get(timeout=10).offset for number in range(20)]
    producer.close()
    assert offsets == list(range(20)), offsets
    see("produced in order")
    try:
        admin.create_topics([NewTopic("a b", 1, 1)])
        raise AssertionError("a topic is called 'a b'")
    except InvalidTopicError:
        see("refused")
    admin.close()


def consumed():
    consumer = KafkaConsumer("python", group_id="python-group", auto_offset_reset="earliest", enable_auto_commit=False, consumer_timeout_ms=15000, **LOGIN)
    seen = []
    for message in consumer:
        seen.append(int(message.value))
        if len(seen) == 20:
            break
    assert seen == list(range(20)), seen
    see("consumed in order")
    consumer.commit()
    assert consumer.committed(TopicPartition("python", 0)) == 20
    see("committed")
    assert consumer.end_offsets([TopicPartition("python", 0)]) == {TopicPartition("python", 0): 20}
    consumer.close()


produced()
consumed()
see("all of it")

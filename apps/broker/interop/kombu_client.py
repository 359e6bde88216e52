"""kombu (on py-amqp), on which Celery stands, against the daemon: python kombu_client.py URL. Prints a line for each thing it saw.

Run by interop-python.spec.ts. What is of kombu alone: it takes the meaning of a prefetch from the name and version of the server, as a Celery worker does when its pool
grows, and it keeps its replies in queues that expire.
"""

import socket
import sys

import kombu

URL = sys.argv[1]


def see(what):
    print(what, flush=True)


def drain(connection, until):
    """Takes what comes until `until` says enough, or nothing comes for a while."""
    while not until():
        try:
            connection.drain_events(timeout=5)
        except socket.timeout:
            return


def declared_and_consumed():
    with kombu.Connection(URL) as connection:
        exchange = kombu.Exchange("kombu_tasks", type="direct", durable=True)
        queue = kombu.Queue("kombu_tasks", exchange, routing_key="tasks", durable=True)
        with connection.Producer() as producer:
            for number in range(20):
                producer.publish({"number": number}, exchange=exchange, routing_key="tasks", declare=[queue], delivery_mode=2, retry=True)
        seen = []

        def handle(body, message):
            seen.append(body["number"])
            message.ack()

        with connection.Consumer([queue], callbacks=[handle], accept=["json"]):
            drain(connection, lambda: len(seen) == 20)
        assert seen == list(range(20)), seen
        see("consumed in order")


def prefetch_raised():
    """A consumer that runs is given more when its prefetch is raised."""
    with kombu.Connection(URL) as connection:
        channel = connection.channel()
        queue = kombu.Queue("kombu_prefetch", channel=channel, durable=False, auto_delete=True, expires=60)
        queue.declare()
        producer = kombu.Producer(channel)
        for _ in range(10):
            producer.publish("task", routing_key="kombu_prefetch")
        seen = []
        is_global = not connection.qos_semantics_matches_spec
        consumer = kombu.Consumer(channel, [queue], callbacks=[lambda body, message: seen.append(message)], accept=["text/plain", "json"])
        channel.basic_qos(0, 2, is_global)
        consumer.consume()
        drain(connection, lambda: len(seen) >= 2)
        assert len(seen) == 2, len(seen)
        channel.basic_qos(0, 6, is_global)
        drain(connection, lambda: len(seen) >= 6)
        assert len(seen) == 6, len(seen)
        see("prefetch raised")


def refused():
    with kombu.Connection(URL) as connection:
        channel = connection.channel()
        try:
            kombu.Queue("none", channel=channel).queue_declare(passive=True)
        except connection.channel_errors as error:
            assert "no queue 'none' in vhost '/'" in str(error), error
            see("404")


declared_and_consumed()
prefetch_raised()
refused()
see("all of it")

"""pika against the daemon: python pika_client.py URL. Prints a line for each thing it saw; ends with 0 when all of it was as it must be.

Run by interop-python.spec.ts. pika is single-threaded and blocking: what it waits for comes while it processes events.
"""

import sys

import pika
import pika.exceptions

URL = sys.argv[1]


def connect(url=URL):
    return pika.BlockingConnection(pika.URLParameters(url))


def see(what):
    print(what, flush=True)


def work_queue():
    """A direct exchange, a queue, a binding, prefetch 1, manual acknowledgement."""
    with connect() as connection:
        channel = connection.channel()
        channel.exchange_declare("test_exchange", exchange_type="direct", durable=True)
        channel.queue_declare("pika_queue", durable=True)
        channel.queue_bind("pika_queue", "test_exchange", routing_key="pika")
        channel.basic_qos(prefetch_count=1)
        persistent = pika.BasicProperties(delivery_mode=2)
        for number in range(20):
            channel.basic_publish("test_exchange", "pika", str(number).encode(), persistent)
        seen = []

        def handle(channel, method, properties, body):
            assert properties.delivery_mode == 2
            seen.append(int(body))
            channel.basic_ack(method.delivery_tag)
            if len(seen) == 20:
                channel.stop_consuming()

        channel.basic_consume("pika_queue", handle)
        channel.start_consuming()
        assert seen == list(range(20)), seen
        assert channel.queue_declare("pika_queue", passive=True).method.message_count == 0
    see("consumed in order")


def confirms_and_returns():
    with connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("pika_confirms", durable=True)
        channel.basic_publish("", "pika_confirms", b"confirmed", mandatory=True)
        see("confirmed")
        try:
            channel.basic_publish("", "pika_nowhere", b"", mandatory=True)
            raise AssertionError("an unroutable message was not returned")
        except pika.exceptions.UnroutableError as error:
            assert error.messages[0].body == b"" and error.messages[0].method.reply_code == 312
            see("returned")


def redelivery():
    first = connect()
    channel = first.channel()
    channel.queue_declare("pika_redelivery")
    channel.basic_publish("", "pika_redelivery", b"again")
    method, _, _ = channel.basic_get("pika_redelivery")
    assert not method.redelivered
    first.close()
    with connect() as second:
        method, _, body = second.channel().basic_get("pika_redelivery", auto_ack=True)
        assert method.redelivered and body == b"again"
    see("redelivered")


def cancellation():
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare("pika_cancel")
        for message in channel.consume("pika_cancel", inactivity_timeout=0.01):
            if message == (None, None, None) and connection.is_open:
                connection.channel().queue_delete("pika_cancel")
        see("cancelled")  # the loop ends when the broker cancels the consumer


def headers_and_bodies():
    headers = {"text": "grüße", "number": 7, "large": 2**40, "yes": True, "list": [1, "two"], "table": {"deep": {"er": 1}}, "none": None}
    properties = pika.BasicProperties(content_type="text/plain", headers=headers, correlation_id="c", reply_to="r", message_id="m", timestamp=1700000000)
    with connect() as connection:
        channel = connection.channel()
        channel.queue_declare("pika_headers")
        for length in (0, 1, 300_000, 10_000_000):
            body = b"abcdefghij" * (length // 10) + b"k" * (length % 10)
            channel.basic_publish("", "pika_headers", body, properties)
            _, received, got = channel.basic_get("pika_headers", auto_ack=True)
            assert got == body, length
            assert received.headers == headers, received.headers
            assert (received.correlation_id, received.reply_to, received.message_id, received.timestamp) == ("c", "r", "m", 1700000000)
    see("round trip")


def refusals():
    try:
        connect(URL.replace("secret", "wrong"))
        raise AssertionError("a wrong password was accepted")
    except pika.exceptions.ProbableAuthenticationError as error:
        assert "403" in str(error), error
        see("403")
    with connect() as connection:
        try:
            connection.channel().queue_declare("pika_missing", passive=True)
            raise AssertionError("an unknown queue was found")
        except pika.exceptions.ChannelClosedByBroker as error:
            assert error.reply_code == 404, error
        connection.channel().queue_declare("pika_after")
        see("404")


for check in (work_queue, confirms_and_returns, redelivery, cancellation, headers_and_bodies, refusals):
    check()
see("all of it")

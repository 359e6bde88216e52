"""aiormq (under aio-pika) against the daemon: python aiormq_client.py URL. Prints a line for each thing it saw; ends with 0 when all of it was as it must be.

Run by interop-python.spec.ts.
"""

import asyncio
import sys

import aiormq
import aiormq.exceptions

URL = sys.argv[1]


def see(what):
    print(what, flush=True)


async def work_queue():
    """A direct exchange, a queue, a binding, prefetch 1, manual acknowledgement."""
    connection = await aiormq.connect(URL)
    channel = await connection.channel()
    await channel.exchange_declare("test_exchange", exchange_type="direct", durable=True)
    await channel.queue_declare("aiormq_queue", durable=True)
    await channel.queue_bind("aiormq_queue", "test_exchange", routing_key="aiormq")
    await channel.basic_qos(prefetch_count=1)
    persistent = aiormq.spec.Basic.Properties(delivery_mode=2)
    for number in range(20):
        confirmation = await channel.basic_publish(str(number).encode(), exchange="test_exchange", routing_key="aiormq", properties=persistent)
        assert isinstance(confirmation, aiormq.spec.Basic.Ack), confirmation
    see("confirmed")
    seen = []
    done = asyncio.get_running_loop().create_future()

    async def handle(message):
        seen.append(int(message.body))
        await channel.basic_ack(message.delivery.delivery_tag)
        if len(seen) == 20:
            done.set_result(None)

    await channel.basic_consume("aiormq_queue", handle)
    await done
    assert seen == list(range(20)), seen
    see("consumed in order")
    await connection.close()


async def returns():
    connection = await aiormq.connect(URL)
    channel = await connection.channel(on_return_raises=True)
    try:
        await channel.basic_publish(b"", routing_key="aiormq_nowhere", mandatory=True)
        raise AssertionError("an unroutable message was not returned")
    except aiormq.exceptions.PublishError:
        see("returned")
    await connection.close()


async def redelivery():
    first = await aiormq.connect(URL)
    channel = await first.channel()
    await channel.queue_declare("aiormq_redelivery")
    await channel.basic_publish(b"again", routing_key="aiormq_redelivery")
    message = await channel.basic_get("aiormq_redelivery")
    assert not message.delivery.redelivered
    await first.close()
    second = await aiormq.connect(URL)
    message = await (await second.channel()).basic_get("aiormq_redelivery", no_ack=True)
    assert message.delivery.redelivered and message.body == b"again"
    await second.close()
    see("redelivered")


async def headers_and_bodies():
    headers = {"text": "grüße", "number": 7, "large": 2**40, "yes": True, "list": [1, "two"], "table": {"deep": {"er": 1}}, "none": None}
    properties = aiormq.spec.Basic.Properties(content_type="text/plain", headers=headers, correlation_id="c", message_id="m")
    connection = await aiormq.connect(URL)
    channel = await connection.channel()
    await channel.queue_declare("aiormq_headers")
    for length in (0, 1, 300_000, 10_000_000):
        body = b"abcdefghij" * (length // 10) + b"k" * (length % 10)
        await channel.basic_publish(body, routing_key="aiormq_headers", properties=properties)
        message = await channel.basic_get("aiormq_headers", no_ack=True)
        assert message.body == body, length
        received = message.header.properties
        assert received.headers == headers, received.headers
        assert (received.correlation_id, received.message_id) == ("c", "m")
    await connection.close()
    see("round trip")


async def refusals():
    try:
        await aiormq.connect(URL.replace("secret", "wrong"))
        raise AssertionError("a wrong password was accepted")
    except aiormq.exceptions.ProbableAuthenticationError as error:
        assert "ACCESS_REFUSED" in str(error), error
        see("403")
    connection = await aiormq.connect(URL)
    channel = await connection.channel()
    try:
        await channel.queue_declare("aiormq_missing", passive=True)
        raise AssertionError("an unknown queue was found")
    except aiormq.exceptions.ChannelNotFoundEntity:
        see("404")
    await (await connection.channel()).queue_declare("aiormq_after")
    await connection.close()


async def main():
    for check in (work_queue, returns, redelivery, headers_and_bodies, refusals):
        await check()
    see("all of it")


asyncio.run(main())

import asyncio
import os

from faststream import FastStream
from faststream.nats import JStream, NatsBroker
from nats.js.api import ConsumerConfig, DeliverPolicy

from workers.stamp import PAYLOAD, stamp

broker = NatsBroker(os.environ["BENCH_URL"], logger=None)
app = FastStream(broker)
stream = JStream("bench", subjects=["bench"])


@broker.subscriber(
    "bench",
    stream=stream,
    durable="worker",
    config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL, max_ack_pending=1_000),
    pending_msgs_limit=10_000,
)
async def handler(event: dict):
    stamp()


async def main(count):
    import nats
    import orjson

    client = await nats.connect(os.environ["BENCH_URL"])
    context = client.jetstream()
    await context.add_stream(name="bench", subjects=["bench"])
    data = orjson.dumps(PAYLOAD)
    headers = {"content-type": "application/json"}
    for at in range(0, count, 200):
        await asyncio.gather(*(context.publish("bench", data, headers=headers) for _ in range(min(200, count - at))))
    await client.close()


def send(count):
    asyncio.run(main(count))

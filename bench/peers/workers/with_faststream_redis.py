import asyncio
import os

from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub

from workers.stamp import PAYLOAD, stamp

broker = RedisBroker(os.environ["BENCH_URL"], logger=None)
app = FastStream(broker)


@broker.subscriber(stream=StreamSub("bench", group="g", consumer="c", batch=True, max_records=100, last_id=">"))
async def handler(events: list[dict]):
    stamp(len(events))


async def main(count):
    import redis.asyncio as redis

    client = redis.from_url(os.environ["BENCH_URL"])
    await client.xgroup_create("bench", "g", id="0", mkstream=True)
    async with RedisBroker(os.environ["BENCH_URL"], logger=None) as sender:
        for at in range(0, count, 200):
            await asyncio.gather(*(sender.publish(PAYLOAD, stream="bench") for _ in range(min(200, count - at))))
    await client.aclose()


def send(count):
    asyncio.run(main(count))

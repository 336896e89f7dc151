import asyncio
import os

from taskiq_redis import RedisStreamBroker

from workers.stamp import PAYLOAD, stamp

broker = RedisStreamBroker(url=os.environ["BENCH_URL"])


@broker.task(task_name="handler")
async def handler(event):
    stamp()


async def main(count):
    await broker.startup()
    for _ in range(count):
        await handler.kiq(PAYLOAD)
    await broker.shutdown()


def send(count):
    asyncio.run(main(count))

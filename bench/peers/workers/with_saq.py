import asyncio
import os

from saq import Queue

from workers.stamp import PAYLOAD, stamp

queue = Queue.from_url(os.environ["BENCH_URL"])


async def handler(context, *, event):
    stamp()


settings = {"queue": queue, "functions": [handler], "concurrency": 100}


async def main(count):
    await queue.connect()
    for _ in range(count):
        await queue.enqueue("handler", event=PAYLOAD)
    await queue.disconnect()


def send(count):
    asyncio.run(main(count))

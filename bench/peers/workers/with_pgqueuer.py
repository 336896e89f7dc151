import os

import asyncpg
import orjson
import uvloop
from pgqueuer import AsyncpgPoolDriver, Queries, QueueManager

from workers.stamp import PAYLOAD, stamp


async def enqueue(count):
    pool = await asyncpg.create_pool(os.environ["BENCH_URL"])
    queries = Queries(AsyncpgPoolDriver(pool))
    await queries.install()
    data = orjson.dumps(PAYLOAD)
    for at in range(0, count, 1_000):
        size = min(1_000, count - at)
        await queries.enqueue(["handler"] * size, [data] * size, [0] * size)
    await pool.close()


async def work():
    pool = await asyncpg.create_pool(os.environ["BENCH_URL"])
    manager = QueueManager(Queries(AsyncpgPoolDriver(pool)))

    @manager.entrypoint("handler")
    async def handler(job):
        stamp()

    await manager.run(batch_size=100)


def send(count):
    uvloop.run(enqueue(count))


if __name__ == "__main__":
    uvloop.run(work())

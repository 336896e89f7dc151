import asyncio
import os

from arq import create_pool
from arq.connections import RedisSettings

from workers.stamp import PAYLOAD, stamp

REDIS = RedisSettings.from_dsn(os.environ["BENCH_URL"])


async def handler(context, event):
    stamp()


class WorkerSettings:
    functions = (handler,)
    redis_settings = REDIS
    max_jobs = 100
    poll_delay = 0.001
    keep_result = 0


async def main(count):
    pool = await create_pool(REDIS)
    for _ in range(count):
        await pool.enqueue_job("handler", PAYLOAD)
    await pool.aclose()


def send(count):
    asyncio.run(main(count))

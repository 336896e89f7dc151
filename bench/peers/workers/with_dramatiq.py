import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from workers.stamp import PAYLOAD, stamp

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_URL"]))


@dramatiq.actor
def handler(event):
    stamp()


def send(count):
    for _ in range(count):
        handler.send(PAYLOAD)

import os

from huey import SqliteHuey

from workers.stamp import PAYLOAD, stamp

huey = SqliteHuey("bench", filename=os.environ["BENCH_URL"], fsync=True, results=False)


@huey.task(name="handler")
def handler(event):
    stamp()


def send(count):
    for _ in range(count):
        handler(PAYLOAD)

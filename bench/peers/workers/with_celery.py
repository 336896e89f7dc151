import os

from celery import Celery

from workers.stamp import PAYLOAD, stamp

app = Celery("bench", broker=os.environ["BENCH_URL"])
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=100)


@app.task
def handler(event):
    stamp()


def send(count):
    with app.producer_pool.acquire() as producer:
        for _ in range(count):
            handler.apply_async((PAYLOAD,), producer=producer)

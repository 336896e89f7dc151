"""A Celery app for test_celery.py, unchanged from how it would be for Amazon SQS but for its broker's address."""

import os
import time
from pathlib import Path

from celery import Celery

app = Celery("shop", broker=os.environ["BROKER"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"region": "eu-central-1", "wait_time_seconds": 2, "is_secure": False},
    task_default_queue="tasks",
    worker_enable_remote_control=False,
    task_acks_late=True,
)
DONE = Path(os.environ["DONE"])


def tell(text):
    """Write a line that the test waits for."""
    with DONE.open("a") as file:
        file.write(f"{text} {time.time():.3f}\n")


@app.task
def add(one, other):
    """Do a task."""
    tell(f"add {one + other}")


@app.task(bind=True, max_retries=2)
def fragile(self):
    """Fail twice, and be retried."""
    if self.request.retries < 2:
        raise self.retry(countdown=1)
    tell(f"fragile {self.request.retries}")

"""An app whose handlers take memory. Never imported by name: see `conftest.py`."""

import os
import subprocess
import sys
import time
from pathlib import Path

import forebay

app = forebay.App("memory", store=":memory:")
one = forebay.Environments(maximum=1)
TAKE = "held = [b'x' * 10_000_000 for _ in range(60)]"


def attempts():
    path = Path(os.environ["FOREBAY_TEST_ATTEMPTS"])
    return path.read_text().split() if path.exists() else []


def tell(what):
    with Path(os.environ["FOREBAY_TEST_ATTEMPTS"]).open("a") as told:
        told.write(f"{what}\n")


@app.function(isolation="process", memory=128, environments=one)
def small(event, context):
    return "small"


@app.function(isolation="process", timeout=30, memory=128, environments=one)
def takes(event, context):
    tell("takes")
    return len([b"x" * 10_000_000 for _ in range(60)])


@app.function(isolation="process", timeout=30, memory=128, environments=one)
def lets_a_child_take(event, context):
    tell("child")
    subprocess.run([sys.executable, "-c", TAKE], check=False)
    time.sleep(20)


@app.function(isolation="process", timeout=30, memory=128, environments=one)
def leaves(event, context):
    return subprocess.Popen(["sleep", "600"], start_new_session=True).pid

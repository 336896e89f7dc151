"""wrk under drain: a process is told to stop while 64 connections ask it, and no request fails."""

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ports import free_port

ROOT = Path(__file__).parents[2]

APP = """
import asyncio
import forebay

app = forebay.App("drained", store=":memory:", concurrency=1_000)
api = app.http_api("shop")


@api.route("GET", "/slow")
async def slow(event, context):
    await asyncio.sleep(0.02)
    return {"hello": "world"}


@api.route("GET", "/fast")
async def fast(event, context):
    return {"hello": "world"}
"""
TIMES = 5


@pytest.mark.timeout(300)
@pytest.mark.parametrize("route", ["slow", "fast"])
def test_no_request_fails(route, tmp_path, record_testsuite_property):
    if shutil.which("wrk") is None:
        pytest.skip("there is no wrk on this machine: apt-get install wrk")
    said = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False).stdout
    record_testsuite_property("wrk", re.search(r"wrk (debian/)?([\d.]+)", said)[2])
    (tmp_path / "drained.py").write_text(APP)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    answered = 0
    for _ in range(TIMES):
        port = free_port()
        command = [
            sys.executable,
            "-m",
            "forebay.cli",
            "run",
            "drained:app",
            "--http-port",
            str(port),
            "--metrics-port",
            "0",
        ]
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as serving:
            wait_until_served(port)
            load = ["wrk", "-t1", "-c64", "-d3s", f"http://127.0.0.1:{port}/{route}"]
            with subprocess.Popen(load, stdout=subprocess.PIPE, text=True) as wrk:
                time.sleep(1)
                serving.send_signal(signal.SIGTERM)
                _, errors = serving.communicate(timeout=60)
                told, _ = wrk.communicate(timeout=60)
        assert serving.returncode == 0, errors.decode()
        answered += int(re.search(r"(\d+) requests in", told)[1])
        assert "Non-2xx" not in told, told
        # Whoever was connected has the answer to what it asked. Then wrk connects again and is refused: that is a `write`.
        failed = re.search(r"read (\d+), write \d+, timeout (\d+)", told)
        assert failed is None or failed.groups() == ("0", "0"), told
    assert answered > 0
    record_testsuite_property(f"{route} requests", str(answered))


def wait_until_served(port):
    for _ in range(300):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/fast")
            assert connection.getresponse().status == 200
            connection.close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("it does not serve")

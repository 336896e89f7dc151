"""Where an app shows its metrics, and to whom."""

import asyncio
import logging
import socket
import time
import urllib.error
import urllib.request

import pytest
from ports import free_port

from forebay import App, Batch, InvalidParameterValue

WORD = "a-word-of-this-test"
EVERYWHERE = "0.0.0.0"  # noqa: S104  that is what is tested


@pytest.fixture
def port():
    return free_port()


def ask(port, path, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers), timeout=10
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def test_an_address_that_other_machines_reach_is_refused_without_a_token_and_asks_for_it_with_one(tmp_path, port):
    app = App("shop", store=tmp_path / "data")
    with pytest.raises(
        InvalidParameterValue, match=r"metrics_host: 0\.0\.0\.0 is not a loopback address: give a token"
    ):
        await app.start(metrics_host=EVERYWHERE, metrics_port=port)
    await app.start(metrics_host=EVERYWHERE, metrics_port=port, metrics_token=WORD)
    try:
        assert (await asyncio.to_thread(ask, port, "/metrics"))[0] == 401
        assert (await asyncio.to_thread(ask, port, "/metrics", WORD[:-1]))[0] == 401
        status, page = await asyncio.to_thread(ask, port, "/metrics", WORD)
        assert status == 200 and "forebay_build_info" in page
        assert await asyncio.to_thread(ask, port, "/healthz") == (200, '{"status":"alive"}')
        assert await asyncio.to_thread(ask, port, "/readyz") == (200, '{"status":"ready"}')
    finally:
        await app.stop()


async def test_a_port_that_is_taken_is_told_with_what_to_do(tmp_path, port):
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        told = rf"metrics_port: cannot listen on 127\.0\.0\.1:{port}.*another port"
        with pytest.raises(InvalidParameterValue, match=told):
            await App("shop", store=tmp_path / "data").start(metrics_port=port)


async def test_a_client_that_may_take_over_is_refused_such_an_address_when_it_starts(tmp_path, port):
    async with App("shop", store=tmp_path / "data"):
        second = App("shop", store=tmp_path / "data")
        with pytest.raises(InvalidParameterValue, match="is not a loopback address"):
            await second.start(metrics_host=EVERYWHERE, metrics_port=port)


@pytest.mark.parametrize(
    "token", ["", "short", "x" * 513, "has a space in it ", "ключ-ключ-ключ-ключ", "line\nline-line-line"]
)
async def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(tmp_path, token):
    app = App("shop", store=tmp_path / "data")
    with pytest.raises(InvalidParameterValue, match=r"metrics_token \(not shown\)") as caught:
        await app.start(metrics_port=1, metrics_token=token)
    assert not token or token not in str(caught.value)


async def until(condition, within=100):
    """Wait for what is done in the background."""
    ends = time.monotonic() + within
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("host", ["127.0.0.1", EVERYWHERE])
async def test_a_taken_metrics_port_keeps_nobody_from_taking_the_store_over(tmp_path, port, host, caplog):
    """The store had no owner, and refused every put, for as long as another program held the port."""
    caplog.set_level(logging.INFO)
    seen = []

    def program():
        app = App("shop", store=tmp_path / "data")

        app.stream("orders", shards=1)

        @app.on_stream("orders")
        async def ship(batch: Batch, context):
            seen.extend(record.json() for record in batch)

        return app

    first, second = program(), program()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        assert first.role is None
        await first.start()
        await second.start(metrics_host=host, metrics_port=port, metrics_token=WORD)
        assert (first.role, second.role) == ("owner", "client")
        try:
            told = "another process owns it and serves its metrics, if any; this one does so on"
            assert f"{told} http://{host}:{port}/metrics" in caplog.text and ", metrics on" not in caplog.text
            await first.stop()
            await second.stream("orders").put(1, "k")
            await until(lambda: seen == [1])
            [warning] = [line.getMessage() for line in caplog.records if line.levelno >= logging.WARNING]
            assert f"cannot listen on {host}:{port}" in warning and "this app owns the store" in warning
            other.close()
            await until(lambda: f"metrics are on http://{host}:{port}/metrics now" in caplog.text)
            assert await asyncio.to_thread(ask, port, "/readyz") == (200, '{"status":"ready"}')
            assert (await asyncio.to_thread(ask, port, "/metrics", WORD[:-1]))[0] == 401
            pages = await asyncio.gather(*(asyncio.to_thread(ask, port, "/metrics", WORD) for _ in range(20)))
            assert all(status == 200 and page.endswith("\n") for status, page in pages)
        finally:
            await second.stop()
            await first.stop()
    with socket.socket() as later:
        later.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        later.bind((host, port))


async def test_an_app_that_is_stopped_tries_a_taken_port_no_more(tmp_path, port, no_task_is_left, caplog):
    first, second = (App("shop", store=tmp_path / "data") for _ in range(2))
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        await first.start()
        await second.start(metrics_port=port)
        await first.stop()
        await until(lambda: "cannot listen on" in caplog.text)
        await second.stop()

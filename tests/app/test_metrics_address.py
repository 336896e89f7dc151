"""Where an app shows its metrics, and to whom."""

import asyncio
import socket
import urllib.error
import urllib.request

import pytest

from forebay import App, InvalidParameterValue

WORD = "a-word-of-this-test"
EVERYWHERE = "0.0.0.0"  # noqa: S104  that is what is tested


@pytest.fixture
def port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


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

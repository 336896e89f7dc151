"""The example of a shop: an order comes in by HTTP, goes through a stream, and a browser hears of it by WebSocket."""

import importlib
import json
import sys
from pathlib import Path

import pytest
from plain_client import Client, free_port
from sockets import connect


@pytest.fixture
async def shop(monkeypatch, tmp_path, no_task_is_left):
    monkeypatch.setenv("SHOP_STORE", str(tmp_path / "data"))
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    sys.modules.pop("examples.storefront", None)
    app = importlib.import_module("examples.storefront").app
    port = free_port()
    await app.start(http_port=port)
    yield Client(port)
    await app.stop()
    sys.modules.pop("examples.storefront", None)


async def test_an_order_is_placed_packed_and_heard_of(shop):
    socket = await connect(shop.port, "/_apis/status/")
    assert socket.status == 101
    headers = {"x-api-key": "let-me-in", "content-type": "application/json", "origin": "https://shop.example.com"}
    answer = await shop.ask("POST", "/_apis/shop/orders", headers, b'{"item": "lamp"}')
    assert (answer.status, answer["access-control-allow-origin"]) == (201, "https://shop.example.com")
    placed = answer.json()
    assert await socket.json() == {**placed, "status": "packed"}
    found = await shop.ask("GET", f"/_apis/shop/orders/{placed['id']}", {"x-api-key": "let-me-in"})
    assert found.json() == {**placed, "status": "packed"}
    assert (await shop.ask("GET", f"/_apis/shop/orders/{placed['id']}", {"x-api-key": "x"})).status == 403
    assert (await shop.ask("GET", "/_apis/shop/orders/1")).status == 401
    await socket.send("hello")
    assert json.loads((await socket.receive())[1]) == {"heard": "hello"}
    await socket.close()

"""The example of a shop: an order comes in by HTTP, goes through a stream, and a browser hears of it by WebSocket."""

import importlib
import json
import sys
import threading
from pathlib import Path

import pytest
from plain_client import Client
from ports import free_port
from sockets import connect


@pytest.fixture
async def shop(monkeypatch, tmp_path, no_task_is_left):
    monkeypatch.setenv("SHOP_STORE", str(tmp_path / "data"))
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    issuer = importlib.import_module("examples.issuer").Issuer(0)
    serving = threading.Thread(target=issuer.serve_forever, kwargs={"poll_interval": 0.02})
    serving.start()
    monkeypatch.setenv("SHOP_ISSUER", issuer.url)
    sys.modules.pop("examples.storefront", None)
    app = importlib.import_module("examples.storefront").app
    port = free_port()
    await app.start(http_port=port)
    client = Client(port)
    client.issuer = Client(issuer.server_address[1])
    yield client
    await app.stop()
    issuer.shutdown()
    serving.join()
    issuer.server_close()
    sys.modules.pop("examples.storefront", None)


async def test_an_order_is_placed_packed_and_heard_of(shop):
    socket = await connect(shop.port, "/_apis/status/")
    assert socket.status == 101
    headers = {"x-api-key": "let-me-in", "content-type": "application/json", "origin": "https://shop.example.com"}
    answer = await shop.ask("POST", "/_apis/shop/orders", headers, b'{"item": "lamp"}')
    assert (answer.status, answer["access-control-allow-origin"]) == (201, "https://shop.example.com")
    placed = answer.json()
    assert await socket.json() == {**placed, "status": "packed"}
    for wrong in (b"lamp", b'{"thing": 1}', b"[]", b""):
        assert (await shop.ask("POST", "/_apis/shop/orders", headers, wrong)).status == 400
    found = await shop.ask("GET", f"/_apis/shop/orders/{placed['id']}", {"x-api-key": "let-me-in"})
    assert found.json() == {**placed, "status": "packed"}
    assert (await shop.ask("GET", f"/_apis/shop/orders/{placed['id']}", {"x-api-key": "x"})).status == 403
    assert (await shop.ask("GET", "/_apis/shop/orders/1", {"x-api-key": "schl\xc3\xbcssel"})).status == 403
    assert (await shop.ask("GET", "/_apis/shop/orders/1")).status == 401
    for aud, scope, status in (
        ("shop", "orders:read", 200),
        ("shop", "orders:write", 403),
        ("bank", "orders:read", 401),
        ("shop", "orders:read&exp=1", 401),
    ):
        token = (await shop.issuer.ask("GET", f"/token?aud={aud}&scope={scope}")).body.decode()
        bearer = {"authorization": f"Bearer {token}"}
        listed = await shop.ask("GET", "/_apis/shop/orders", bearer)
        assert listed.status == status
        assert status != 200 or listed.json() == [found.json()]
    page = await shop.ask("GET", "/_apis/shop/")
    assert (page["content-type"], b"/_apis/status/" in page.body) == ("text/html; charset=utf-8", True)
    await socket.send("hello")
    assert json.loads((await socket.receive())[1]) == {"heard": "hello"}
    await socket.close()

"""The example of a shop: an order comes in by HTTP, goes through a stream, and a browser hears of it by WebSocket."""

import asyncio
import importlib
import json
import sys
import time
from pathlib import Path

import pytest
from plain_client import Client
from ports import free_port
from sockets import connect
from tokens import key_set, signed


async def tell_keys(reader, writer):
    """Answer as an issuer of tokens does."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    host = f"http://127.0.0.1:{writer.get_extra_info('sockname')[1]}"
    told = {"issuer": host, "jwks_uri": f"{host}/keys"} if "openid-configuration" in head else key_set("one")
    body = json.dumps(told).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()
    writer.close()


@pytest.fixture
async def shop(monkeypatch, tmp_path, no_task_is_left):
    monkeypatch.setenv("SHOP_STORE", str(tmp_path / "data"))
    issuer = await asyncio.start_server(tell_keys, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{issuer.sockets[0].getsockname()[1]}"
    monkeypatch.setenv("SHOP_ISSUER", url)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    sys.modules.pop("examples.storefront", None)
    app = importlib.import_module("examples.storefront").app
    port = free_port()
    await app.start(http_port=port)
    client = Client(port)
    client.issuer = url
    yield client
    await app.stop()
    issuer.close()
    await issuer.wait_closed()
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
    now = int(time.time())
    claims = {"iss": shop.issuer, "aud": "shop", "exp": now + 60, "iat": now, "scope": "orders:read"}
    for more, status in (({}, 200), ({"scope": "orders:write"}, 403), ({"aud": "bank"}, 401)):
        bearer = {"authorization": f"Bearer {signed(claims | more)}"}
        listed = await shop.ask("GET", "/_apis/shop/orders", bearer)
        assert listed.status == status
        assert status != 200 or listed.json() == [found.json()]
    page = await shop.ask("GET", "/_apis/shop/")
    assert (page["content-type"], b"/_apis/status/" in page.body) == ("text/html; charset=utf-8", True)
    await socket.send("hello")
    assert json.loads((await socket.receive())[1]) == {"heard": "hello"}
    await socket.close()

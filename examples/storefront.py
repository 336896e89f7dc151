"""A shop over HTTP: orders behind an API, and a WebSocket on which a browser sees what becomes of them.

    forebay run examples.storefront:app --http-port 8000
    curl -s -H 'x-api-key: let-me-in' -d '{"item": "lamp"}' -H 'content-type: application/json' \
        http://127.0.0.1:8000/_apis/shop/orders

Each order goes into a stream; a handler packs it and tells everybody who listens at ws://127.0.0.1:8000/_apis/status/. The
page http://127.0.0.1:8000/_apis/shop/ places orders and shows what becomes of them; `python -m websockets` listens in a terminal.

Who works in the shop lists all orders with a token of `SHOP_ISSUER`. `examples/issuer.py` is one for trials:

    python examples/issuer.py 9000 &
    SHOP_ISSUER=http://127.0.0.1:9000 forebay run examples.storefront:app --http-port 8000
    TOKEN=$(curl -s "http://127.0.0.1:9000/token?aud=shop&scope=orders:read")
    curl -s -H "authorization: Bearer $TOKEN" http://127.0.0.1:8000/_apis/shop/orders
"""

import base64
import hmac
import json
import os
import uuid
from typing import Any

import forebay

app = forebay.App("shop", store=os.environ.get("SHOP_STORE", "./data"))
orders = app.stream("orders")
shop = app.http_api(
    "shop",
    cors=forebay.Cors(
        allow_origins=("https://shop.example.com",), allow_headers=("authorization", "content-type", "x-api-key")
    ),
)
status = app.websocket_api("status")
KEY = os.environ.get("SHOP_KEY", "let-me-in")
ISSUER = os.environ.get("SHOP_ISSUER", "https://login.example.com")
FOUND: dict[str, dict[str, Any]] = {}
PAGE = """<!doctype html>
<title>Orders</title>
<form><input name="item" value="lamp"> <input name="key" placeholder="key"> <button>Order</button></form>
<ul></ul>
<script>
const show = (text) => document.querySelector("ul").append(Object.assign(document.createElement("li"), {textContent: text}));
const secure = location.protocol === "https:" ? "wss" : "ws";
new WebSocket(`${secure}://${location.host}/_apis/status/`).onmessage = (message) => show(message.data);
document.querySelector("form").onsubmit = async (event) => {
  event.preventDefault();
  const given = new FormData(event.target);
  const headers = {"content-type": "application/json", "x-api-key": given.get("key")};
  const body = JSON.stringify({item: given.get("item")});
  const answer = await fetch(`${location.pathname.replace(/[/]?$/, "/")}orders`, {method: "POST", headers, body});
  show(await answer.text());
};
</script>
"""


@app.function()
async def check_key(event: dict[str, Any], context: forebay.Context) -> dict[str, Any]:
    """Let in who has the key."""
    return {"isAuthorized": hmac.compare_digest(event["identitySource"][0].encode(), KEY.encode())}


customers = shop.lambda_authorizer("customers", check_key, identity_sources=["$request.header.x-api-key"])


staff = shop.jwt_authorizer("staff", issuer=ISSUER, audiences=["shop"])


@shop.route("GET", "/")
async def page(event: dict[str, Any], context: forebay.Context) -> dict[str, Any]:
    """Give the page."""
    return {"statusCode": 200, "headers": {"content-type": "text/html; charset=utf-8"}, "body": PAGE}


@shop.route("GET", "/orders", authorizer=staff, scopes=["orders:read"])
async def every(event: dict[str, Any], context: forebay.Context) -> list[dict[str, Any]]:
    """List all orders, for who works in the shop."""
    return list(FOUND.values())


@shop.route("POST", "/orders", authorizer=customers)
async def order(event: dict[str, Any], context: forebay.Context) -> dict[str, Any]:
    """Take an order: it is durable when the customer has its number."""
    body = event.get("body", "")
    try:
        item = str(json.loads(base64.b64decode(body) if event["isBase64Encoded"] else body)["item"])
    except (ValueError, LookupError, TypeError):
        return {"statusCode": 400, "body": 'an order is JSON with an item, as {"item": "lamp"}'}
    placed = {"id": uuid.uuid4().hex, "item": item, "status": "placed"}
    FOUND[placed["id"]] = placed
    await orders.put(placed, partition_key=placed["id"])
    return {"statusCode": 201, "headers": {"content-type": "application/json"}, "body": json.dumps(placed)}


@shop.route("GET", "/orders/{id}", authorizer=customers)
async def look(event: dict[str, Any], context: forebay.Context) -> dict[str, Any]:
    """Tell of an order."""
    found = FOUND.get(event["pathParameters"]["id"])
    return found if found is not None else {"statusCode": 404, "body": "no such order"}


@app.on_stream("orders", batch_size=10)
async def pack(event: dict[str, Any], context: forebay.Context) -> None:
    """Pack orders, and tell everybody who listens."""
    for record in event["Records"]:
        placed = json.loads(base64.b64decode(record["kinesis"]["data"]))
        packed = {**placed, "status": "packed"}
        FOUND[packed["id"]] = packed
        await status.post_many(packed)


@status.on_connect
async def welcome(event: dict[str, Any], context: forebay.Context) -> dict[str, Any]:
    """Let everybody listen."""
    return {"statusCode": 200}


@status.on_default(responds=True)
async def hear(event: dict[str, Any], context: forebay.Context) -> dict[str, Any]:
    """Answer whoever says something."""
    return {"heard": event["body"]}

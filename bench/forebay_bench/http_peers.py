"""What the servers beside forebay are given to serve: `rsgi` to granian, `asgi` and the FastAPI app `site` to uvicorn."""

from __future__ import annotations

from typing import Any

import fastapi

BODY = b'{"hello":"world"}'
site = fastapi.FastAPI()


@site.get("/hello")
async def hello() -> dict[str, str]:
    """Answer 17 bytes of JSON."""
    return {"hello": "world"}


async def rsgi(scope: Any, protocol: Any) -> None:
    """Answer the same through granian's own interface."""
    protocol.response_bytes(200, [("content-type", "application/json")], BODY)


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """Answer the same through ASGI."""
    if scope["type"] == "lifespan":
        for _ in range(2):
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
        return
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})

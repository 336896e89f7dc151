"""An app of which one process serves, and another asks it for everything that a client can ask for.

python far_app.py serve
python far_app.py ask
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

import forebay

SERVES = sys.argv[1] == "serve"

app = forebay.App("far", store=os.environ["STORE_URL"], serve="elect" if SERVES else False)
numbers, by_hand, seen = app.stream("numbers"), app.queue("by-hand"), app.queue("seen")


@app.on_stream("numbers", batch_size=1)
async def of_stream(batch: forebay.Batch[forebay.Record], context: forebay.Context) -> None:
    await seen.send(f"stream {batch[0].data.decode()}")


@app.function()
async def double(event: int, context: forebay.Context) -> int:
    return 2 * event


@app.function()
async def of_topic(event: dict[str, Any], context: forebay.Context) -> None:
    await seen.send("topic " + event["Records"][0]["Sns"]["Message"])


@app.on_event("bus", pattern={"source": ["test"]})
async def of_bus(event: dict[str, Any], context: forebay.Context) -> None:
    await seen.send(f"bus {event['detail']['name']}")


app.topic("topic").subscribe(of_topic)


async def serve() -> None:
    """Own the store until the process is told to end."""
    ends = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ends.set)
    async with app:
        os.write(1, b"serves\n")
        await ends.wait()


async def receive(queue: forebay.Queue) -> str:
    """Receive and delete one message."""
    (message,) = await queue.receive(1, 20)
    await queue.delete(message)
    return message.body


async def ask() -> None:
    """Do all that a client does, and print what came of it."""
    async with app:
        await numbers.put("1", "key")
        await by_hand.send("sent")
        await app.topic("topic").publish("published")
        await app.bus("bus").put({"name": "put"}, source="test", detail_type="test")
        request = await double.invoke_async(21, keep_result=True)
        answers = {
            "large": len(await app.stream("bulk").put_many([("x" * 1_000, str(key)) for key in range(5_000)])),
            "invoked": await double.invoke(4),
            "result": await double.result(request, wait=20),
            "received": await receive(by_hand),
            "depth": by_hand.depth().visible,
            "seen": sorted([await receive(seen) for _ in range(3)]),
        }
        sys.stdout.write(json.dumps(answers))


asyncio.run(serve() if SERVES else ask())

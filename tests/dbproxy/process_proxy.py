"""An app whose handlers use a database from processes. Never imported by name: see `test_processes.py`."""

import asyncio
import os
import time

import forebay

app = forebay.App("permits", store=":memory:")
proxy = forebay.DBProxy(
    os.environ["FOREBAY_TEST_DATABASE"],
    maximum_connections=int(os.environ["FOREBAY_TEST_CONNECTIONS"]),
    minimum_connections=int(os.environ.get("FOREBAY_TEST_MINIMUM", "0")),
    connection_borrow_timeout=float(os.environ.get("FOREBAY_TEST_BORROW_TIMEOUT", "20")),
)
app.attach(proxy)
EIGHT = forebay.Environments(maximum=8)
NAP = "SELECT SLEEP(%s)" if proxy.engine == "mysql" else "SELECT pg_sleep($1)"


async def nap(seconds):
    async with proxy.connect() as client, client.transaction():
        await client.fetch_value(NAP, [seconds])


@app.function(isolation="process", timeout=60, environments=EIGHT)
async def busy(event, context):
    await asyncio.gather(*[nap(event["seconds"]) for _ in range(event["clients"])])
    return os.getpid()


@app.function(timeout=60, environments=EIGHT)
def plain(event, context):
    asyncio.get_event_loop().run_until_complete(nap(event["seconds"]))
    time.sleep(event.get("after", 0))
    return os.getpid()


@app.function(timeout=1, environments=EIGHT)
def killed(event, context):
    asyncio.get_event_loop().run_until_complete(nap(event["seconds"]))


@app.function(timeout=60)
async def in_the_app(event, context):
    await nap(event["seconds"])

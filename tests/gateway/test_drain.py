"""An app that stops while clients ask it: what they have sent is answered, and told to be the last."""

import asyncio

REQUEST = b"GET /_apis/shop/hello HTTP/1.1\r\nhost: localhost\r\n\r\n"
CLIENTS = 32


async def test_requests_that_are_on_their_way_when_an_app_stops_are_answered(app, serve):
    """They got 503, or the connection was closed in their face."""
    api = app.http_api("shop")

    @api.route("GET", "/hello")
    async def hello(event, context):
        await asyncio.sleep(0.005)
        return "hello"

    port, began = (await serve()).port, asyncio.Event()

    async def ask():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count = 0
        try:
            while True:
                writer.write(REQUEST)
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 100)
                assert await reader.readexactly(5) == b"hello"
                assert head.startswith(b"HTTP/1.1 200"), head
                count += 1
                if count == 3:
                    began.set()
                if b"connection: close" in head:
                    assert await reader.read() == b""
                    return count
        finally:
            writer.close()

    asking = [asyncio.create_task(ask()) for _ in range(CLIENTS)]
    await began.wait()
    await app.stop()
    answered = await asyncio.gather(*asking)
    assert all(count >= 1 for count in answered)


async def test_a_client_that_says_nothing_does_not_hold_the_app(app, serve):
    app.http_api("shop").proxy("$default", "http://127.0.0.1:9")
    port = (await serve()).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.sleep(0.2)
    began = asyncio.get_running_loop().time()
    await app.stop()
    assert asyncio.get_running_loop().time() - began < 30
    assert await reader.read() == b""
    writer.close()


async def test_what_is_interrupted_when_the_grace_is_over_is_told(app, serve, caplog):
    """Clients got 503, and the log said that the app had stopped."""
    api, began = app.http_api("shop"), asyncio.Semaphore(0)

    @api.route("GET", "/slow")
    async def slow(event, context):
        began.release()
        await asyncio.sleep(100)

    client = await serve()
    asking = [asyncio.create_task(client.ask("GET", "/slow")) for _ in range(2)]
    for _ in asking:
        await began.acquire()
    await app.stop(0.1)
    assert [answer.status for answer in await asyncio.gather(*asking)] == [503, 503]
    assert "the grace is over: interrupted slow (2); a request to an API that waits for one gets 503" in caplog.text

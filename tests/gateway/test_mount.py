"""ASGI apps behind `mount`: a FastAPI app answers as it does elsewhere."""

import asyncio
import contextlib

import pytest

from forebay import App, ForebayError, InvalidParameterValue
from forebay._model.limits import CLOSING_SECONDS
from forebay._runtime.asgi import BEHIND_MAX

fastapi = pytest.importorskip("fastapi")


def shop():
    life = []

    @contextlib.asynccontextmanager
    async def lifespan(_app):
        life.append("began")
        yield {"pool": "open"}
        life.append("ended")

    inner = fastapi.FastAPI(lifespan=lifespan)

    @inner.get("/orders/{order}")
    async def order(order: str, request: fastapi.Request, q: list[str] = fastapi.Query(default=[])):  # noqa: B008
        return {
            "order": order,
            "q": q,
            "host": request.url.netloc,
            "client": request.client.host,
            "pool": request.state.pool,
        }

    @inner.post("/echo")
    async def echo(request: fastapi.Request):
        response = fastapi.Response(await request.body(), 201, media_type="application/octet-stream")
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    @inner.get("/wrong")
    async def wrong():
        raise ValueError("no")

    @inner.get("/endless")
    async def endless():
        async def pieces():
            while True:
                life.append("piece")
                yield b"x" * 65_536

        return fastapi.responses.StreamingResponse(pieces())

    return inner, life


async def test_an_answer_without_end_is_a_failure(app, serve):
    inner, life = shop()
    app.http_api("shop").mount(inner)
    client = await serve()
    answer = await client.ask("GET", "/endless")
    assert (answer.status, answer.json()) == (500, {"message": "Internal Server Error"})
    assert life.count("piece") == 97, "it was held up where 6 MiB were full"


async def test_a_fastapi_app_answers_what_no_route_takes(app, serve):
    inner, life = shop()
    api = app.http_api("shop")
    api.mount(inner)

    @api.route("GET", "/own")
    async def own(event, context):
        return "own"

    client = await serve()
    assert life == ["began"]
    got = (await client.ask("GET", "/orders/a%20b?q=1&q=2", {"cookie": "x=1"})).json()
    assert got == {"order": "a b", "q": ["1", "2"], "host": "localhost", "client": "127.0.0.1", "pool": "open"}
    answer = await client.ask("POST", "/echo", body=b"\xff\x00")
    assert (answer.status, answer.body) == (201, b"\xff\x00")
    cookies = [value for name, value in answer.headers if name == "set-cookie"]
    assert [cookie.partition(";")[0] for cookie in cookies] == ["a=1", "b=2"]
    assert (await client.ask("GET", "/own")).body == b"own"
    assert (await client.ask("GET", "/nothing")).json() == {"detail": "Not Found"}
    assert (await client.ask("GET", "/wrong")).status == 500
    await app.stop()
    assert life == ["began", "ended"]


async def test_an_app_that_does_not_start_keeps_the_other_from_starting(app):
    async def asgi(scope, receive, send):
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    app.http_api("shop").mount(asgi)
    with pytest.raises(ForebayError, match="no database"):
        await app.start()


async def test_an_asgi_app_needs_no_lifespan(app, serve):
    async def asgi(scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"1"), (b"x-a", b"2")]})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})
        assert await asyncio.wait_for(receive(), 1) == {"type": "http.request", "body": b"", "more_body": False}
        assert await asyncio.wait_for(receive(), 1) == {"type": "http.disconnect"}

    app.http_api("shop").mount(asgi)
    answer = await (await serve()).ask("GET", "/")
    assert (answer.status, answer["x-a"], answer.body) == (200, "1,2", b"one two")


async def test_what_is_no_asgi_app_is_refused():
    api = App("t", store=":memory:").http_api("shop")
    with pytest.raises(InvalidParameterValue, match="an ASGI app"):
        api.mount("app")


async def test_the_app_is_below_a_stage_that_is_named(app, serve):
    """It was asked for `/dev/orders/7`, which it does not have."""
    inner, _ = shop()
    api = app.http_api("shop")
    api.stage("dev")
    api.stage("$default")
    api.mount(inner)
    client = await serve()
    for base in ("", "/dev"):
        found = await client.ask("GET", f"/_apis/shop{base}/orders/7")
        assert (found.status, found.json()["order"]) == (200, "7")
    page = await client.ask("GET", "/_apis/shop/dev/docs")
    assert page.status == 200 and b"'/dev/openapi.json'" in page.body


def answers(*, header=(b"x-a", b"1"), behind=None):
    async def asgi(scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 202, "headers": [header]})
        await send({"type": "http.response.body", "body": b"taken"})
        if behind is not None:
            await behind(receive)

    return asgi


async def test_a_header_may_be_in_latin_one(app, serve):
    """Starlette sends every value so; one that was not ASCII was 500."""
    app.http_api("shop").mount(answers(header=(b"x-a", "n\u00e9".encode("latin-1"))))
    answer = await (await serve()).ask("GET", "/")
    assert (answer.status, answer["x-a"].encode("latin-1").decode()) == (202, "n\u00e9")


async def test_what_is_done_behind_an_answer_holds_it_no_longer(app, serve):
    goes_on, done = asyncio.Event(), []

    async def behind(receive):
        await receive()
        assert await receive() == {"type": "http.disconnect"}
        await goes_on.wait()
        done.append(True)

    app.http_api("shop").mount(answers(behind=behind))
    answer = await (await serve()).ask("GET", "/")
    assert (answer.status, answer.body, done) == (202, b"taken", [])
    goes_on.set()
    await app.stop()
    assert done == [True], "the app waits for it"


async def test_what_fails_behind_an_answer_is_logged(app, serve, caplog):
    """A timeout, or an error, made 500 of an answer that was whole."""

    async def fails(_receive):
        raise ValueError("no paper")

    async def fails_later(_receive):
        await asyncio.sleep(0.01)
        raise ValueError("no ink")

    for name, behind in (("one", fails), ("two", fails_later), ("three", lambda _: asyncio.sleep(30))):
        app.http_api(name).mount(answers(behind=behind), timeout=0.3)
    client = await serve()
    for name in ("one", "two", "three"):
        assert (await client.ask("GET", f"/_apis/{name}/")).status == 202
    await asyncio.sleep(0.5)
    told = [(record.getMessage(), record.exc_info and str(record.exc_info[1])) for record in caplog.records]
    assert ("function one-mount: the ASGI app has failed behind its answer", "no paper") in told
    assert ("function two-mount: the ASGI app has failed behind its answer", "no ink") in told
    assert any("three-mount: what the ASGI app did behind its answer was cut off" in text for text, _ in told)


async def test_a_failure_that_is_answered_is_not_told_as_one_behind_an_answer(app, serve, caplog):
    """Both had the words "failed behind its answer": nobody saw which requests had got 500."""
    site = fastapi.FastAPI()

    @site.get("/")
    async def fails():
        raise ValueError("no paper")

    app.http_api("shop").mount(site)
    assert (await (await serve()).ask("GET", "/")).status == 500
    told = [(record.getMessage(), record.exc_info and str(record.exc_info[1])) for record in caplog.records]
    assert ("function shop-mount: the ASGI app has failed and answered 500", "no paper") in told
    assert "behind" not in caplog.text


async def test_an_answer_that_is_whole_is_sent_however_many_go_on(app, serve):
    """Beyond 100 of them it was 500 when the time of the request was over, or the app failed behind it."""

    async def asgi(scope, receive, send):
        assert scope["type"] == "http", "it has no lifespan"
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b"taken"})
        if scope["path"] == "/fails":
            await asyncio.sleep(0.05)
            raise ValueError("no paper")
        await asyncio.sleep(30)

    app.http_api("shop").mount(asgi, timeout=2)
    client = await serve()
    answers = await asyncio.gather(*(client.ask("GET", "/") for _ in range(BEHIND_MAX)))
    assert {answer.status for answer in answers} == {202}
    more = await asyncio.gather(client.ask("GET", "/fails"), client.ask("GET", "/"))
    assert [(answer.status, answer.body) for answer in more] == [(202, b"taken")] * 2


async def test_what_is_done_behind_an_answer_is_cut_off_when_the_app_stops_in_a_hurry(app, serve, caplog):
    app.http_api("shop").mount(answers(behind=lambda _: asyncio.sleep(30)))
    assert (await (await serve()).ask("GET", "/")).status == 202
    await app.stop(grace=0.1)
    assert "was cut off" in caplog.text


class Stuck:
    """An ASGI app whose lifespan does not end."""

    def __init__(self):
        self.cut_off = False

    async def __call__(self, scope, receive, send):
        if scope["type"] != "lifespan":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"here"})
            return
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            self.cut_off = True
            raise


async def test_a_lifespan_that_does_not_end_is_cut_off_and_told_of(app, serve, caplog):
    """`App.stop` waited for it for ever, whatever its grace."""
    stuck = Stuck()
    app.http_api("shop").mount(stuck)
    assert (await (await serve()).ask("GET", "/")).body == b"here"
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(20):
        await app.stop(grace=0.5)
    took = asyncio.get_running_loop().time() - began
    assert stuck.cut_off and took >= CLOSING_SECONDS, "a lifespan has a moment in any case"
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any("function shop-mount: the lifespan of its ASGI app did not end within 2 s" in text for text in told)


async def test_a_lifespan_has_what_is_left_of_the_grace(app, serve, caplog):
    ended = []

    @contextlib.asynccontextmanager
    async def lifespan(_app):
        yield
        await asyncio.sleep(CLOSING_SECONDS + 0.5)
        ended.append(True)

    app.http_api("shop").mount(fastapi.FastAPI(lifespan=lifespan))
    await serve()
    await app.stop(grace=30)
    assert ended == [True] and "cut off" not in caplog.text


async def test_no_more_than_so_many_do_something_behind_their_answers(app, serve):
    """Nothing bounded them: each held its event and its answer for the time of its request."""
    goes_on, scopes = asyncio.Event(), []

    async def asgi(scope, receive, send):
        assert scope["type"] == "http", "it has no lifespan"
        await receive()
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b"taken"})
        scopes.append(scope)
        await goes_on.wait()

    app.http_api("shop").mount(asgi)
    client = await serve()
    for _ in range(BEHIND_MAX):
        assert (await client.ask("POST", "/", body=b"x" * 10_000)).status == 202
    assert all("body" not in scope["aws.event"] for scope in scopes), "what was answered holds no body"
    one_more = asyncio.ensure_future(client.ask("POST", "/", body=b"x"))
    await asyncio.wait({one_more}, timeout=0.5)
    assert not one_more.done()
    goes_on.set()
    assert (await one_more).status == 202

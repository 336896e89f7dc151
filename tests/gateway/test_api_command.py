"""`forebay api` finds where the running app serves HTTP: its port, its TLS, and the ports of single APIs."""

import asyncio
import contextlib
import json

import certificates
import pytest
from click.testing import CliRunner
from ports import free_port

from forebay import App
from forebay._app import served
from forebay.cli import main


async def forebay(store, *words):
    words = ["api", words[0], "--store", store, *words[1:]]
    result = await asyncio.to_thread(CliRunner().invoke, main, list(map(str, words)))
    return result.exit_code, result.output


@pytest.fixture
def files(tmp_path):
    for name in ("ONE", "ONE_KEY", "TWO", "AUTHORITY", "CLIENT", "CLIENT_KEY"):
        (tmp_path / name).write_text(getattr(certificates, name))
    return lambda name: str(tmp_path / name)


@pytest.fixture
def app(tmp_path, no_task_is_left):
    return App("shop", store=tmp_path / "data")


@pytest.fixture
async def start(app):
    async with contextlib.AsyncExitStack() as stack:

        async def started(**options):
            await app.start(**options)
            stack.push_async_callback(app.stop)

        yield started


async def who(event, context):
    known = event["requestContext"].get("authentication")
    return known["clientCert"]["subjectDN"] if known else event["rawPath"]


def shop_and_pets(app):
    """Declare an HTTP API and a REST API; give the latter."""
    app.http_api("shop").route("$default")(who)
    rest = app.rest_api("pets", stage="prod")

    @rest.method("GET", "/cat")
    async def cat(event, context):
        return {"statusCode": 200, "body": "miaow"}

    return rest


async def test_the_apps_own_port_is_asked(app, start, tmp_path):
    """It asked port 8000, whatever was there: another app got the request, and was shown in the link with this app's token."""
    shop_and_pets(app)
    port = free_port()
    await start(http_port=port)
    status, output = await forebay(tmp_path / "data", "test", "shop", "GET /a")
    assert (status, output.splitlines()[-1]) == (0, "/a"), output
    status, output = await forebay(tmp_path / "data", "test", "pets", "GET /cat")
    assert status == 0 and "miaow" in output, output
    status, output = await forebay(tmp_path / "data", "link")
    assert (status, output) == (0, f"http://127.0.0.1:{port}/_routes?token={await app.api_token()}\n")


async def test_nothing_is_guessed_where_the_app_says_nothing(app, start, tmp_path):
    app.http_api("shop").route("$default")(who)
    port = free_port()
    await start(http_port=port)
    kept = (tmp_path / "data" / served.FILE).read_bytes()
    await app.stop()
    await app.start()
    # What the app before it has left names a port that may be another program's now.
    for left in (kept, b"[]", b"{", b""):
        (tmp_path / "data" / served.FILE).write_bytes(left)
        for words in (("test", "shop", "GET /"), ("link",)):
            status, output = await forebay(tmp_path / "data", *words)
            assert status == 1 and "does not say where it serves HTTP" in output and "--http-port" in output, output
    status, output = await forebay(tmp_path / "data", "link", "--token")
    assert (status, output.strip()) == (0, await app.api_token())


async def test_an_api_with_a_port_of_its_own_is_listed_and_tried_there(app, start, tmp_path):
    """`list` showed `/_apis/alone/`, which nothing serves, and `test` could not reach it at all."""
    own, chat = free_port(), free_port()
    app.http_api("alone", port=own).route("$default")(who)
    app.websocket_api("chat", port=chat)
    app.rest_api("pets")
    await start()
    store = tmp_path / "data"
    listed = {one["name"]: one["path"] for one in json.loads((await forebay(store, "list", "--output", "json"))[1])}
    assert listed == {"alone": f"http://127.0.0.1:{own}/", "chat": f"ws://127.0.0.1:{chat}/"}
    for more in ((), ("--url", f"http://127.0.0.1:{own}"), ("--url", f"http://127.0.0.1:{own}/")):
        status, output = await forebay(store, "test", "alone", "GET /a", *more)
        assert (status, output.splitlines()[-1]) == (0, "/a"), output
    status, output = await forebay(store, "link")
    assert status == 1 and "has no port for all" in output and "--http-port" in output, output


async def test_over_tls_the_apps_own_certificate_is_looked_for(app, start, tmp_path, files):
    """It sent plain HTTP, and ended in a traceback; given https://, it said that nothing answers."""
    app.http_api("shop").route("$default")(who)
    port, store = free_port(), tmp_path / "data"
    await start(http_port=port, http_tls=(files("ONE"), files("ONE_KEY")))
    status, output = await forebay(store, "test", "shop", "GET /a")
    assert (status, output.splitlines()[-1]) == (0, "/a"), output
    assert (await forebay(store, "link"))[1].startswith(f"https://127.0.0.1:{port}/_routes?token=")
    for url, part in [
        (f"http://127.0.0.1:{port}", "does not speak HTTP. Next: say https://"),
        (f"https://127.0.0.1:{port}", "Next: set SSL_CERT_FILE"),
    ]:
        status, output = await forebay(store, "test", "shop", "GET /a", "--url", url)
        assert status == 1 and part in output and "Traceback" not in output, output
    told = served.read(store, await app.api_token())
    assert told is not None and told.certificate == files("ONE")
    (tmp_path / "ONE").write_text(certificates.TWO)  # does not fit the key, so the app goes on showing the old one
    status, output = await forebay(store, "test", "shop", "GET /a")
    assert status == 1 and "does not show the certificate in" in output, output
    (tmp_path / "ONE").write_text("no certificate")
    status, output = await forebay(store, "test", "shop", "GET /a")
    assert status == 1 and "does not show the certificate in" in output, output


async def test_a_port_without_tls_is_not_asked_over_it(app, start, tmp_path):
    app.http_api("shop").route("$default")(who)
    port = free_port()
    await start(http_port=port)
    status, output = await forebay(tmp_path / "data", "test", "shop", "GET /", "--url", f"https://127.0.0.1:{port}")
    assert status == 1 and "does not speak TLS. Next: say http://" in output, output


async def test_a_clients_certificate_is_shown(app, start, tmp_path, files):
    """There was no way to try an API that wants one."""
    app.http_api("bank", port=free_port(), truststore=files("AUTHORITY")).route("$default")(who)
    await start(http_tls=(files("ONE"), files("ONE_KEY")))
    store, shown = tmp_path / "data", ("--cert", files("CLIENT"), "--key", files("CLIENT_KEY"))
    status, output = await forebay(store, "test", "bank", "GET /", *shown)
    assert (status, output.splitlines()[-1]) == (0, "CN=till,O=Shop"), output
    status, output = await forebay(store, "test", "bank", "GET /")
    assert status == 1 and "show a client's certificate by --cert and --key" in output, output
    status, output = await forebay(store, "test", "bank", "GET /", *shown[:2])
    assert status == 2 and "--cert and --key are given together" in output, output
    status, output = await forebay(store, "test", "bank", "GET /", *shown[:2], "--key", files("ONE_KEY"))
    assert status == 1 and "--cert and --key cannot be read" in output, output
    assert not (tmp_path / "data" / served.FILE).stat().st_mode & 0o077


async def test_who_takes_the_store_over_says_where_it_serves(tmp_path, no_task_is_left):
    first, second = App("shop", store=tmp_path / "data"), App("shop", store=tmp_path / "data")
    for app in (first, second):
        app.http_api("shop").route("$default")(app.function("who")(who))
    ports = free_port(), free_port()
    await first.start(http_port=ports[0])
    await second.start(http_port=ports[1])
    assert (await forebay(tmp_path / "data", "link"))[1].startswith(f"http://127.0.0.1:{ports[0]}/")
    await first.stop()
    for _ in range(500):
        status, output = await forebay(tmp_path / "data", "test", "shop", "GET /a")
        if status == 0:
            break
        await asyncio.sleep(0.02)
    assert (status, output.splitlines()[-1]) == (0, "/a"), output
    assert (await forebay(tmp_path / "data", "link"))[1].startswith(f"http://127.0.0.1:{ports[1]}/")
    await second.stop()


async def test_a_name_of_several_apis_is_refused_and_their_ids_are_named(app, start, tmp_path):
    """A method of one of them was run, a document of one of them written, and the cache of one of them emptied."""
    rest = shop_and_pets(app)
    await start(http_port=free_port())
    store, first = tmp_path / "data", (await rest.call("GetRestApi"))["id"]
    second = (await rest.call("CreateRestApi", name="pets"))["id"]
    await rest.call("CreateRestApi", name="shop")
    for words in (
        ("test", "pets", "GET /cat"),
        ("export", "pets", "prod"),
        ("routes", "pets"),
        ("flush", "pets", "prod"),
    ):
        status, output = await forebay(store, *words)
        assert status == 1 and "'pets' is the name of 2 APIs: say the id: " in output, output
        assert first in output and second in output
        by_id = [first if word == "pets" else word for word in words]
        assert (await forebay(store, *by_id))[0] == 0
    for words in (("test", "shop", "GET /a"), ("export", "shop"), ("routes", "shop")):
        status, output = await forebay(store, *words)
        assert status == 1 and "'shop' is the name of 2 APIs: say the id: " in output, output
    assert "NAME|ID" in (await forebay(store, "routes", "--help"))[1]


async def test_headers_of_one_name_are_all_sent_and_shown(app, start, tmp_path):
    """The last of them was."""

    async def cookies(event, context):
        return {"statusCode": 200, "cookies": ["a=1", "b=2"], "body": event["headers"]["x-a"]}

    app.http_api("shop").route("$default")(cookies)
    rest = app.rest_api("pets", stage="prod")

    @rest.method("GET", "/")
    async def pets(event, context):
        return {"statusCode": 200, "multiValueHeaders": {"x-b": event["multiValueHeaders"]["x-a"]}, "body": ""}

    await start(http_port=free_port())
    store, sent = tmp_path / "data", ("-H", "x-a: 1", "-H", "x-a: 2")
    status, output = await forebay(store, "test", "shop", "GET /", *sent)
    lines = output.splitlines()
    assert status == 0 and "set-cookie: a=1" in lines and "set-cookie: b=2" in lines and lines[-1] == "1,2", output
    told = json.loads((await forebay(store, "test", "shop", "GET /", *sent, "--output", "json"))[1])
    assert told["multiValueHeaders"]["set-cookie"] == ["a=1", "b=2"]
    status, output = await forebay(store, "test", "pets", "GET /", *sent)
    assert status == 0 and "x-b: 1" in output.splitlines() and "x-b: 2" in output.splitlines(), output


async def test_data_is_read_from_a_file(app, start, tmp_path):
    """`--data @body.json` sent the text "@body.json"."""

    @app.function()
    async def told(event, context):
        return {
            "statusCode": 200,
            "body": json.dumps([event["headers"]["content-type"], event["body"], event["isBase64Encoded"]]),
        }

    app.http_api("shop").route("$default")(told)
    rest = app.rest_api("pets", stage="prod")
    rest.method("POST", "/")(told)
    await start(http_port=free_port())
    store = tmp_path / "data"
    for name, body, expected in [
        ("a.json", b'{"a": 1}\n', ["application/json", '{"a": 1}\n', False]),
        ("b.txt", b"two", ["text/plain", "two", False]),
        ("c.bin", b"\xff", ["application/octet-stream", "/w==", True]),
    ]:
        (tmp_path / name).write_bytes(body)
        status, output = await forebay(store, "test", "shop", "POST /", "--data", f"@{tmp_path / name}")
        assert (status, json.loads(output.splitlines()[-1])) == (0, expected), output
    status, output = await forebay(store, "test", "shop", "POST /", "--data", "@nowhere")
    assert status == 2 and "--data: nowhere cannot be read: No such file" in output, output
    status, output = await forebay(store, "test", "pets", "POST /", "--data", f"@{tmp_path / 'c.bin'}")
    assert status == 1 and "is tested with a text" in output, output


async def test_a_stage_that_is_not_there_is_named_with_those_that_are(app, start, tmp_path):
    """The answer was 404, and said nothing else."""
    api = app.http_api("staged")
    api.stage("dev")
    api.route("GET", "/v")(who)
    await start(http_port=free_port())
    store = tmp_path / "data"
    for words in (("GET /v", "--stage", "dev"), ("GET /dev/v",)):
        status, output = await forebay(store, "test", "staged", *words)
        assert (status, output.splitlines()[-1]) == (0, "/dev/v"), output
    status, output = await forebay(store, "test", "staged", "GET /v")
    assert status == 1 and "no stage $default: say which one by --stage: dev" in output, output
    status, output = await forebay(store, "test", "staged", "GET /v", "--stage", "nope")
    assert status == 1 and "no stage 'nope': there is dev" in output, output

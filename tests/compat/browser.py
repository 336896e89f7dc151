"""Chromium: the page of the shop orders and hears of it by WebSocket, and the browser itself keeps pages to CORS."""

import asyncio
import contextlib
import importlib
import json
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import forebay

sys.path.insert(0, str(Path(__file__).parents[1]))
from ports import free_port

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # what WebDriver (W3C) calls a reference to an element
WAIT_SECONDS = 30


class Browser:
    """A session of WebDriver."""

    def __init__(self, driver):
        self._driver = driver
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        wanted = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": {"args": arguments}}}
        started = self._ask("POST", "", {"capabilities": wanted})
        self.version = started["capabilities"]["browserVersion"]
        self._driver += f"/{started['sessionId']}"

    def _ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310
            f"{self._driver}{path}", data, {"content-type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)["value"]

    def open(self, url):
        self._ask("POST", "/url", {"url": url})

    def _found(self, selector):
        return self._ask("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def type(self, selector, text):
        element = self._found(selector)
        self._ask("POST", f"/element/{element}/clear", {})
        self._ask("POST", f"/element/{element}/value", {"text": text})

    def click(self, selector):
        self._ask("POST", f"/element/{self._found(selector)}/click", {})

    def run(self, script, *arguments):
        """Run the body of an asynchronous function in the page; give what it returns, or the error's name."""
        whole = (
            "const done = arguments[arguments.length - 1]; const given = [...arguments].slice(0, -1);"
            f"(async (...given) => {{ {script} }})(...given).then(done, (error) => done(error.name));"
        )
        return self._ask("POST", "/execute/async", {"script": whole, "args": list(arguments)})

    def lines(self, count):
        """Wait until the page's list has so many lines, and give them."""
        until = time.monotonic() + WAIT_SECONDS
        while True:
            found = self.run("return [...document.querySelectorAll('li')].map((line) => line.textContent)")
            if len(found) >= count or time.monotonic() > until:
                return found
            time.sleep(0.05)

    def close(self):
        self._ask("DELETE", "")


@pytest.fixture
def browser(record_testsuite_property):
    if shutil.which("chromedriver") is None:
        pytest.skip("there is no Chromium with its driver on this machine")
    port = free_port()
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL)
    root = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + WAIT_SECONDS
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{root}/status", timeout=5) as answer:  # noqa: S310
                if json.load(answer)["value"]["ready"]:
                    break
            assert time.monotonic() < until, "the driver does not answer"
            time.sleep(0.05)
        opened = Browser(f"{root}/session")
        record_testsuite_property("chromium", opened.version)
        yield opened
        opened.close()
    finally:
        driver.terminate()
        driver.wait()


@pytest.fixture
async def shop(monkeypatch, tmp_path):
    """Serve the example."""
    monkeypatch.setenv("SHOP_STORE", str(tmp_path / "data"))
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    sys.modules.pop("examples.storefront", None)
    app, port = importlib.import_module("examples.storefront").app, free_port()
    await app.start(http_port=port)
    yield f"http://127.0.0.1:{port}"
    await app.stop()


async def test_the_page_of_the_shop_orders_and_hears_that_it_is_packed(browser, shop):
    def order():
        browser.open(f"{shop}/_apis/shop/")
        browser.type("[name=item]", "lamp")
        browser.type("[name=key]", "wrong")
        browser.click("button")
        refused = browser.lines(1)
        browser.type("[name=key]", "let-me-in")
        browser.click("button")
        return refused, browser.lines(3)

    refused, shown = await asyncio.to_thread(order)
    assert [json.loads(line) for line in refused] == [{"message": "Forbidden"}]
    # The answer and the message come on two connections, and each may be the first.
    orders = sorted((json.loads(line) for line in shown[1:]), key=lambda order: order["status"], reverse=True)
    assert [(order["item"], order["status"]) for order in orders] == [("lamp", "placed"), ("lamp", "packed")]
    assert orders[0]["id"] == orders[1]["id"]


async def test_the_list_of_routes_is_a_page(browser, shop):
    token = await sys.modules["examples.storefront"].app.api_token()

    def look():
        browser.open(f"{shop}/_routes?token={token}")
        return browser.run("return document.body.innerText")

    shown = await asyncio.to_thread(look)
    assert "POST /orders" in shown
    assert "staff" in shown


async def test_a_page_of_another_origin_reads_what_cors_allows_it_and_nothing_else(browser, tmp_path):
    """The browser asks first where a header is not a simple one, and gives a page nothing that CORS does not allow."""
    here, there = free_port(), free_port()
    pages, asked = forebay.App("pages", store=":memory:"), forebay.App("asked", store=":memory:")
    blank = {"statusCode": 200, "headers": {"content-type": "text/html"}, "body": "<!doctype html><title>blank</title>"}

    async def page(event, context):
        return blank

    pages.http_api("pages").route("$default")(page)
    cors = forebay.Cors(
        allow_origins=(f"http://127.0.0.1:{here}",),
        allow_methods=("PUT",),
        allow_headers=("x-mine",),
        expose_headers=("x-told",),
        allow_credentials=True,
    )
    heard = []
    api = asked.http_api("asked", cors=cors)

    @api.route("PUT", "/orders")
    async def put(event, context):
        heard.append(event["headers"].get("origin"))
        return {"statusCode": 200, "headers": {"x-told": "yes", "x-kept": "no"}, "body": "done"}

    await pages.start(http_port=here)
    await asked.start(http_port=there)

    def ask(host, header="x-mine"):
        browser.open(f"http://{host}:{here}/")
        return browser.run(
            "const [url, header] = given;"
            "const answer = await fetch(url, {method: 'PUT', credentials: 'include', headers: {[header]: '1'}});"
            "return [answer.status, await answer.text(), answer.headers.get('x-told'), answer.headers.get('x-kept')]",
            f"http://127.0.0.1:{there}/orders",
            header,
        )

    assert await asyncio.to_thread(ask, "127.0.0.1") == [200, "done", "yes", None]
    assert heard == [f"http://127.0.0.1:{here}"]
    assert await asyncio.to_thread(ask, "localhost") == "TypeError"
    assert await asyncio.to_thread(ask, "127.0.0.1", "x-other") == "TypeError"
    assert len(heard) == 1, "what the browser did not send, no handler heard"
    await pages.stop()
    await asked.stop()

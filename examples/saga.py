"""An order as a workflow, and a stream whose records an Express workflow enriches.

    python examples/saga.py

Runs for some seconds on a store and a port of its own, checks what happened, and says so. An order reserves its goods and charges
the card at the same time; the bank is busy once and is tried again. A large order waits until somebody follows the link in an
e-mail, over a stop and a start of the app: the link leads to an HTTP API of the app, and has the task's token. Whoever follows it
again is told that the order is decided. When the card is declined, the reservation is released. Clicks in a stream get the price
of their article.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
from collections import Counter
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

import forebay

PRICES = {"book": 12, "lamp": 40}


class Busy(Exception):
    """The bank has no time."""


class Declined(Exception):
    """The card is not good for it."""


def task(resource: str, **fields: Any) -> dict[str, Any]:
    """Give a Task state."""
    return {"Type": "Task", "Resource": resource, **fields}


ORDER = {
    "StartAt": "Prepare",
    "States": {
        "Prepare": {
            "Type": "Parallel",
            "Branches": [
                {"StartAt": "Reserve", "States": {"Reserve": task("${reserve}", End=True)}},
                {
                    "StartAt": "Charge",
                    "States": {
                        "Charge": task("${charge}", Retry=[{"ErrorEquals": ["Busy"], "IntervalSeconds": 1}], End=True)
                    },
                },
            ],
            "Catch": [{"ErrorEquals": ["Declined"], "ResultPath": "$.error", "Next": "Release"}],
            "ResultPath": "$.prepared",
            "Next": "Large?",
        },
        "Large?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.total", "NumericGreaterThan": 100, "Next": "Approve"}],
            "Default": "Ship",
        },
        "Approve": task(
            "arn:aws:states:::lambda:invoke.waitForTaskToken",
            Parameters={"FunctionName": "mail", "Payload": {"order.$": "$.order", "token.$": "$$.Task.Token"}},
            TimeoutSeconds=86400,
            ResultPath="$.approved_by",
            Next="Ship",
        ),
        "Ship": task("${ship}", ResultPath=None, End=True),
        "Release": task("${release}", ResultPath=None, Next="Refused"),
        "Refused": {"Type": "Fail", "Error": "OrderRefused", "Cause": "The card was declined."},
    },
}

ENRICH = {
    "StartAt": "Price",
    "QueryLanguage": "JSONata",
    "States": {
        "Price": {
            "Type": "Task",
            "Resource": "${price}",
            "Arguments": "{% $parse($base64decode($states.input.kinesis.data)) %}",
            "End": True,
        }
    },
}


def free_port() -> int:
    """Give a port that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def follow(port: int, link: str) -> str:
    """Follow a link as a browser does."""
    browser = HTTPConnection("127.0.0.1", port, timeout=10)
    browser.request("GET", link)
    answer = browser.getresponse()
    return f"{answer.status} {answer.read().decode()}"


class Shop:
    """The functions of a shop, and an account of what they did."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.mails: asyncio.Queue[str] = asyncio.Queue()
        self.priced: list[dict[str, Any]] = []
        self.port = free_port()

    def app(self, store: str) -> tuple[forebay.App, forebay.Workflow]:
        """Give an app with the shop's functions and workflows."""
        app = forebay.App("shop", store=store)
        for handler in (self.reserve, self.charge, self.mail, self.ship, self.release, self.price):
            app.function(name=handler.__name__)(handler)

        @app.http_api("shop").route("GET", "/approve")
        async def approve(event: dict[str, Any], _context: Any) -> dict[str, Any]:
            """Tell the waiting task that somebody has followed the link."""
            given = event["queryStringParameters"]
            try:
                await app.task_success(given["token"], given["by"])
            except forebay.ResourceNotFound:
                return {"statusCode": 410, "body": "this order is already decided"}
            return {"statusCode": 200, "body": f"thank you, {given['by']}"}

        app.stream("clicks")
        enrich = app.workflow("enrich", ENRICH, "EXPRESS")
        app.on_stream("clicks")(enrich.starter())
        return app, app.workflow("order", ORDER)

    async def reserve(self, event: dict[str, Any], _context: Any) -> str:
        """Lay the goods aside."""
        self.done[f"reserve {event['order']}"] += 1
        return "shelf 7"

    async def charge(self, event: dict[str, Any], _context: Any) -> str:
        """Charge the card; the bank is busy at first."""
        self.done[f"charge {event['order']}"] += 1
        if event["card"] == "bad":
            raise Declined("over the limit")
        if self.done[f"charge {event['order']}"] == 1:
            raise Busy("try again")
        return "paid"

    async def mail(self, event: dict[str, Any], _context: Any) -> None:
        """Send the link that approves the order."""
        print(f"  a mail asks to approve order {event['order']}")
        self.mails.put_nowait(f"/_apis/shop/approve?{urlencode({'token': event['token'], 'by': 'ada'})}")

    async def ship(self, event: dict[str, Any], _context: Any) -> None:
        """Ship the goods."""
        self.done[f"ship {event['order']}"] += 1

    async def release(self, event: dict[str, Any], _context: Any) -> None:
        """Put the goods back."""
        self.done[f"release {event['order']}"] += 1

    async def price(self, event: dict[str, Any], _context: Any) -> dict[str, Any]:
        """Give a click the price of its article."""
        self.priced.append({**event, "price": PRICES[event["article"]]})
        return self.priced[-1]


async def main() -> bool:
    """Run the shop for two days, so to speak."""
    shop = Shop()
    with tempfile.TemporaryDirectory() as store:
        app, order = shop.app(store)
        async with app:
            small = await order.start({"order": 1, "card": "good", "total": 40}, name="order-1")
            refused = await order.start({"order": 2, "card": "bad", "total": 40}, name="order-2")
            await order.start({"order": 3, "card": "good", "total": 400}, name="order-3")
            print(f"order 1: {(await small.result())['prepared']}")
            try:
                await refused.result()
            except forebay.ExecutionFailed as failed:
                print(f"order 2: {failed.error}")
            link = await shop.mails.get()
        print("the shop closes for the night, and opens again")
        app, order = shop.app(store)
        await app.start(http_port=shop.port)
        try:
            print(f"the link is followed: {await asyncio.to_thread(follow, shop.port, link)}")
            output = await order.execution("order-3").result()
            print(f"order 3: approved by {output['approved_by']}")
            print(f"the link is followed again: {await asyncio.to_thread(follow, shop.port, link)}")
            clicks = app.stream("clicks")
            for article in ("book", "lamp", "book"):
                await clicks.put({"article": article}, article)
            async with asyncio.timeout(30):
                while len(shop.priced) < 3:  # noqa: ASYNC110  an Express execution rings no bell
                    await asyncio.sleep(0.02)
        finally:
            await app.stop()
    prices = sorted(click["price"] for click in shop.priced)
    print(f"clicks: {prices}")
    expected = {"reserve": 3, "charge": 5, "ship": 2, "release": 1}
    found = Counter(what.split()[0] for what in shop.done.elements())
    ok = found == expected and shop.done["ship 2"] == 0 and prices == [12, 12, 40]
    print("every step was made as often as it had to be" if ok else f"expected was {expected}, found {dict(shop.done)}")
    return ok


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(main()) else 1)

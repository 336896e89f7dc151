"""Orders through a FIFO queue: each customer's in order, a failed one tried again, a poisoned one set aside and brought back.

    python examples/orders.py

Runs for some seconds on a store of its own, checks what happened, and says so. Three customers send orders. The shop's card
terminal fails twice, then works: the order is tried again and those behind it wait, while other customers are served. One order
names an article that does not exist: after three tries it is a dead letter, and its customer's next orders go on. Then the
article is added and the dead letter is sent back to where it came from.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import defaultdict
from typing import Any

import forebay

ARTICLES = {"book": 12, "lamp": 40}
ORDERS = [
    ("ada", "book"),
    ("bob", "lamp"),
    ("ada", "lamp"),
    ("eve", "kite"),  # nobody sells kites yet
    ("bob", "book"),
    ("eve", "book"),
    ("ada", "book"),
]


class Shop:
    """Takes orders out of the queue and keeps account of what it did."""

    def __init__(self, app: forebay.App) -> None:
        self.dead = app.queue("orders-dead.fifo")
        self.orders = app.queue("orders.fifo", dead_letter_queue=self.dead, maximum_receive_count=3)
        self.shipped: dict[str, list[int]] = defaultdict(list)
        self.tries: dict[int, int] = defaultdict(int)
        quick = forebay.Backoff(base=0.05, cap=0.2)
        app.on_queue("orders.fifo", report_batch_item_failures=True, retry_delay=quick)(self.handler())

    def handler(self) -> Any:
        """Give the function that handles a batch: every message by itself, in order."""

        async def ship(batch: forebay.Batch[forebay.Message], context: forebay.Context) -> None:
            broken = set()
            for message in batch:
                if message.group_id in broken:
                    continue  # it comes back by itself, behind the one that failed
                order = message.json()
                try:
                    self.ship(order)
                except (ConnectionError, KeyError) as error:
                    print(f"  {order['customer']}'s order {order['id']}, try {message.receive_count}: {error!r}")
                    batch.fail(message)
                    broken.add(message.group_id)

        return ship

    def ship(self, order: dict[str, Any]) -> None:
        """Charge and ship one order."""
        number = order["id"]
        self.tries[number] += 1
        price = ARTICLES[order["article"]]
        if number == 0 and self.tries[number] < 3:
            raise ConnectionError("the card terminal does not answer")
        self.shipped[order["customer"]].append(number)
        print(f"  {order['customer']} gets a {order['article']} for {price}")


async def until(done: Any, seconds: float = 30) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not done():  # noqa: ASYNC110  the depth of a queue rings no bell
            await asyncio.sleep(0.02)


async def main() -> bool:
    """Run the day at the shop; tell whether everything went as it should."""
    with tempfile.TemporaryDirectory() as store:
        app = forebay.App("shop", store=store)
        shop = Shop(app)
        async with app:
            print("orders come in:")
            for number, (customer, article) in enumerate(ORDERS):
                order = {"id": number, "customer": customer, "article": article}
                await shop.orders.send(order, group_id=customer, deduplication_id=str(number))
            await until(lambda: shop.dead.depth().visible == 1 and shop.orders.depth() == forebay.Depth(0, 0, 0))
            print(f"one dead letter, after {shop.tries[3]} tries; everybody else was served: {dict(shop.shipped)}")
            ARTICLES["kite"] = 25
            print("kites are in the shop now, the dead letter goes back:")
            moved = await shop.dead.redrive()
            await until(lambda: sum(map(len, shop.shipped.values())) == len(ORDERS))
            await until(lambda: shop.orders.depth() == forebay.Depth(0, 0, 0))
            left = shop.dead.depth().visible
        expected = {"ada": [0, 2, 6], "bob": [1, 4], "eve": [5, 3]}
        ended = (dict(shop.shipped), moved, left, shop.tries[0])
        fine = ended == (expected, 1, 0, 3)
        print("every order was shipped once, each customer's in order" if fine else f"NOT AS EXPECTED: {ended}")
        return fine


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(main()) else 1)

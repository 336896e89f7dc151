"""A shop's orders on an event bus: they fan out by rules, are archived, and are replayed into a handler that was fixed.

The bus discovers the schema of its events. `order_placed.py` beside this file is the model that forebay writes for it:

    forebay schema bind shop.orders@OrderPlaced --registry discovered-schemas --style pydantic --to .

The first handler reads the event as a dict, and fails at an order without a note. The fixed handler reads it with the model, in
which the note is `str | None`: a type checker shows what the first one missed.

Run it with `python examples/shop.py`. The warnings that it logs are the failures of the first handler.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from order_placed import AWSEvent

import forebay

if TYPE_CHECKING:
    from collections.abc import Callable

ORDERS = 20
LARGE = 100
PLACED = {"detail-type": ["OrderPlaced"]}


class Shop(NamedTuple):
    """What a day works with."""

    app: forebay.App
    orders: forebay.Bus
    invoices: forebay.Queue
    ship: forebay.Function[..., Any]


def order(number: int) -> dict[str, Any]:
    """Make an order; every third has a note."""
    lines = [{"sku": f"sku-{number}", "quantity": number % 4 + 1, "price": 12.5}]
    placed = {"id": number, "customer": f"customer-{number % 7}", "total": 10.0 * number, "lines": lines}
    return {**placed, "note": f"for number {number}"} if number % 3 == 0 else placed


def first_label(event: dict[str, Any]) -> str:
    """Write the label of a parcel. An order without a note has no key "note"."""
    return f"{event['detail']['customer']}: {event['detail']['note']}"


def fixed_label(event: dict[str, Any]) -> str:
    """Write the label of a parcel, with the model of the discovered schema."""
    placed = AWSEvent.model_validate(event).detail
    parts = sum(line.quantity for line in placed.lines)
    return f"{placed.customer}: {placed.note or 'no note'}, {parts} parts"


def make_app(store: str, label: Callable[[dict[str, Any]], str], labels: list[str]) -> Shop:
    """Declare the bus, its archive, and where its events go."""
    app = forebay.App("shop", store=store)
    orders = app.bus("orders", discovery=True)
    orders.archive("all-orders")
    invoices = app.queue("invoices")
    orders.rule("invoice", PLACED, invoices, input_path="$.detail")
    large = {**PLACED, "detail": {"total": [{"numeric": [">=", LARGE]}]}}
    orders.rule("large", large, app.stream("large-orders", shards=1))

    @app.on_event(orders, pattern=PLACED)
    @app.function(maximum_retry_attempts=0)
    async def ship(event: dict[str, Any], context: forebay.Context) -> None:
        labels.append(label(event))

    return Shop(app, orders, invoices, ship)


async def place_orders(store: str) -> None:
    """Live the first day: orders come in, and the handler fails at some."""
    labels: list[str] = []
    app, orders, invoices, ship = make_app(store, first_label, labels)
    async with app:
        placed = [forebay.Event(order(number), "shop.orders", "OrderPlaced") for number in range(1, ORDERS + 1)]
        await orders.put_many(placed)
        while len(await ship.failed()) + len(labels) < ORDERS:  # noqa: ASYNC110 - failures are listed, not told
            await asyncio.sleep(0.01)
        counts = f"{invoices.depth().visible} invoices, {len(labels)} parcels, {ORDERS - len(labels)} failed"
        print(f"{ORDERS} orders were placed: {counts}")


async def replay_orders(store: str) -> forebay.SchemaVersion:
    """Live the second day: the handler is fixed, and is given all orders again. The other rules are not."""
    labels: list[str] = []
    app, orders, invoices, _ = make_app(store, fixed_label, labels)
    async with app:
        schema = await app.registry("discovered-schemas").get("shop.orders@OrderPlaced")
        print(f"discovered: {schema.name}, version {schema.version}")
        replay = await orders.replay("all-orders", 0, 4_000_000_000, rules=["ship"])
        status = await replay.wait()
        while len(labels) < ORDERS:  # noqa: ASYNC110 - the replay has given them, and they run
            await asyncio.sleep(0.01)
        print(f"{status.events} orders were replayed: {len(labels)} parcels, still {invoices.depth().visible} invoices")
        print(f"the first label: {labels[0]}")
        return schema


async def main() -> forebay.SchemaVersion:
    """Run both days on one store; give the schema that was discovered."""
    with tempfile.TemporaryDirectory() as store:
        await place_orders(store)
        return await replay_orders(store)


if __name__ == "__main__":
    discovered = asyncio.run(main())
    if "--schema" in sys.argv:
        content = json.dumps({"name": discovered.name, "content": discovered.content})
        Path(sys.argv[sys.argv.index("--schema") + 1]).write_text(content)

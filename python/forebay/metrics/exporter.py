"""Shows what attached resources measure among the app's own metrics.

A resource takes part by having a method

    def measurements(self) -> Iterable[tuple[str, Mapping[str, str], float | Histogram]]

that gives name, labels and number of everything it measures. The name is one of the catalogue, in Prometheus or in CloudWatch;
labels are the catalogue's, or CloudWatch's dimensions ("ProxyName" is `proxy`). A counter's number is its total so far, a gauge's
its level, both in the unit of the name; a distribution's is the histogram of everything so far, in the catalogue's unit.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import math
import time
import uuid
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from forebay._core import Histogram, metrics_catalogue
from forebay._wire import payload
from forebay.errors import ForebayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

log = logging.getLogger("forebay.metrics")

EVERY_SECONDS: Final = 1.0
KEEP_SECONDS: Final = 10.0

Key = tuple[str, tuple[str, ...]]


@runtime_checkable
class Measured(Protocol):
    """A resource that measures something."""

    def measurements(self) -> Iterable[tuple[str, Mapping[str, str], float | Histogram]]:
        """Give name, labels and number of everything that is measured."""


class AsksEngine(Protocol):
    """What an exporter needs of the app."""

    async def ask(self, verb: str, **fields: Any) -> Any:
        """Ask on the event loop."""


class Growth:
    """Turns what resources have measured in all into samples: what is new since the last ones were sent."""

    def __init__(self, resources: Iterable[Measured], catalogue: Iterable[dict[str, Any]]) -> None:
        self._resources = tuple(resources)
        self._known = {row[name]: row for row in catalogue for name in ("aws_name", "name") if row[name]}
        self._sent: dict[Key, float | Histogram] = {}
        self._gathered: dict[Key, float | Histogram] = {}
        self._unknown: set[str] = set()
        self._silent: set[int] = set()

    def gather(self, *, levels: bool) -> list[tuple[str, tuple[str, ...], float | str]]:
        """Give a sample of everything, of gauges only where levels are wanted.

        What a resource raises is logged, once until it can measure again, and nothing of it is given: the others are.
        """
        self._gathered = {}
        samples = []
        for at, resource in enumerate(self._resources):
            try:
                measured = list(self._measured(resource, levels=levels))
            except Exception:
                if at not in self._silent:
                    log.exception("an attached resource cannot tell what it has measured")
                self._silent.add(at)
                continue
            self._silent.discard(at)
            self._gathered |= {key: total for key, total, _ in measured}
            samples += [(*key, new) for key, _, new in measured]
        return samples

    def sent(self) -> None:
        """Remember that what was gathered last has been sent."""
        self._sent.update(self._gathered)

    def _measured(self, resource: Measured, *, levels: bool) -> Iterator[tuple[Key, float | Histogram, float | str]]:
        """Give what a resource measures: the key, the total to remember, and the number to send."""
        for name, labels, number in resource.measurements():
            row = self._row(name)
            if row is not None and (levels or row["kind"] != "gauge"):
                key = (row["name"], _values(row, labels))
                yield key, *self._measure(row, name, key, number)

    def _row(self, name: str) -> dict[str, Any] | None:
        row = self._known.get(name)
        if row is None and name not in self._unknown:
            self._unknown.add(name)
            log.warning(
                "an attached resource measures %r, which is not in the catalogue of metrics: it is not shown", name
            )
        return row

    def _measure(
        self, row: Mapping[str, Any], name: str, key: Key, number: float | Histogram
    ) -> tuple[float | Histogram, float | str]:
        """Give the total to remember, and the number to send: the growth of a counter, the new values of a distribution."""
        before = self._sent.get(key)
        if isinstance(number, Histogram):
            total = Histogram()
            total.merge(number)
            new = Histogram()
            new.merge(number)
            if isinstance(before, Histogram) and before.count <= total.count:
                new.subtract(before)
            return total, base64.b64encode(new.to_bytes()).decode()
        if not math.isfinite(number):
            raise ValueError(f"{name} is {number}")
        value = number / row["aws_scale"] if name == row["aws_name"] else number
        if row["kind"] != "counter":
            return value, value
        earlier = before if isinstance(before, float | int) else 0
        return value, value - earlier if value >= earlier else value


class Exporter:
    """Sends the engine, once a second, what some resources have measured."""

    def __init__(self, engine: AsksEngine, resources: Iterable[Measured]) -> None:
        self._engine = engine
        self._resources = tuple(resources)
        self._source = uuid.uuid4().hex
        self._growth: Growth | None = None

    async def run(self) -> None:
        """Export until cancelled. The engine may be gone for a while: what was measured meanwhile goes to the next one."""
        while True:
            try:
                await self.export()
            except ForebayError as error:
                log.debug("metrics of attached resources wait: %s", error)
            await asyncio.sleep(EVERY_SECONDS)

    async def export(self, keep: float = KEEP_SECONDS) -> None:
        """Send what is new; the engine forgets it, unless more comes within so many seconds."""
        if self._growth is None:
            self._growth = Growth(self._resources, await self._engine.ask("metrics.list"))
        samples = self._growth.gather(levels=keep > 0)
        await self._engine.ask("metrics.tell", source=self._source, keep=keep, samples=samples)
        self._growth.sent()

    async def close(self) -> None:
        """Send the last of it, without levels: they are gone from now on."""
        await self.export(keep=0)


class WorkerExporter:
    """Sends the engine what resources have measured in a worker process.

    It sends after an invocation, once a second at most, and when a second has passed without another one.
    """

    def __init__(self, resources: Iterable[Measured], send: Callable[[bytes], None]) -> None:
        self._growth = Growth(resources, payload.loads(metrics_catalogue()))
        self._send = send
        self._due = 0.0

    def wait(self, heard: Callable[[float], bool]) -> bool:
        """Wait for the engine to send something, or export when it is time to; tell whether it has sent something.

        Args:
            heard: waits for it so many seconds at most, and tells the same.

        """
        left = self._due - time.monotonic()
        if left > 0 and heard(left):
            return True
        self.export(levels=True)
        return False

    def export(self, *, levels: bool) -> None:
        """Send what is new; without levels where they are gone from now on."""
        self._due = time.monotonic() + EVERY_SECONDS
        self._send(payload.dumps(self._growth.gather(levels=levels)))
        self._growth.sent()


def _values(row: Mapping[str, Any], labels: Mapping[str, str]) -> tuple[str, ...]:
    given = {name.removesuffix("Name").lower(): value for name, value in labels.items()}
    return tuple(given.get(label, "") for label in row["labels"])

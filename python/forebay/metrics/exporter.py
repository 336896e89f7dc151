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
import uuid
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from forebay._core import Histogram
from forebay.errors import ForebayError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

log = logging.getLogger("forebay.metrics")

EVERY_SECONDS: Final = 1.0
KEEP_SECONDS: Final = 10.0

Key = tuple[str, tuple[str, ...]]


@runtime_checkable
class Measured(Protocol):
    """A resource that measures something."""

    def measurements(self) -> Iterable[tuple[str, Mapping[str, str], float | Histogram]]:
        """Give name, labels and number of everything that is measured."""


class Asks(Protocol):
    """The line to an engine."""

    async def ask(self, verb: str, **fields: Any) -> Any:
        """Ask on the event loop."""


class Exporter:
    """Tells the engine, once a second, what some resources have measured since it was told last."""

    def __init__(self, line: Asks, resources: Iterable[Measured]) -> None:
        self._line = line
        self._resources = tuple(resources)
        self._source = uuid.uuid4().hex
        self._known: dict[str, dict[str, Any]] = {}
        self._told: dict[Key, float | Histogram] = {}
        self._unknown: set[str] = set()

    async def run(self) -> None:
        """Tell until cancelled. The engine may be gone for a while: what was measured meanwhile is told to the next one."""
        while True:
            try:
                await self.tell()
            except ForebayError as error:
                log.debug("metrics of attached resources wait: %s", error)
            await asyncio.sleep(EVERY_SECONDS)

    async def tell(self, keep: float = KEEP_SECONDS) -> None:
        """Tell what is new, and be remembered for so many seconds."""
        if not self._known:
            listed = await self._line.ask("metrics.list")
            self._known = {row[name]: row for name in ("aws_name", "name") for row in listed if row[name]}
        totals: dict[Key, float | Histogram] = {}
        samples = []
        for resource in self._resources:
            for name, labels, number in resource.measurements():
                row = self._row(name)
                if row is not None and (keep or row["kind"] != "gauge"):
                    key = (row["name"], _values(row, labels))
                    totals[key], told = self._measure(row, name, key, number)
                    samples.append((*key, told))
        await self._line.ask("metrics.tell", source=self._source, keep=keep, samples=samples)
        self._told.update(totals)

    async def leave(self) -> None:
        """Tell the last of it, without levels: they are gone from now on."""
        await self.tell(keep=0)

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
        """Give the total to remember, and what is told: the growth of a counter, the new values of a distribution."""
        before = self._told.get(key)
        if isinstance(number, Histogram):
            total = Histogram()
            total.merge(number)
            new = Histogram()
            new.merge(number)
            if isinstance(before, Histogram) and before.count <= total.count:
                new.subtract(before)
            return total, base64.b64encode(new.to_bytes()).decode()
        value = number / row["aws_scale"] if name == row["aws_name"] else number
        if row["kind"] != "counter":
            return value, value
        earlier = before if isinstance(before, float | int) else 0
        return value, value - earlier if value >= earlier else value


def _values(row: Mapping[str, Any], labels: Mapping[str, str]) -> tuple[str, ...]:
    given = {name.removesuffix("Name").lower(): value for name, value in labels.items()}
    return tuple(given.get(label, "") for label in row["labels"])

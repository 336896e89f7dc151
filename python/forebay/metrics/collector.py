"""An app's metrics in a prometheus-client registry of the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector as PrometheusCollector

from forebay.errors import AppClosed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from forebay.metrics.statistics import Metrics


class HasMetrics(Protocol):
    """A `forebay.App`."""

    @property
    def metrics(self) -> Metrics:
        """What it has counted."""


class Collector(PrometheusCollector):
    """Show an app's metrics among those of a registry: `registry.register(forebay.metrics.Collector(app))`.

    Everything is in the page that the engine serves itself, too, which it writes without Python: prefer that one where a page has
    thousands of lines. While the app does not run, there is nothing to show.

    Args:
        app: the `forebay.App`; it may be started later, and in any process of those that share its store.

    """

    def __init__(self, app: HasMetrics) -> None:
        self._app = app

    def describe(self) -> Iterable[Metric]:
        """Name nothing beforehand: the app need not run yet."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Give every family of the app's page."""
        try:
            return text_string_to_metric_families(self._app.metrics.page())
        except AppClosed:
            return ()

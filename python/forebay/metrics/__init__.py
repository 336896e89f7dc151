"""What an app's metrics are asked, and how they reach Prometheus. They are counted by the engine, in Rust."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forebay.metrics.statistics import Metrics, Point

if TYPE_CHECKING:
    from forebay.metrics.collector import Collector

__all__ = ["Collector", "Metrics", "Point"]


def __getattr__(name: str) -> object:
    """Load prometheus-client for those who use it: it is a quarter of what `import forebay` would take."""
    if name == "Collector":
        from forebay.metrics.collector import Collector  # noqa: PLC0415

        return Collector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""`app.metrics`: any statistic of any metric, now or minute by minute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from forebay._model import checks

if TYPE_CHECKING:
    from forebay._model.checks import Seconds

PERIOD_SECONDS = 60
SINCE_SECONDS = 3600
KEPT_SECONDS = 455 * 86_400


class AsksNow(Protocol):
    """What the metrics need of the app."""

    def ask_now(self, verb: str, **fields: Any) -> Any:
        """Ask what is answered at once, from any thread, on the event loop or off it."""


class Point(NamedTuple):
    """A number for one period."""

    start: float
    """When the period began, in seconds since 1970."""
    value: float


class Metrics:
    """An app's metrics. Every call may be made on the event loop and in any thread, in the store's owner and in its clients.

    A metric goes by its name in Prometheus, or by its name in CloudWatch: the answer is then in CloudWatch's unit, as in
    milliseconds for "Duration". `docs/metrics.md` lists them. A call costs some ten microseconds in the process that owns the
    store, and a round trip over its socket in any other.

    A statistic is one of CloudWatch's: "SampleCount", "Sum", "Average", "Minimum", "Maximum", any percentile ("p50", "p99.9"),
    trimmed and winsorized means, counts and sums ("tm90", "TM(10%:90%)", "wm90", "tc90", "ts90"), "IQM", "PR(0:500)". See
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html

    """

    def __init__(self, engine: AsksNow) -> None:
        self._engine = engine

    def statistic(self, name: str, statistic: str, *, period: Seconds = PERIOD_SECONDS, **labels: str) -> float | None:
        """Give the statistic of everything in the last `period` seconds; None when nothing happened in them.

        Args:
            name: of the metric, in CloudWatch or in Prometheus.
            statistic: as CloudWatch writes it.
            period: 1, 5, 10, 20, 30 or a multiple of 60 seconds, up to 455 days.
            labels: only what has these values, such as `function="handler"`; of a mapping's metric, `stream` or `function`.

        Raises:
            InvalidParameterValue: there is no such metric, statistic, period or label; the text names those that are near.
            AppClosed: the app does not run.

        """
        fields = _fields(name, statistic, period, labels)
        answer: float | None = self._engine.ask_now("metrics.statistic", **fields)["value"]
        return answer

    def series(
        self,
        name: str,
        statistic: str,
        *,
        period: Seconds = PERIOD_SECONDS,
        since: Seconds = SINCE_SECONDS,
        **labels: str,
    ) -> list[Point]:
        """Give the statistic for each period in which something happened, the oldest first; the last one is still running.

        Single seconds are kept for 3 hours, minutes for 15 days, five minutes for 63 days, hours for 455 days, and less of each
        when there is more than 64 MiB of them.

        Args:
            name: of the metric, in CloudWatch or in Prometheus.
            statistic: as CloudWatch writes it.
            period: 1, 5, 10, 20, 30 or a multiple of 60 seconds, up to 455 days.
            since: how many seconds to look back; at most 1,440 periods.
            labels: only what has these values, such as `function="handler"`; of a mapping's metric, `stream` or `function`.

        Raises:
            InvalidParameterValue: there is no such metric, statistic, period or label, or too many periods.
            AppClosed: the app does not run.

        """
        fields = _fields(name, statistic, period, labels)
        back = checks.seconds("since", since, low=1, high=KEPT_SECONDS)
        answer = self._engine.ask_now("metrics.series", since=round(back), **fields)
        return [Point(start, value) for start, value in answer["points"]]

    def page(self) -> str:
        """Give the page that `/metrics` shows, in Prometheus's text format 0.0.4."""
        text: str = self._engine.ask_now("metrics.text")["text"]
        return text

    def catalogue(self) -> list[dict[str, Any]]:
        """Describe every metric: names, kind, unit, labels, meaning, and how many series there are of it now."""
        listed: list[dict[str, Any]] = self._engine.ask_now("metrics.list")
        return listed


def _fields(name: str, statistic: str, period: Seconds, labels: dict[str, str]) -> dict[str, Any]:
    for option, value in (("name", name), ("statistic", statistic), *labels.items()):
        if not isinstance(value, str):
            checks.refuse(option, value, "it must be a str")
    return {"name": name, "statistic": statistic, "period": whole_period(period), "labels": labels}


def whole_period(period: Seconds) -> int:
    """Check that a period is whole seconds; the engine knows which ones there are."""
    seconds = checks.seconds("period", period, low=1, high=KEPT_SECONDS)
    if seconds != int(seconds):
        checks.refuse("period", period, "allowed are 1, 5, 10, 20, 30 and multiples of 60 seconds up to 455 days")
    return int(seconds)

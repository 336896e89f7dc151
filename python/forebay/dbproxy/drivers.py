"""The drivers, by engine. Each is loaded when it is needed: the other need not be installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forebay._core import StatementJudge
    from forebay.dbproxy.driver import Driver


def driver_of(engine: str, judge: StatementJudge) -> Driver:
    """Load the driver of one engine."""
    if engine == "mysql":
        from forebay.dbproxy.mysql import MySQLDriver  # noqa: PLC0415

        return MySQLDriver(judge)
    from forebay.dbproxy.postgres import PostgresDriver  # noqa: PLC0415

    return PostgresDriver(judge)

"""What an app and its functions are limited to, in the engine's words: see `docs/requests.md`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forebay._model.settings import AppSettings, FunctionSettings

ACCOUNT: Final = ("concurrency", "unreserved_minimum", "scaling", "requests_per_second", "workflow_limits")
"""Limits of an app."""
FUNCTION: Final = ("reserved_concurrency", "provisioned_concurrency", "rate_limit")
"""Limits of a function."""
VERSION: Final = ("provisioned_concurrency",)
"""Limits of a published version."""


def account(settings: AppSettings, names: Iterable[str] = ACCOUNT) -> dict[str, Any]:
    """Give an app's limits of these names."""
    given = {name: getattr(settings, name) for name in names}
    if "scaling" in given:
        given["scaling"] = asdict(settings.scaling)
    if "workflow_limits" in given:
        buckets = asdict(given.pop("workflow_limits")).items()
        given["workflows"] = {
            name: None if bucket is None else {"burst": bucket[0], "per_second": bucket[1]} for name, bucket in buckets
        }
    return given


def function(settings: FunctionSettings, names: Iterable[str] = FUNCTION) -> dict[str, Any]:
    """Give a function's limits of these names."""
    return {name: getattr(settings, name) for name in names}

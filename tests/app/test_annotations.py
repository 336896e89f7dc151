"""A handler that wants a `Batch` is known by its annotation, which may be text that cannot be evaluated."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

import forebay  # noqa: TC001  looked up by name when a handler is declared
from forebay.runtime import handler as inspection

if TYPE_CHECKING:
    from forebay import Batch  # at run time there is no such name here


class Own:
    """Some class of the user's."""


async def dotted(batch: forebay.Batch, context: Any): ...


async def missing(batch: Batch, context: Any): ...


async def own(batch: Own, context: Any): ...


async def subscribed(batch: list[forebay.Batch], context: Any): ...


async def bare(event, context): ...


async def nothing(): ...


class Handler:
    async def __call__(self, batch: forebay.Batch, context: Any): ...

    async def method(self, batch: forebay.Batch, context: Any): ...

    def blocking(self, event, context): ...


@pytest.mark.parametrize(
    ("handler", "wants"),
    [
        (dotted, True),
        (missing, True),
        (own, False),
        (subscribed, False),
        (bare, False),
        (nothing, False),
        (Handler().method, True),
        (Handler(), True),
        (max, False),
    ],
)
def test_the_first_parameter_tells(handler, wants):
    assert inspection.wants_batch(handler) is wants


def test_an_annotation_is_never_evaluated():
    async def handler(batch, context): ...

    handler.__annotations__["batch"] = "print('evaluated') or forebay.Batch"
    assert inspection.wants_batch(handler) is False


@pytest.mark.parametrize(
    ("handler", "isolation", "name"),
    [
        (bare, "task", "bare"),
        (functools.partial(bare, 1), "task", "bare"),
        (Handler(), "task", "Handler"),
        (Handler().blocking, "thread", "blocking"),
        (max, "thread", "max"),
    ],
)
def test_a_handler_runs_where_it_fits(handler, isolation, name):
    assert inspection.isolation(handler, None) == isolation
    assert inspection.default_name(handler) == name

"""A handler that wants a `Batch` is known by its annotation, which may be text that cannot be evaluated."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock, create_autospec

import pytest

import forebay
from forebay._runtime import inspection

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


def decorated(handler):
    @functools.wraps(handler)
    async def inner(event, context):
        return await handler(event, context, "a database")

    return inner


async def injected(event, context, database): ...


class WithOne:
    def __call__(self, event): ...


@pytest.mark.parametrize(
    "handler",
    [
        bare,
        dotted,
        functools.partial(injected, 1),
        functools.partial(injected, database=1),
        decorated(injected),
        Handler(),
        Handler().method,
        functools.lru_cache(Handler().blocking),
        lambda *given, **more: None,
        lambda event, context=None, more=1: None,
        AsyncMock(),
        create_autospec(nothing),
        max,
        dict,
    ],
)
def test_whatever_can_be_called_with_an_event_and_a_context_is_a_handler(handler):
    inspection.check_callable(handler)


# Such a handler was declared without a word, and failed with a TypeError at the first record.
@pytest.mark.parametrize("handler", [nothing, injected, Handler.blocking, WithOne(), functools.partial(bare, 1)])
def test_a_handler_that_cannot_be_called_with_an_event_and_a_context_is_refused(handler):
    app = forebay.App("annotations", store=":memory:")
    for declare in (app.function(name="f"), app.on_stream("s"), app.on_queue("q")):
        with pytest.raises(forebay.InvalidParameterValue, match=r"called with \(event, context\), which"):
            declare(handler)
    function = app.function(name="good")(bare)
    with pytest.raises(forebay.InvalidParameterValue, match=r"called with \(event, context\), which"):
        function.publish_version(handler=handler)


def test_the_refusal_of_a_handler_names_it_and_its_place():
    async def ship(event): ...

    with pytest.raises(
        forebay.InvalidParameterValue,
        match=r"ship \(.*test_annotations\.py, line \d+\): it is called with .*, which ship\(event\) does not take",
    ):
        inspection.check_callable(ship)


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

"""A handler that wants a `Batch` is known by its annotation, which may be text that cannot be evaluated."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any, Optional
from unittest.mock import AsyncMock, create_autospec

import pytest

import forebay
from forebay._runtime import inspection

if TYPE_CHECKING:  # at run time there are no such names here
    from decimal import Decimal as Other

    import forebay as fb
    from forebay import Batch, Record
    from forebay import Batch as Flights

    Orders = Batch[Record]


class Own:
    """Some class of the user's."""


async def dotted(batch: forebay.Batch, context: Any): ...


async def missing(batch: Batch, context: Any): ...


async def own(batch: Own, context: Any): ...


async def subscribed(batch: list[forebay.Batch], context: Any): ...


async def optional(batch: forebay.Batch | None, context: Any): ...


async def by_union(batch: Optional[forebay.Batch], context: Any): ...  # noqa: UP045  as it is written, too


async def noted(batch: Annotated[forebay.Batch, "of flights"], context: Any): ...


async def of_records(batch: forebay.Batch[forebay.Record], context: Any): ...


async def of_missing(batch: Annotated[Batch[Record] | None, "of flights"], context: Any): ...


async def renamed(batch: Flights, context: Any): ...


async def alias(batch: Orders | None, context: Any): ...


async def module_renamed(batch: fb.Batch[fb.Record], context: Any): ...


async def in_quotes(batch: "forebay.Batch", context: Any): ...  # noqa: UP037  as it is written, too


async def other(batch: Other, context: Any): ...


async def mapping_or_none(event: dict[str, Any] | None, context: Any): ...


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
        (optional, True),
        (by_union, True),
        (noted, True),
        (of_records, True),
        (of_missing, True),
        (renamed, True),
        (alias, True),
        (module_renamed, True),
        (in_quotes, True),
        (other, False),
        (mapping_or_none, False),
        (bare, False),
        (nothing, False),
        (Handler().method, True),
        (Handler(), True),
        (max, False),
    ],
)
def test_the_first_parameter_tells(handler, wants):
    assert inspection.wants_batch(handler) is wants


def evaluated(handler, annotation):
    handler.__annotations__ = {"batch": annotation}
    return handler


@pytest.mark.parametrize(
    "annotation",
    [
        forebay.Batch | None,
        Optional[forebay.Batch],  # noqa: UP045  as it is written, too
        Annotated[forebay.Batch, "of flights"],
        Annotated[forebay.Batch[forebay.Message] | None, "of flights"],
        forebay.Batch[forebay.Record],
    ],
)
async def test_the_annotation_may_be_no_text(annotation):
    async def handler(batch, context): ...

    assert inspection.wants_batch(evaluated(handler, annotation)) is True


@pytest.mark.parametrize(
    "annotation",
    [
        "forebay.Record",
        "forebay.Message | None",
        "list[forebay.Record]",
        "list[Record]",
        "Sequence[fb.Message]",
        "list[forebay.Batch]",
        forebay.Record,
        list[forebay.Message],
        Annotated[list[forebay.Record], "of flights"],
    ],
)
def test_a_handler_of_single_records_is_refused_and_told_what_to_write(annotation):
    """It was declared without a word, and given Lambda's dict."""

    async def ship(batch, context): ...

    app = forebay.App("annotations", store=":memory:")
    evaluated(ship, annotation)
    for declare in (app.function(name="f"), app.on_stream("s"), app.on_queue("q")):
        with pytest.raises(
            forebay.InvalidParameterValue, match=r"ship \(.*annotate it forebay\.Batch\[forebay\.Record\]"
        ):
            declare(ship)


async def async_generator(event, context):
    yield 1


def generator(event, context, more=None):
    yield 1


class Generating:
    def __call__(self, event, context):
        yield 1


@pytest.mark.parametrize("handler", [async_generator, generator, Generating(), functools.partial(generator, more=1)])
def test_a_generator_is_no_handler(handler):
    """It was declared without a word; each call made a generator, of which nothing ran, and failed as no JSON."""
    app = forebay.App("annotations", store=":memory:")
    for declare in (app.function(name="f"), app.on_stream("s"), app.on_queue("q")):
        with pytest.raises(forebay.InvalidParameterValue, match="it has a `yield`"):
            declare(handler)


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
        (Handler().blocking, "process", "blocking"),
        (max, "process", "max"),
    ],
)
def test_a_handler_runs_where_it_fits(handler, isolation, name):
    assert inspection.isolation(handler, None) == isolation
    assert inspection.default_name(handler) == name

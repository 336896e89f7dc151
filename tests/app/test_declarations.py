"""What may be declared, in which order, and what is refused."""

import threading

import pytest

from forebay import App, InvalidParameterValue, RequestTooLarge, ResourceConflict, ResourceNotFound
from forebay.mapping import Mapping
from forebay.workflow import refusals


@pytest.fixture
def app(forebay_app, no_task_is_left):
    return forebay_app


async def bare(event, context):
    return "bare"


def test_decorators_stack_in_any_order(app):
    @app.on_stream("a")
    @app.on_stream("b")
    @app.function(name="first", timeout=5)
    async def one(event, context): ...

    @app.function(name="second", timeout=6)
    @app.on_stream("a")
    @app.on_stream("b")
    async def two(event, context): ...

    @app.on_stream("a")
    @app.function(name="third", timeout=7)
    @app.on_stream("b")
    async def three(event, context): ...

    assert [(function.name, function.settings.timeout) for function in (one, two, three)] == [
        ("first", 5),
        ("second", 6),
        ("third", 7),
    ]
    bound = sorted((mapping.stream, mapping.function.name) for mapping in app.mappings)
    assert bound == sorted((stream, name) for stream in "ab" for name in ("first", "second", "third"))


def test_a_mapping_alone_makes_the_function_with_default_settings(app):
    @app.on_stream("a")
    async def handler(event, context): ...

    assert (handler.name, handler.settings.timeout, handler.settings.isolation) == ("handler", 3.0, "task")


def test_two_handlers_of_one_name_are_refused(app):
    app.function(name="same")(bare)

    async def other(event, context): ...

    with pytest.raises(ResourceConflict, match=r"'same' is already declared, by .*bare"):
        app.function(name="same")(other)


def test_a_function_may_be_said_twice_but_not_otherwise(app):
    function = app.function(timeout=5)(bare)
    assert app.function(timeout=5)(function) is function
    with pytest.raises(ResourceConflict, match="other settings"):
        app.function(timeout=6)(function)


def test_a_mapping_may_be_said_twice_but_not_otherwise(app):
    function = app.on_stream("a", batch_size=5)(bare)
    assert app.on_stream("a", batch_size=5)(function) is function
    with pytest.raises(
        ResourceConflict, match=r'The event source arn \(" arn:aws:kinesis:.*:stream/a "\) and function'
    ):
        app.on_stream("a", batch_size=6)(function)
    assert len(app.mappings) == 1


def test_what_the_engine_refuses_of_a_workflow_keeps_its_class_and_its_notes(app):
    flow = app.workflow("rest", {"StartAt": "A", "States": {"A": {"Type": "Succeed"}}})
    refused = RequestTooLarge("it is over the limit")
    refused.add_note("make it smaller")
    [told] = refusals([flow], [refused])
    assert (type(told), str(told)) == (RequestTooLarge, "workflow 'rest': it is over the limit")
    assert (told.__cause__, told.__notes__) == (refused, ["make it smaller"])


def test_a_function_of_another_app_is_refused(app):
    function = App("other", store=":memory:").function()(bare)
    with pytest.raises(InvalidParameterValue, match="another app"):
        app.on_stream("a")(function)


def test_a_stream_may_be_said_again_with_what_was_said(app):
    stream = app.stream("a", shards=2)
    assert app.stream("a") is stream
    assert app.stream("a", shards=2, retention=86_400) is stream
    with pytest.raises(ResourceConflict, match="shards=2, not 3"):
        app.stream("a", shards=3)


def test_the_decorator_wants_its_parentheses(app):
    with pytest.raises(InvalidParameterValue, match=r"@app\.function\(\)"):
        app.function(bare)


async def test_a_mapping_of_an_undeclared_stream_stops_the_start(app):
    app.on_stream("nowhere")(bare)
    with pytest.raises(ResourceNotFound, match="nowhere"):
        await app.start()
    assert (await start_again(app)) is None


async def start_again(app):
    app.stream("nowhere")
    async with app:
        return


async def test_everything_may_be_declared_while_the_app_runs(app, forebay_clock):
    seen = []
    async with app:
        stream = app.stream("late", shards=1)

        @app.function(timeout=5)
        @app.on_stream("late")
        async def handler(event, context):
            seen.append(len(event["Records"]))
            return 7

        assert await handler.invoke({"Records": []}) == 7
        await stream.put(1, "k")
        await forebay_clock.settle()
        assert (await app.mappings[0].describe())["declared"]
    assert seen == [0, 1]


async def test_a_mapping_that_cannot_be_declared_while_the_app_runs_is_told_of(app, caplog):
    async with app:
        app.on_stream("nowhere")(bare)
        with pytest.raises(ResourceNotFound):
            await app.mappings[0].describe()
    assert "nowhere" in caplog.text


async def test_a_stream_is_declared_from_a_thread_too(app):
    import asyncio

    async with app:
        await asyncio.to_thread(app.stream, "late")
        assert await app.stream("late").put(1, "k")


async def test_a_thread_may_declare_while_the_loop_goes_through_what_is_declared(app):
    """The loop failed at a dictionary that had changed its size meanwhile."""
    handler, others = app.function()(bare), [app.on_queue(app.queue("third").name)]

    class Interrupted(Mapping):
        def __getattribute__(self, name):
            if name == "settings" and others:
                thread = threading.Thread(target=others.pop(), args=(handler,))
                thread.start()
                thread.join()
            return super().__getattribute__(name)

    for queue in (app.queue("first"), app.queue("second")):
        app.on_queue(queue.name)(handler)
    async with app:
        first, second = app.mappings
        second.__class__ = Interrupted
        await first.update(batch_size=5)
        assert (await app.mappings[2].describe())["queue"] == "third"

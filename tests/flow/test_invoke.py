"""`Function.invoke` is Lambda's synchronous invocation."""

import asyncio
import dataclasses
import decimal
import inspect
from datetime import UTC, datetime

import pytest

from forebay import AppClosed, Batch, FunctionError, InvalidParameterValue, RequestTooLarge

REQUEST_MAX = 6 * 1024 * 1024
RESPONSE_MAX = 6_291_556


async def failure_of(app, handler, payload=None):
    isolation = "task" if inspect.iscoroutinefunction(handler) else "thread"
    function = app.function(isolation=isolation)(handler)
    async with app:
        with pytest.raises(FunctionError) as caught:
            await function.invoke(payload)
    return caught.value.payload


@pytest.mark.parametrize("value", [None, True, 0, -1.5, "text", [1, [2]], {"a": {"b": None}}, 2**80 + 1])
async def test_what_a_handler_returns_comes_back_through_json(app, value):
    @app.function()
    async def echo(event, context):
        return event

    async with app:
        assert await echo.invoke(value) == value


async def test_a_plain_function_runs_in_a_thread_where_that_is_chosen(app):
    import threading

    @app.function(isolation="thread")
    def where(event, context):
        return threading.current_thread().name

    async with app:
        assert (await where.invoke()).startswith("forebay-handler-")


async def test_an_error_has_lambdas_shape(app):
    async def handler(event, context):
        raise KeyError("missing")

    payload = await failure_of(app, handler)
    assert list(payload) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert (payload["errorMessage"], payload["errorType"]) == ("'missing'", "KeyError")
    assert len(payload["requestId"]) == 36
    [frame] = payload["stackTrace"]
    assert frame.startswith('  File "') and frame.endswith('in handler\n    raise KeyError("missing")\n')


async def test_an_error_of_a_thread_has_the_same_shape(app):
    def handler(event, context):
        raise KeyError("missing")

    payload = await failure_of(app, handler)
    [frame] = payload["stackTrace"]
    assert "in handler" in frame


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({1, 2}, "Object of type set is not JSON serializable"),
        (datetime.now(UTC), "Object of type datetime is not JSON serializable"),
        (object(), "Object of type object is not JSON serializable"),
        (b"bytes", "Object of type bytes is not JSON serializable"),
        (dataclasses.make_dataclass("Point", ["x"])(1), "Object of type Point is not JSON serializable"),
    ],
)
async def test_what_is_not_json_cannot_be_returned(app, value, text):
    async def handler(event, context):
        return value

    payload = await failure_of(app, handler)
    assert payload["errorType"] == "Runtime.MarshalError"
    assert payload["errorMessage"] == f"Unable to marshal response: {text}"


async def test_a_decimal_becomes_a_number_as_on_lambda(app):
    @app.function()
    async def handler(event, context):
        return {1: decimal.Decimal("1.5")}

    async with app:
        assert await handler.invoke() == {"1": 1.5}


async def test_an_endless_structure_cannot_be_returned(app):
    async def handler(event, context):
        loop = []
        loop.append(loop)
        return loop

    assert (await failure_of(app, handler))["errorType"] == "Runtime.MarshalError"


@pytest.mark.parametrize(("size", "fits"), [(RESPONSE_MAX, True), (RESPONSE_MAX + 1, False)])
async def test_a_response_has_its_limit(app, size, fits):
    @app.function()
    async def handler(event, context):
        return "x" * (size - 2)

    async with app:
        if fits:
            assert len(await handler.invoke()) == size - 2
            return
        with pytest.raises(FunctionError) as caught:
            await handler.invoke()
    assert caught.value.payload == {
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }


async def test_a_request_has_its_limit(app):
    @app.function()
    async def handler(event, context):
        return len(event)

    async with app:
        assert await handler.invoke("x" * (REQUEST_MAX - 2)) == REQUEST_MAX - 2
        with pytest.raises(RequestTooLarge, match=r"6291457 byte payload is too large .* \(limit 6291456 bytes\)"):
            await handler.invoke("x" * (REQUEST_MAX - 1))


@pytest.mark.parametrize("payload", [{1, 2}, object(), b"{}"])
async def test_a_payload_must_be_json(app, payload):
    @app.function()
    async def handler(event, context):
        return None

    async with app:
        with pytest.raises(InvalidParameterValue, match="payload"):
            await handler.invoke(payload)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SystemExit(3), "Runtime exited with error: exit status 3"),
        (SystemExit(), "Runtime exited without providing a reason"),
        (SystemExit("bye"), "Runtime exited with error: exit status 1"),
        (KeyboardInterrupt(), "Runtime exited with error: exit status 130"),
    ],
)
@pytest.mark.parametrize("plain", [False, True])
async def test_a_handler_that_exits_fails_alone(app, error, text, plain):
    def end(event, context):
        raise error

    async def end_async(event, context):
        raise error

    payload = await failure_of(app, end if plain else end_async)
    assert payload["errorType"] == "Runtime.ExitError"
    assert payload["errorMessage"] == f"RequestId: {payload['requestId']} Error: {text}"


async def test_a_batch_handler_cannot_be_invoked(app):
    async def handler(batch: Batch, context):
        return None

    payload = await failure_of(app, handler, {"Records": []})
    assert payload["errorType"] == "Runtime.UnmarshalError"
    assert "only a mapping" in payload["errorMessage"]


async def test_an_error_without_text_and_one_with_broken_text_are_told(app):
    class Broken(Exception):
        def __str__(self):
            raise RuntimeError

    async def handler(event, context):
        raise Broken

    assert "could not be made: RuntimeError" in (await failure_of(app, handler))["errorMessage"]


async def test_a_lone_surrogate_in_an_error_is_escaped(app):
    async def handler(event, context):
        raise ValueError("\ud800")

    assert (await failure_of(app, handler))["errorMessage"] == "\\ud800"


async def test_the_context_has_lambdas_attributes(app):
    @app.function(timeout=7)
    async def handler(event, context):
        names = [
            "aws_request_id",
            "function_name",
            "function_version",
            "invoked_function_arn",
            "memory_limit_in_mb",
            "log_group_name",
            "client_context",
            "tenant_id",
        ]
        assert context.identity.cognito_identity_id is None
        assert context.log_stream_name.startswith("2020/01/01/[$LATEST]")
        return {name: getattr(context, name) for name in names}

    async with app:
        told = await handler.invoke()
    assert len(told.pop("aws_request_id")) == 36
    assert told == {
        "function_name": "handler",
        "function_version": "$LATEST",
        "invoked_function_arn": "arn:aws:lambda:local:000000000000:function:handler",
        "memory_limit_in_mb": "128",
        "log_group_name": "/aws/lambda/handler",
        "client_context": None,
        "tenant_id": None,
    }


async def test_each_attempt_has_a_context_of_its_own(app):
    import contextvars

    variable = contextvars.ContextVar("variable", default=0)

    @app.function()
    async def handler(event, context):
        before = variable.get()
        variable.set(1)
        return before

    @app.function(isolation="thread")
    def blocking(event, context):
        before = variable.get()
        variable.set(1)
        return before

    async with app:
        assert [await handler.invoke(), await handler.invoke()] == [0, 0]
        assert [await blocking.invoke(), await blocking.invoke()] == [0, 0]


async def test_a_handler_may_cancel_its_own_waits(app):
    @app.function()
    async def handler(event, context):
        task = asyncio.create_task(asyncio.sleep(60))
        task.cancel()
        await task

    async with app:
        with pytest.raises(FunctionError) as caught:
            await handler.invoke()
    assert caught.value.payload["errorType"] == "CancelledError"


async def test_nobody_is_left_waiting_when_the_app_stops(app, clock):
    @app.function(timeout=1000)
    async def handler(event, context):
        await clock.sleep(500)

    await app.start()
    call = asyncio.create_task(handler.invoke())
    await clock.settle()
    await app.stop(grace=1)
    with pytest.raises(AppClosed):
        await call


async def test_it_needs_a_running_app(app):
    @app.function()
    async def handler(event, context):
        return None

    with pytest.raises(AppClosed, match="app 'test' is not running"):
        await handler.invoke()


async def test_a_function_is_still_its_handler(app):
    @app.function(name="other-name")
    async def handler(event, context):
        "Say hello."
        return event

    assert await handler(1, None) == 1
    assert (handler.name, handler.__name__, handler.__doc__) == ("other-name", "handler", "Say hello.")

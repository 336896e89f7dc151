"""The Lambda Runtime API, asked by clients that behave, by clients that do not, and by that of AWS for Python."""

import re
import sys
from pathlib import Path

import pytest

import forebay
from forebay import FunctionError, InvalidParameterValue
from forebay._model import limits

CLIENT = Path(__file__).parent / "runtime_client.py"
ONE = forebay.Environments(maximum=1)


@pytest.fixture
def app():
    return forebay.App("commands", store=":memory:")


def client(app, kind, **options):
    return app.command_function("f", command=[sys.executable, str(CLIENT), kind], environments=ONE, **options)


async def failure(function, payload=None):
    with pytest.raises(FunctionError) as caught:
        await function.invoke(payload)
    return caught.value.payload


async def test_an_invocation_comes_with_lambdas_headers_and_variables(app):
    function = client(app, "well", provisioned_concurrency=1)
    async with app:
        answer = await function.invoke({"a": 1})
        again = await function.invoke({"a": 2})
    assert (answer["event"], again["event"]) == ({"a": 1}, {"a": 2})
    headers = answer["headers"]
    assert headers["lambda-runtime-invoked-function-arn"] == function.arn
    assert len(headers["lambda-runtime-aws-request-id"]) == 36
    assert len(headers["lambda-runtime-deadline-ms"]) == 13
    assert headers["lambda-runtime-trace-id"].startswith("Root=1-")
    assert headers["lambda-runtime-invocation-id"] != again["headers"]["lambda-runtime-invocation-id"]
    assert answer["variables"]["AWS_LAMBDA_FUNCTION_NAME"] == "f"
    assert answer["variables"]["AWS_LAMBDA_INITIALIZATION_TYPE"] == "provisioned-concurrency"


async def test_a_version_of_a_command_is_told_which_it_is_and_what_was_asked_for(app):
    function = client(app, "well")
    live = app.alias("live", function, function.publish_version(timeout=9))
    async with app:
        answer, version = await live.invoke_with_version()
    assert version == "1"
    assert answer["headers"]["lambda-runtime-invoked-function-arn"] == live.arn
    assert answer["variables"]["AWS_LAMBDA_FUNCTION_VERSION"] == "1"


async def test_answers_that_are_not_the_invocations_are_refused_as_documented(app):
    function = client(app, "wrongly")
    async with app:
        assert await function.invoke() == "right"
        seen = await function.invoke()
    assert seen == {
        "asks again": [403, "InvalidStateTransition"],
        "another id": [400, "InvalidRequestID"],
        "another invocation": [400, "InvalidInvocationId"],
        "no such path": [404, "NotFound"],
        "init error after init": [403, "InvalidStateTransition"],
        "another host": [421, "InvalidHost"],
        "right": [202, None],
        "twice": [403, "InvalidStateTransition"],
        "error after answer": [403, "InvalidStateTransition"],
        "late": [403, "InvalidStateTransition"],
    }


@pytest.mark.parametrize(
    ("kind", "error", "text"),
    [
        ("raise", "Error.Own", "no"),
        ("raise text", "Own.Reason", "no"),
        ("no json", "Runtime.MarshalError", "Unable to marshal response: it is not JSON"),
        ("too large", "Function.ResponseSizeTooLarge", "Response payload size exceeded maximum"),
        ("hang", "Sandbox.Timedout", "Task timed out after 1.50 seconds"),
        ("exit", "Runtime.ExitError", "Runtime exited with error: exit status 4"),
        ("exits at once", "Runtime.ExitError", "Runtime exited with error: exit status 6"),
        ("init error", "Runtime.Own", "no luck"),
    ],
)
async def test_what_goes_wrong_is_told_as_lambda_does(app, kind, error, text):
    function = client(app, kind, timeout=1.5)
    async with app:
        for _ in range(2):  # and the next environment does as well
            payload = await failure(function)
            assert payload["errorType"] == error
            assert text in payload["errorMessage"]


async def test_a_command_that_never_asks_is_stopped_after_the_init_time(app, monkeypatch):
    monkeypatch.setattr(limits, "INIT_SECONDS", 0.3)
    function = client(app, "never asks")
    async with app:
        payload = await failure(function)
    assert payload["errorType"] == "Sandbox.Timedout"
    # The time is what was measured: a hair less where the clock is read late.
    assert re.search(r"Init timed out after 0\.(29|3)", payload["errorMessage"])


async def test_a_command_that_is_not_there_is_told_so(app):
    function = app.command_function("f", command=["no-such-program-anywhere"])
    async with app:
        payload = await failure(function)
    assert payload["errorType"] == "Runtime.InvalidEntrypoint"


async def test_a_command_gets_the_batches_of_a_stream(app, tmp_path):
    stream = app.stream("s", shards=1)
    function = client(app, "raise")
    app.on_stream("s", maximum_retry_attempts=0)(function)
    async with app:
        number = await stream.put("x", partition_key="k")
        while not await function.failed():
            pass
        [failed] = await function.failed()
    assert failed["record"]["KinesisBatchInfo"]["startSequenceNumber"] == number


@pytest.mark.parametrize("command", [[], "text", [1]])
def test_a_command_is_a_list_of_texts(app, command):
    with pytest.raises(InvalidParameterValue, match="command"):
        app.command_function("f", command=command)


def test_a_command_cannot_be_called_here(app):
    with pytest.raises(forebay.ForebayError, match="await its invoke"):
        client(app, "well")(None, None)


HANDLER = "def handler(event, context):\n    return [event, context.aws_request_id, context.function_name]\n"


async def test_aws_own_python_client_runs_unmodified(app, tmp_path, monkeypatch):
    (tmp_path / "python_handler.py").write_text(HANDLER + "def fails(event, context):\n    raise ValueError('no')\n")
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "awslambdaric"]
    works = app.command_function("works", command=[*command, "python_handler.handler"])
    fails = app.command_function("fails", command=[*command, "python_handler.fails"])
    missing = app.command_function("missing", command=[*command, "python_handler.missing"])
    async with app:
        event, request, name = await works.invoke({"a": [1]})
        failed = await failure(fails)
        not_there = await failure(missing)
    assert (event, len(request), name) == ({"a": [1]}, 36, "works")
    assert (failed["errorType"], failed["errorMessage"]) == ("ValueError", "no")
    assert not_there["errorType"] == "Runtime.HandlerNotFound"

"""Arguments of workflows that cannot be: each is refused as everywhere, before anything is asked of the engine."""

import math

import pytest

from forebay import InvalidParameterValue

CALLBACK = "arn:aws:states:::lambda:invoke.waitForTaskToken"


@pytest.fixture
def flow(app):
    return app.workflow("intake", {"StartAt": "Keep", "States": {"Keep": {"Type": "Pass", "End": True}}})


@pytest.fixture
def quick(app):
    return app.workflow("quick", {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}, type="EXPRESS")


@pytest.mark.parametrize("value", [{1}, math.nan, b"text", "\ud800"], ids=["set", "nan", "bytes", "surrogate"])
async def test_what_json_cannot_hold_is_refused(app, flow, quick, value):
    """A bare TypeError or ValueError came out, which `except ForebayError` does not catch."""
    calls = {
        "input": lambda: flow.start(value),
        "inputs[1]": lambda: flow.start_many([{}, {"of": value}]),
        "input ": lambda: quick.start_sync_execution(value),
        "output": lambda: app.task_success("token", value),
    }
    if value != "\ud800":  # a text is given as it is
        calls["result"] = lambda: app.durable_callback_success("id", value)
    async with app:
        for option, call in calls.items():
            with pytest.raises(InvalidParameterValue) as refused:
                await call()
            assert str(refused.value).startswith(f"{option.strip()} of type "), option
            assert "allowed is any JSON value" in str(refused.value)


async def test_what_is_no_text_is_refused_by_its_name(app, flow, quick):
    """The engine's reader answered: invalid type: integer `3`, expected a string at line 1 column 29."""
    calls = [
        ("name=3: ", lambda: flow.start({}, name=3)),
        ("name=3: ", lambda: quick.start_sync_execution({}, name=3)),
        ("name=3: ", lambda: flow.set_alias(3, 1)),
        ("description=3: ", lambda: flow.publish_version(3)),
        ("token=None: ", lambda: app.task_success(None)),
        ("token=None: ", lambda: app.task_failure(None)),
        ("token=None: ", lambda: app.task_heartbeat(None)),
        ("error=3: ", lambda: app.task_failure("token", 3)),
        ("callback_id=None: ", lambda: app.durable_callback_success(None)),
        ("callback_id=None: ", lambda: app.durable_callback_heartbeat(None)),
        ("error=None: ", lambda: app.durable_callback_failure("id", None)),
    ]
    async with app:
        for text, call in calls:
            with pytest.raises(InvalidParameterValue) as refused:
                await call()
            assert str(refused.value).startswith(text)
        with pytest.raises(InvalidParameterValue, match=r"^name=3: "):
            flow.execution(3)


@pytest.mark.parametrize("inputs", ["abc", {"a": 1}, b"abc"], ids=["text", "dict", "bytes"])
async def test_many_inputs_are_a_list(app, flow, inputs):
    """A text started an execution for each character, and a dict one for each key."""
    async with app:
        with pytest.raises(InvalidParameterValue, match=r"^inputs of type .*: allowed is a list"):
            await flow.start_many(inputs)
        assert len(await flow.start_many(iter([{}, None]))) == 2


def test_a_file_in_yaml_is_named(app, tmp_path):
    """The start said "expected value at line 1 column 1", and of which file nobody knew."""
    file = tmp_path / "order.asl.yaml"
    file.write_text("StartAt: A\nStates:\n  A:\n    Type: Succeed\n")
    with pytest.raises(InvalidParameterValue, match=r"order\.asl\.yaml': the file is not JSON, and YAML is not read"):
        app.workflow("order", file)


async def test_a_start_names_every_workflow_that_is_wrong(app):
    """It named the first one: the next was found at the next start."""
    for name in ("one", "two", "three"):
        app.workflow(name, {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": name}}})
    with pytest.raises(InvalidParameterValue, match=r"^workflow 'one': ") as refused:
        await app.start()
    assert [note.split(":")[0] for note in refused.value.__notes__] == ["and workflow 'two'", "and workflow 'three'"]


async def test_an_error_that_is_too_long_is_refused_as_aws_does(app, flow, clock):
    """It was cut without a word, where the page and AWS's model name a limit."""
    waits = {"Wait": {"Type": "Wait", "Seconds": 60, "End": True}}
    waiting = app.workflow("waiting", {"StartAt": "Wait", "States": waits})
    async with app:
        execution = await waiting.start()
        for failing in (execution.stop, lambda *given: app.task_failure("token", *given)):
            with pytest.raises(InvalidParameterValue, match=r"^error has 257 characters: allowed are at most 256$"):
                await failing("e" * 257)
            with pytest.raises(
                InvalidParameterValue, match=r"^cause has 32,769 characters: allowed are at most 32,768$"
            ):
                await failing("e", "c" * 32_769)
        await execution.stop("e" * 256, "c" * 32_768)
        described = await execution.describe()
    assert (len(described.error), len(described.cause)) == (256, 32_768)

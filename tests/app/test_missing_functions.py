"""What an app's start says of functions that its workflows call and nobody declares."""

import pytest

from forebay import App

INVOKE = "arn:aws:states:::lambda:invoke"
ARN = "arn:aws:lambda:local:000000000000:function:"


def task(resource, **fields):
    return {"Type": "Task", "Resource": resource, "End": True, **fields}


def one(state, name="A"):
    return {"StartAt": name, "States": {name: state}}


def each(state):
    return one({"Type": "Map", "ItemProcessor": one(state, "B"), "End": True})


def both(state):
    return one({"Type": "Parallel", "Branches": [one(task("${known}"), "B"), one(state, "C")], "End": True})


async def warnings(definition, caplog):
    app = App("t", store=":memory:")

    @app.function()
    async def known(event, context):
        return event

    app.workflow("flow", definition)
    async with app:
        pass
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize(
    "definition",
    [
        one(task("${chrage}")),
        one(task("${chrage}"), "Result"),
        one({"Type": "Map", "ItemProcessor": one(task("${chrage}"), "Arguments"), "End": True}, "Parameters"),
        one(task(f"{ARN}chrage:live")),
        each(task("${chrage}")),
        both(task("${chrage}")),
        one(task(INVOKE, Parameters={"FunctionName": "chrage"})),
        one(task(f"{INVOKE}.waitForTaskToken", Parameters={"FunctionName": f"{ARN}chrage", "Payload.$": "$$.Task"})),
        {**one(task(INVOKE, Arguments={"FunctionName": "chrage:1"})), "QueryLanguage": "JSONata"},
    ],
)
async def test_a_function_that_nobody_declares_is_named_at_the_start(definition, caplog):
    """A misspelt name passed the start, and each execution failed."""
    [line] = await warnings(definition, caplog)
    assert line == "workflow 'flow' calls functions that this app does not declare: chrage; tasks that call them fail"


@pytest.mark.parametrize(
    "definition",
    [
        one(task("${known}")),
        one(task(INVOKE, Parameters={"FunctionName": "known:$LATEST"})),
        one(task(INVOKE, Parameters={"FunctionName.$": "$.name"})),
        {**one(task(INVOKE, Arguments={"FunctionName": "{% $states.input.name %}"})), "QueryLanguage": "JSONata"},
        one({"Type": "Pass", "Result": task("${chrage}"), "End": True}),
    ],
)
async def test_what_is_declared_or_known_only_later_is_not_named(definition, caplog):
    assert await warnings(definition, caplog) == []

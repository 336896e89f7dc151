"""The test kit of workflows: executions that are played without an app, with what their tasks answer given."""

import asyncio
import json
import re

import pytest

from forebay import App, InvalidParameterValue
from forebay.integrations import AwsSdk, aws_sdk
from forebay.testing import Coverage, Failed, Succeeded, read_mocks, run, try_state

ORDER = {
    "StartAt": "Charge",
    "States": {
        "Charge": {
            "Type": "Task",
            "Resource": "${charge}",
            "ResultPath": "$.paid",
            "Retry": [{"ErrorEquals": ["Busy"], "IntervalSeconds": 10}],
            "Catch": [{"ErrorEquals": ["Declined"], "ResultPath": None, "Next": "Refuse"}],
            "Next": "Large",
        },
        "Large": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.total", "NumericGreaterThan": 100, "Next": "Check"}],
            "Default": "Ship",
        },
        "Check": {"Type": "Wait", "Seconds": 86400, "Next": "Ship"},
        "Ship": {
            "Type": "Task",
            "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            "End": True,
            "Parameters": {"QueueUrl": "q", "MessageBody.$": "$$.Task.Token"},
        },
        "Refuse": {"Type": "Fail", "Error": "Refused"},
    },
}


def test_an_execution_is_played_with_answers_and_its_path_is_checked():
    coverage = Coverage()
    played = run(
        ORDER,
        {"total": 500},
        tasks={"Charge": [Failed("Busy"), Succeeded("card", after=2)], "Ship": Succeeded({"shipped": True})},
        coverage=coverage,
    )
    assert (played.status, played.output, played.seconds) == ("SUCCEEDED", {"shipped": True}, 86412)
    played.assert_path("Charge", "Large", "Check", "Ship")
    with pytest.raises(AssertionError, match="Charge -> Large -> Check -> Ship; expected was Charge"):
        played.assert_path("Charge")
    assert coverage.missed(ORDER) == ["Large -> Ship", "Refuse"]
    assert played.history[0]["type"] == "ExecutionStarted"


def test_what_the_executions_of_a_distributed_map_go_through_is_covered():
    """Their events are in histories of their own, so all of their states counted as missed."""
    states = {
        "Is": {
            "Type": "Choice",
            "Choices": [{"Variable": "$", "NumericGreaterThan": 1, "Next": "Many"}],
            "Default": "Few",
        },
        "Many": {"Type": "Pass", "End": True},
        "Few": {"Type": "Pass", "End": True},
    }
    config = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    each = {"Type": "Map", "ItemProcessor": {"ProcessorConfig": config, "StartAt": "Is", "States": states}, "End": True}
    machine = {"StartAt": "Each", "States": {"Each": each}}
    coverage = Coverage()
    played = run(machine, [2, 3], coverage=coverage)
    assert [history[1]["stateEnteredEventDetails"]["name"] for history in played.child_histories] == ["Is", "Is"]
    assert coverage.missed(machine) == ["Is -> Few", "Few"]
    run(machine, [1], coverage=coverage)
    assert coverage.missed(machine) == []


def test_a_function_may_answer_and_what_it_raises_fails_the_task():
    class Declined(Exception):
        pass

    def charge(event):
        if event["total"] < 0:
            raise Declined("no")
        return event["total"]

    tasks = {"Charge": charge, "Ship": lambda event: event["MessageBody"][:2]}
    assert run(ORDER, {"total": 5}, tasks).output == "1."
    refused = run(ORDER, {"total": -1}, tasks)
    assert (refused.status, refused.error, refused.path) == ("FAILED", "Refused", ("Charge", "Refuse"))


def test_a_missing_answer_is_named():
    with pytest.raises(InvalidParameterValue, match=r"state 'Charge' calls arn:.*function:charge, and no answer"):
        run(ORDER, {"total": 5})
    with pytest.raises(InvalidParameterValue, match=r"state 'Charge' is called 2 times, and has 1 answer$"):
        run(ORDER, {"total": 5}, {"Charge": [Failed("Busy")]})


def test_a_workflow_of_an_app_is_played_as_it_is():
    app = App("played", store=":memory:")
    flow = app.workflow("w", {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}, "EXPRESS")
    assert run(flow, {"n": 1}).output == {"n": 1}


def test_the_items_of_a_distributed_map_are_given():
    definition = {
        "StartAt": "Each",
        "States": {
            "Each": {
                "Type": "Map",
                "ItemReader": {
                    "Resource": "arn:aws:states:::s3:getObject",
                    "ReaderConfig": {"InputType": "JSON"},
                    "Parameters": {"Bucket": "b", "Key": "k"},
                },
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                    "StartAt": "Double",
                    "States": {"Double": {"Type": "Task", "Resource": "${double}", "End": True}},
                },
                "End": True,
            }
        },
    }
    assert run(definition, tasks={"Double": lambda n: n * 2}, items=[1, 2, 3]).output == [2, 4, 6]


def test_mock_files_of_step_functions_local_are_read(tmp_path):
    file = tmp_path / "mocks.json"
    file.write_text(
        json.dumps(
            {
                "StateMachines": {"order": {"TestCases": {"Busy": {"Charge": "busy", "Ship": "ship"}}}},
                "MockedResponses": {
                    "busy": {"0-1": {"Throw": {"Error": "Busy", "Cause": "later"}}, "2": {"Return": "card"}},
                    "ship": {"0": {"Return": {"ok": True}}},
                },
            }
        )
    )
    played = run(ORDER, {"total": 1}, read_mocks(file, "order", "Busy"))
    assert (played.output, played.seconds) == ({"ok": True}, 30)
    with pytest.raises(InvalidParameterValue, match="a mock file with case 'Other'"):
        read_mocks(file, "order", "Other")


def test_a_state_is_tested_as_by_awss_test_state():
    state = {"Type": "Task", "Resource": "arn:aws:lambda:r:0:function:f", "InputPath": "$.a", "Next": "B"}
    assert try_state(state, {"a": {"n": 1}})["arguments"] == {"n": 1}
    told = try_state(state, {"a": {"n": 1}}, Succeeded({"m": 2}))
    assert (told["status"], json.loads(told["output"]), told["nextState"]) == ("SUCCEEDED", {"m": 2}, "B")
    failed = try_state(state, {"a": {}}, Failed("Sour", "milk"))
    assert (failed["status"], failed["error"], failed["cause"]) == ("FAILED", "Sour", "milk")
    with pytest.raises(InvalidParameterValue, match="InvalidDefinition"):
        try_state({"Type": "Task"})


def test_a_state_is_tested_with_variables_and_a_function_by_its_name():
    assert try_state({"Type": "Task", "Resource": "${charge}", "End": True})["resource"].endswith(":function:charge")
    state = {"Type": "Pass", "QueryLanguage": "JSONata", "Output": "{% $tax * 2 %}", "End": True}
    for variables in ({"tax": 21}, '{"tax": 21}'):
        assert try_state(state, variables=variables)["output"] == "42"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: try_state({"Type": "Succeed"}, stat="A"), "no field 'stat': allowed are context, mock"),
        (lambda: try_state({"Type": "Succeed"}, inspection_level="ALL"), "inspection_level='ALL'"),
        (lambda: try_state({"Type": "Succeed"}, answer={"a": 1}), "answer={'a': 1}: give Succeeded or Failed"),
        (lambda: try_state({"Type": "Succeed"}, float("nan")), "input=nan: it cannot be written as JSON"),
        (lambda: run(ORDER, items=[float("inf")]), "items=.*cannot be written as JSON"),
        (lambda: run(ORDER, items=[{1, 2}]), "items=.*cannot be written as JSON"),
        (lambda: run(ORDER, type="SLOW"), "type='SLOW'"),
        (lambda: run(ORDER, tasks={"Chrage": Succeeded()}), "no state 'Chrage': it has 'Charge'"),
        (lambda: run(ORDER, tasks={"Charge": [Failed("Busy")]}), "called 2 times, and has 1 answer$"),
        (lambda: run(ORDER, {1, 2}), "cannot be written as JSON"),
        (lambda: run(ORDER, tasks={"Charge": Succeeded({1, 2})}), "'Charge'=.*cannot be written as JSON"),
        (lambda: run(ORDER, tasks={"Charge": handler}), "give a plain function of one argument"),
        (lambda: run(ORDER, tasks={"Charge": App("t").function()(handler)}), "give a plain function of one argument"),
    ],
)
def test_what_a_test_gives_wrong_is_said_and_not_played(call, said):
    with pytest.raises(InvalidParameterValue, match=said):
        call()


async def handler(event, context):
    """A handler of an app, which a test may take for a task's answer."""


A_PASS = {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}


def test_what_cannot_be_given_is_refused():
    """A list of names was a bare TypeError, `mock` went before an answer, and an input that `start` refuses failed a state."""
    played = run(A_PASS)
    with pytest.raises(InvalidParameterValue, match=r"^states=.*: give the names one by one"):
        played.assert_path(["A"])
    with pytest.raises(InvalidParameterValue, match="answer and mock both say what the task answers"):
        try_state({"Type": "Task", "Resource": "${a}", "End": True}, {}, Succeeded(1), mock={"result": "2"})
    with pytest.raises(InvalidParameterValue, match=r"^input has 262,146 bytes: allowed are 262,144$"):
        run(A_PASS, "x" * 262_144)


def test_a_tested_state_draws_other_numbers_each_time():
    """It drew from seed 0: `States.UUID()` was the same each time."""
    state = {"Type": "Pass", "Parameters": {"id.$": "States.UUID()"}, "End": True}
    assert len({try_state(state)["output"] for _ in range(3)}) == 3


def test_a_mock_is_held_against_no_model_and_says_so():
    """`STRICT` was accepted and checked nothing."""
    state = {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "End": True}
    state["Parameters"] = {"QueueUrl": "q", "MessageBody": "b"}
    for mode in ("STRICT", "PRESENT"):
        with pytest.raises(InvalidParameterValue, match=f"fieldValidationMode {mode} is not supported"):
            try_state(state, mock={"result": '{"MessageId": 5}', "fieldValidationMode": mode})
    with pytest.raises(InvalidParameterValue, match=r"one of: \[STRICT, PRESENT, NONE\]"):
        try_state(state, mock={"result": "{}", "fieldValidationMode": "LOOSE"})
    for more in ({}, {"fieldValidationMode": "NONE"}):
        assert try_state(state, mock={"result": '{"MessageId": 5}', **more})["status"] == "SUCCEEDED"
    function = {"Type": "Task", "Resource": "${charge}", "End": True}
    assert try_state(function, mock={"result": "1", "fieldValidationMode": "STRICT"})["output"] == "1"


def test_a_mock_file_says_what_it_has(tmp_path):
    """It said what it has not, and nothing of what it has."""
    file = tmp_path / "mocks.json"
    cases = {"Busy": {"Charge": "Later"}}
    file.write_text(json.dumps({"StateMachines": {"Order": {"TestCases": cases}}, "MockedResponses": {"Now": {}}}))
    for machine, case, told in (("Ordr", "Busy", "'Order'"), ("Order", "Bsy", "'Busy'"), ("Order", "Busy", "'Now'")):
        with pytest.raises(InvalidParameterValue, match=f"it has no .*, but {told}$"):
            read_mocks(file, machine, case)


def calls(service, **parameters):
    task = {"Type": "Task", "Resource": f"arn:aws:states:::{service}", "Parameters": parameters, "End": True}
    return {"StartAt": "A", "States": {"A": task}}


@pytest.mark.parametrize(
    "definition",
    [
        calls("sqs:sendMesage", QueueUrl="q", MessageBody="b"),
        calls("sqs:sendMessage.sync", QueueUrl="q", MessageBody="b"),
        calls("sqs:sendMessage", QueueUrl="q"),
        calls("sqs:sendMessage", QueueUrl="q", MessageBody="b", Foo=1),
        calls("dynamodb:putItem", TableName="t"),
        calls("ecs:runTask.sync"),
        calls("http:invoke", Method="GET"),
    ],
)
async def test_what_no_app_starts_with_is_not_played(definition):
    """It was played: the test was green, and the app did not start."""
    app = App("t", store=":memory:")
    flow = app.workflow("w", definition)
    with pytest.raises(InvalidParameterValue) as refused:
        await app.start()
    text = str(refused.value).removeprefix("workflow 'w': ")
    for machine in (definition, flow):
        with pytest.raises(InvalidParameterValue) as unplayed:
            run(machine, tasks={"A": Succeeded(1)})
        assert str(unplayed.value) == text


def test_a_service_that_a_test_alone_has_is_played():
    definition = calls("ecs:runTask.sync", Cluster="c")
    for services in (["ecs:runTask.sync"], ["arn:aws:states:::ecs:runTask.sync"], ["ecs:*"]):
        played = run(definition, tasks={"A": Succeeded({"Tasks": []})}, services=services)
        assert played.output == {"Tasks": []}
    with pytest.raises(InvalidParameterValue, match="give a list, such as"):
        run(definition, tasks={"A": Succeeded(1)}, services="ecs:runTask.sync")
    with pytest.raises(InvalidParameterValue, match="give integrations, and names"):
        run(definition, tasks={"A": Succeeded(1)}, services=[5])


def test_the_integrations_of_an_app_are_played():
    class Oven:
        def __init__(self):
            self.resources = ("oven:bake.sync",)
            self.parameters = {"oven:bake": ["Bread"]}

        async def call(self, call):
            return None

    definition, wrong = calls("oven:bake.sync", Bread="rye"), calls("oven:bake.sync", Cake="plum")
    app = App("t", store=":memory:")
    app.integrate(Oven())
    assert run(app.workflow("w", definition), tasks={"A": Succeeded(1)}).output == 1
    assert run(definition, tasks={"A": Succeeded(1)}, services=[Oven()]).output == 1
    for machine, services in ((app.workflow("v", wrong), []), (wrong, [Oven()])):
        with pytest.raises(InvalidParameterValue, match="Cake"):
            run(machine, tasks={"A": Succeeded(1)}, services=services)


def test_a_call_of_awss_sdk_that_there_is_not_is_refused_where_it_is_written():
    """Both passed a test and the start of the app, and failed when they were called."""
    pytest.importorskip("boto3")
    for service, said in (
        ("s3:getObjectt", "aws-sdk:s3 has no operation 'getObjectt'"),
        ("s33:getObject", "by the name 's33'"),
    ):
        definition = calls(f"aws-sdk:{service}")
        with pytest.raises(InvalidParameterValue, match=f"^/States/A/Resource: .*{said}$"):
            run(definition, tasks={"A": Succeeded({})})
        with pytest.raises(InvalidParameterValue, match=f"^workflow 'w': /States/A/Resource: .*{said}$"):
            App("t", store=":memory:").workflow("w", definition)
    for service in (
        "s3:getObject",
        "sfn:startExecution",
        "elasticloadbalancingv2:describeRules",
        "bedrockruntime:invokeModel",
    ):
        assert run(calls(f"aws-sdk:{service}"), tasks={"A": Succeeded(1)}).output == 1
    assert run(calls("aws-sdk:s33:get"), tasks={"A": Succeeded(1)}, services=["aws-sdk:s33:get"]).output == 1
    # All of them were read for it, and stayed in memory.
    assert len(aws_sdk._loader()._cache) < 100


class Newer:
    """Calls operations that are newer than boto3."""

    def __init__(self, *resources):
        self.resources = resources

    async def call(self, call):
        return None


def test_a_call_that_a_given_integration_makes_is_not_looked_up_in_boto3():
    """An app took each of them, and a test of the same definition was refused."""
    pytest.importorskip("boto3")
    definition, tasks = calls("aws-sdk:s3:newerThanBoto"), {"A": Succeeded(1)}
    for one in (AwsSdk(lambda _: None), Newer("aws-sdk:*"), Newer("aws-sdk:s3:newerThanBoto"), "aws-sdk:s3:*"):
        assert run(definition, tasks=tasks, services=[one]).output == 1
    for one in (AwsSdk(), Newer("aws-sdk:s3:other"), "aws-sdk:ec2:*"):
        with pytest.raises(InvalidParameterValue, match="aws-sdk:s3 has no operation 'newerThanBoto'"):
            run(definition, tasks=tasks, services=[one])


@pytest.mark.parametrize("name", ["States.HeartbeatTimeout", "States.Timeout"])
async def test_a_heartbeat_that_does_not_come_is_played_as_an_app_has_it(name, forebay_app, forebay_clock):
    """The name that caught it in an app did not catch it in a test."""
    activity = forebay_app.activity("a")
    state = {"Type": "Task", "Resource": activity.arn, "HeartbeatSeconds": 10, "End": True}
    state["Catch"] = [{"ErrorEquals": [name], "Next": "Late"}]
    machine = {"StartAt": "A", "States": {"A": state, "Late": {"Type": "Pass", "End": True}}}
    played = run(machine, tasks={"A": Failed("States.HeartbeatTimeout", after=64)})
    assert (played.output, played.seconds) == ({"Error": "States.Timeout", "Cause": ""}, 64)
    flow = forebay_app.workflow("w", machine)
    async with forebay_app:
        result = asyncio.ensure_future((await flow.start()).result())
        task = asyncio.ensure_future(activity.get_task("ann", wait=1))
        await forebay_clock.advance(12)
        assert await task is not None
        assert await result == played.output


def test_a_durable_function_is_no_machine_to_be_played():
    """It said that state 'Run' calls forebay: the user wrote neither."""
    sdk = pytest.importorskip("aws_durable_execution_sdk_python")
    app = App("t", store=":memory:")
    flow = app.durable_function()(sdk.durable_execution(nothing))
    with pytest.raises(InvalidParameterValue, match="test it in an app on the virtual clock"):
        run(flow)


def nothing(event, context):
    """A handler of a durable function."""


@pytest.mark.parametrize("resource", ["f", "${f.Arn}"])
async def test_a_resource_that_is_no_arn_is_told_with_how_a_function_is_written(resource):
    """It said "Value is not a valid resource ARN", and not which value."""
    definition = {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": resource, "End": True}}}
    app = App("t", store=":memory:")
    app.workflow("w", definition)
    said = re.escape(f'; none is {resource!r}: write "${{f}}" for the function f')
    with pytest.raises(InvalidParameterValue, match=said):
        await app.start()
    with pytest.raises(InvalidParameterValue, match=said):
        run(definition)


def test_a_substitution_is_a_text_or_has_an_arn():
    definition = {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "${F}", "End": True}}}
    app = App("t", store=":memory:")
    with pytest.raises(InvalidParameterValue, match=r"substitutions=\{'F': 5\}: give a text, or a function"):
        app.workflow("w", definition, substitutions={"F": 5})
    definition["States"]["A"]["Resource"] = app.function()(handler)
    with pytest.raises(InvalidParameterValue, match=r'write "\$\{name\}" for what `substitutions` gives'):
        app.workflow("w", definition)

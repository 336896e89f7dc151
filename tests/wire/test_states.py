"""A day's work with Step Functions by boto3."""

import json
import subprocess
import threading
import time

import pytest
from botocore.exceptions import ClientError
from wire_app import served

PASS = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Pass", "End": True}}})
WAIT = json.dumps({"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}})
ROLE = "arn:aws:iam::123456789012:role/r"


@pytest.fixture
def states(wire):
    return wire.client("stepfunctions", inject_host_prefix=False)


def ended(states, execution):
    """Wait until an execution has ended."""
    ends = time.monotonic() + 100
    while (described := states.describe_execution(executionArn=execution))["status"] == "RUNNING":
        assert time.monotonic() < ends
        time.sleep(0.02)
    return described


def test_an_execution_runs_to_its_end_and_has_a_history(states):
    machine = states.create_state_machine(name="copy", definition=PASS, roleArn=ROLE)["stateMachineArn"]
    assert machine == "arn:aws:states:eu-central-1:123456789012:stateMachine:copy"
    execution = states.start_execution(stateMachineArn=machine, name="one", input='{"a": 1}')["executionArn"]
    described = ended(states, execution)
    assert (described["status"], json.loads(described["output"])) == ("SUCCEEDED", {"a": 1})
    history = states.get_execution_history(executionArn=execution)["events"]
    kinds = ["ExecutionStarted", "PassStateEntered", "PassStateExited", "ExecutionSucceeded"]
    assert [event["type"] for event in history] == kinds
    assert json.loads(history[0]["executionStartedEventDetails"]["input"]) == {"a": 1}
    turned = states.get_execution_history(executionArn=execution, reverseOrder=True, maxResults=1)
    assert [event["type"] for event in turned["events"]] == ["ExecutionSucceeded"]
    assert [one["name"] for one in states.list_executions(stateMachineArn=machine)["executions"]] == ["one"]
    with pytest.raises(states.exceptions.ExecutionAlreadyExists):
        states.start_execution(stateMachineArn=machine, name="one", input="{}")


@pytest.mark.parametrize("reversed_", [False, True])
@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_page_of_a_history_has_no_more_events_than_were_asked_for(states, most, reversed_):
    steps = {"First": {"Type": "Pass", "Next": "Last"}, "Last": {"Type": "Pass", "End": True}}
    definition = json.dumps({"StartAt": "First", "States": steps})
    machine = states.create_state_machine(name="two", definition=definition, roleArn=ROLE)["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=machine)["executionArn"]
    ended(states, execution)
    asked = {"executionArn": execution, "reverseOrder": reversed_}
    whole = [event["id"] for event in states.get_execution_history(**asked)["events"]]
    assert sorted(whole) == [1, 2, 3, 4, 5, 6]
    pages = states.get_paginator("get_execution_history").paginate(**asked, PaginationConfig={"PageSize": most})
    pages = [[event["id"] for event in page["events"]] for page in pages]
    assert pages == [whole[at : at + most] for at in range(0, 6, most)]


def test_events_that_come_between_two_pages_of_a_reversed_history_repeat_none(states):
    machine = states.create_state_machine(name="wait", definition=WAIT, roleArn=ROLE)["stateMachineArn"]
    asked = {"executionArn": states.start_execution(stateMachineArn=machine)["executionArn"], "reverseOrder": True}
    newest = states.get_execution_history(**asked, maxResults=1)
    states.stop_execution(executionArn=asked["executionArn"])
    rest = states.get_execution_history(**asked, nextToken=newest["nextToken"])
    ids = [event["id"] for event in newest["events"] + rest["events"]]
    assert ids == list(range(len(ids), 0, -1)) and len(ids) > 1


def test_an_execution_is_stopped(states):
    machine = states.create_state_machine(name="wait", definition=WAIT, roleArn=ROLE)["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=machine)["executionArn"]
    states.stop_execution(executionArn=execution, error="Stopped", cause="by a test")
    described = states.describe_execution(executionArn=execution)
    assert (described["status"], described["error"], described["cause"]) == ("ABORTED", "Stopped", "by a test")
    states.update_state_machine(stateMachineArn=machine, definition=PASS)
    assert json.loads(states.describe_state_machine(stateMachineArn=machine)["definition"]) == json.loads(PASS)
    assert [one["name"] for one in states.list_state_machines()["stateMachines"]] == ["wait"]


def test_errors_are_those_of_aws(states):
    with pytest.raises(states.exceptions.InvalidDefinition):
        states.create_state_machine(name="bad", definition='{"States": {}}', roleArn=ROLE)
    # What is no JSON has no place in it: the text ended with " at ".
    with pytest.raises(
        states.exceptions.InvalidDefinition, match=r"Invalid State Machine Definition: '[^']*[^ ]'$"
    ) as told:
        states.create_state_machine(name="bad", definition="{", roleArn=ROLE)
    assert not told.value.response["Error"]["Message"].endswith("at '")
    missing = "arn:aws:states:eu-central-1:123456789012:stateMachine:none"
    with pytest.raises(states.exceptions.StateMachineDoesNotExist):
        states.start_execution(stateMachineArn=missing)
    with pytest.raises(states.exceptions.InvalidArn):
        states.describe_execution(executionArn="none")
    with pytest.raises(states.exceptions.InvalidToken):
        states.send_task_success(taskToken="none", output="{}")
    found = states.validate_state_machine_definition(definition='{"StartAt": "A", "States": {}}')
    assert found["result"] == "FAIL" and found["diagnostics"]
    with pytest.raises(states.exceptions.InvalidLoggingConfiguration, match="exactly one Log Destination"):
        states.create_state_machine(name="l", definition=PASS, roleArn=ROLE, loggingConfiguration={"level": "ALL"})
    with pytest.raises(states.exceptions.InvalidEncryptionConfiguration):
        key = {"type": "CUSTOMER_MANAGED_KMS_KEY", "kmsKeyId": "k"}
        states.create_state_machine(name="l", definition=PASS, roleArn=ROLE, encryptionConfiguration=key)


def test_a_version_and_an_alias_start_what_they_lead_to(states):
    made = states.create_state_machine(
        name="copy", definition=PASS, roleArn=ROLE, publish=True, versionDescription="first"
    )
    machine, first = made["stateMachineArn"], made["stateMachineVersionArn"]
    states.update_state_machine(stateMachineArn=machine, definition=WAIT)
    described = states.describe_state_machine(stateMachineArn=first)
    assert (described["definition"], described["description"]) == (PASS, "first")
    route = [{"stateMachineVersionArn": first, "weight": 100}]
    alias = states.create_state_machine_alias(name="live", routingConfiguration=route)["stateMachineAliasArn"]
    execution = states.start_execution(stateMachineArn=alias)["executionArn"]
    ran = ended(states, execution)
    assert (ran["stateMachineVersionArn"], ran["stateMachineAliasArn"]) == (first, alias)
    assert states.describe_state_machine_for_execution(executionArn=execution)["definition"] == PASS
    other = states.start_execution(stateMachineArn=machine)["executionArn"]
    listed = [states.list_executions(stateMachineArn=one)["executions"] for one in (machine, first, alias)]
    assert [[one["executionArn"] for one in page] for page in listed] == [[other, execution], [execution], [execution]]
    states.delete_state_machine(stateMachineArn=machine)
    with pytest.raises(states.exceptions.StateMachineDoesNotExist):
        states.list_executions(stateMachineArn=machine)


def test_a_worker_asks_for_tasks_of_an_activity(states):
    activity = states.create_activity(name="paint", tags=[{"key": "team", "value": "a"}])["activityArn"]
    states.tag_resource(resourceArn=activity, tags=[{"key": "team", "value": "b"}, {"key": "since", "value": "1"}])
    states.untag_resource(resourceArn=activity, tagKeys=["since"])
    assert states.list_tags_for_resource(resourceArn=activity)["tags"] == [{"key": "team", "value": "b"}]
    definition = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": activity, "End": True}}})
    machine = states.create_state_machine(name="house", definition=definition, roleArn=ROLE)["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=machine, input='{"wall": 1}')["executionArn"]
    task = states.get_activity_task(activityArn=activity, workerName="bob")
    assert json.loads(task["input"]) == {"wall": 1}
    states.send_task_failure(taskToken=task["taskToken"], error="Wet", cause="rain")
    failed = ended(states, execution)
    assert (failed["error"], failed["redriveStatus"]) == ("Wet", "REDRIVABLE")
    states.redrive_execution(executionArn=execution)
    task = states.get_activity_task(activityArn=activity)
    states.send_task_success(taskToken=task["taskToken"], output='"dry"')
    assert (ended(states, execution)["output"], ended(states, execution)["redriveCount"]) == ('"dry"', 1)
    assert [one["name"] for one in states.list_activities()["activities"]] == ["paint"]


def test_what_happens_is_logged_to_a_group(wire, states):
    logs = wire.client("logs")
    logs.create_log_group(logGroupName="flows")
    [group] = logs.describe_log_groups()["logGroups"]
    destination = [{"cloudWatchLogsLogGroup": {"logGroupArn": group["arn"]}}]
    for kind in ("STANDARD", "EXPRESS"):
        logging = {"level": "ALL", "includeExecutionData": kind == "EXPRESS", "destinations": destination}
        made = states.create_state_machine(
            name=kind.lower(), definition=PASS, roleArn=ROLE, type=kind, loggingConfiguration=logging
        )
        assert states.describe_state_machine(stateMachineArn=made["stateMachineArn"])["loggingConfiguration"] == logging
        states.start_execution(stateMachineArn=made["stateMachineArn"], input='{"a": 1}')
    ends = time.monotonic() + 100
    while len(told := logs.filter_log_events(logGroupName="flows")["events"]) < 8:
        assert time.monotonic() < ends, told
        time.sleep(0.02)
    streams = [one["logStreamName"] for one in logs.describe_log_streams(logGroupName="flows")["logStreams"]]
    assert sorted(streams) == ["states/express", "states/standard"]
    events = {name: [] for name in streams}
    for one in told:
        events[one["logStreamName"]].append(json.loads(one["message"]))
    kinds = ["ExecutionStarted", "PassStateEntered", "PassStateExited", "ExecutionSucceeded"]
    assert [event["type"] for event in events["states/express"]] == kinds
    assert [event["type"] for event in events["states/standard"]] == kinds
    assert events["states/express"][0]["details"]["input"] == '{"a": 1}'
    assert "input" not in events["states/standard"][0]["details"]


def test_a_state_is_tested_with_a_mock_and_with_its_call(wire, states):
    queue = wire.client("sqs").create_queue(QueueName="out")["QueueUrl"]
    parameters = {"QueueUrl": queue, "MessageBody.$": "$.text"}
    state = {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "Parameters": parameters, "End": True}
    told = states.test_state(definition=json.dumps(state), roleArn=ROLE, input='{"text": "hello"}')
    assert told["status"] == "SUCCEEDED" and "MessageId" in told["output"]
    [message] = wire.client("sqs").receive_message(QueueUrl=queue)["Messages"]
    assert message["Body"] == "hello"
    mock = {"errorOutput": {"error": "Sqs.Gone", "cause": "it is"}}
    told = states.test_state(definition=json.dumps(state), roleArn=ROLE, input='{"text": "hello"}', mock=mock)
    assert (told["status"], told["error"]) == ("FAILED", "Sqs.Gone")
    drawing = json.dumps({"Type": "Pass", "Parameters": {"id.$": "States.UUID()"}, "End": True})
    assert len({states.test_state(definition=drawing, roleArn=ROLE)["output"] for _ in range(3)}) == 3
    passing = json.dumps({"Type": "Pass", "Parameters": {"b.$": "$.a"}, "Next": "Later"})
    told = states.test_state(definition=passing, roleArn=ROLE, input='{"a": 1}', inspectionLevel="DEBUG")
    assert (told["nextState"], json.loads(told["inspectionData"]["afterParameters"])) == ("Later", {"b": 1})


def mapped(states, name, processor, **fields):
    """Run a distributed Map over three items; give the ARN of its machine, its execution and its run."""
    config = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    each = {"Type": "Map", "ItemProcessor": {"ProcessorConfig": config, **processor}, "End": True, **fields}
    definition = json.dumps({"StartAt": "Each", "States": {"Each": each}})
    machine = states.create_state_machine(name=name, definition=definition, roleArn=ROLE)["stateMachineArn"]
    arn = states.start_execution(stateMachineArn=machine, input="[1, 2, 3]")["executionArn"]
    execution = ended(states, arn)
    [run] = states.list_map_runs(executionArn=arn)["mapRuns"]
    return machine, execution, run


def test_a_run_of_a_distributed_map_is_described(states):
    _, execution, run = mapped(states, "each", json.loads(PASS), MaxConcurrency=2)
    assert execution["output"] == "[1,2,3]"
    told = states.describe_map_run(mapRunArn=run["mapRunArn"])
    told_of = (told["status"], told["executionArn"], told["maxConcurrency"])
    assert told_of == ("SUCCEEDED", execution["executionArn"], 2)
    assert (told["itemCounts"]["succeeded"], told["executionCounts"]["total"]) == (3, 3)
    with pytest.raises(states.exceptions.ResourceNotFound):
        states.describe_map_run(mapRunArn=run["mapRunArn"] + "0")


def test_items_and_children_of_a_run_are_counted_apart(states):
    """A batch was one item."""
    _, execution, run = mapped(states, "batches", json.loads(PASS), ItemBatcher={"MaxItemsPerBatch": 2})
    assert execution["output"] == '[{"Items":[1,2]},{"Items":[3]}]'
    told = states.describe_map_run(mapRunArn=run["mapRunArn"])
    counts = [(told[of]["succeeded"], told[of]["total"]) for of in ("itemCounts", "executionCounts")]
    assert counts == [(3, 3), (2, 2)]


def test_the_children_of_a_distributed_map_are_listed_and_described(states):
    """Which item failed, and why, nobody could ask: mapRunArn was refused, and a child's ARN was unknown."""
    check = {"Type": "Choice", "Choices": [{"Variable": "$", "NumericEquals": 2, "Next": "No"}], "Default": "Yes"}
    steps = {"Check": check, "No": {"Type": "Fail", "Error": "Odd", "Cause": "it is 2"}, "Yes": {"Type": "Succeed"}}
    processor = {"StartAt": "Check", "States": steps}
    machine, _, run = mapped(states, "items", processor, Label="Each", ToleratedFailureCount=1)
    pages = states.get_paginator("list_executions").paginate(
        mapRunArn=run["mapRunArn"], PaginationConfig={"PageSize": 2}
    )
    children = [one for page in pages for one in page["executions"]]
    assert [one["status"] for one in children] == ["SUCCEEDED", "FAILED", "SUCCEEDED"]
    [failed] = states.list_executions(mapRunArn=run["mapRunArn"], statusFilter="FAILED")["executions"]
    assert (failed["mapRunArn"], failed["stateMachineArn"]) == (run["mapRunArn"], f"{machine}/Each")
    told = states.describe_execution(executionArn=failed["executionArn"])
    assert (told["error"], told["cause"], told["input"]) == ("Odd", "it is 2", "2")
    assert told["mapRunArn"] == run["mapRunArn"]
    # It said REDRIVABLE, and a redrive of it is refused.
    assert told["redriveStatus"] == "REDRIVABLE_BY_MAP_RUN"
    with pytest.raises(states.exceptions.ExecutionNotRedrivable):
        states.redrive_execution(executionArn=failed["executionArn"])
    events = states.get_execution_history(executionArn=failed["executionArn"])["events"]
    assert events[-1]["type"] == "ExecutionFailed"
    of = states.describe_state_machine_for_execution(executionArn=failed["executionArn"])
    assert (of["mapRunArn"], of["label"], of["stateMachineArn"]) == (run["mapRunArn"], "Each", machine)
    with pytest.raises(ClientError, match="Must provide a State Machine ARN or Map Run ARN"):
        states.list_executions(mapRunArn=run["mapRunArn"], stateMachineArn=machine)
    with pytest.raises(states.exceptions.ResourceNotFound):
        states.list_executions(mapRunArn=run["mapRunArn"] + "0")
    with pytest.raises(states.exceptions.ExecutionDoesNotExist):
        states.describe_execution(executionArn=failed["executionArn"].rpartition(":")[0] + ":9")


def test_an_express_execution_is_waited_for(states):
    machine = states.create_state_machine(name="fast", definition=PASS, roleArn=ROLE, type="EXPRESS")["stateMachineArn"]
    told = states.start_sync_execution(stateMachineArn=machine, input='{"a": 1}', name="one")
    assert (told["status"], json.loads(told["output"]), told["name"]) == ("SUCCEEDED", {"a": 1}, "one")
    assert told["billingDetails"]["billedMemoryUsedInMB"] == 64
    with pytest.raises(states.exceptions.StateMachineTypeNotSupported):
        states.list_executions(stateMachineArn=machine)
    with pytest.raises(states.exceptions.InvalidArn, match="Resource type not valid in this context: express"):
        states.describe_execution(executionArn=told["executionArn"])


def test_a_state_machine_is_deleted_whose_executions_that_run_stand_behind_many_that_have_ended(states):
    """Only the first page was looked at, which 4 MiB of others filled: after 33 s the answer was an error it does not have."""
    choice = {"Variable": "$.waits", "IsPresent": True, "Next": "Wait"}
    steps = {"Which": {"Type": "Choice", "Choices": [choice], "Default": "Done"}, "Done": {"Type": "Succeed"}}
    steps["Wait"] = {"Type": "Wait", "Seconds": 600, "End": True}
    definition = json.dumps({"StartAt": "Which", "States": steps})
    machine = states.create_state_machine(name="many", definition=definition, roleArn=ROLE)["stateMachineArn"]
    waits = states.start_execution(stateMachineArn=machine, input='{"waits": true}')["executionArn"]
    text = json.dumps({"text": "x" * 250_000})
    others = [states.start_execution(stateMachineArn=machine, input=text)["executionArn"] for _ in range(20)]
    ended(states, others[-1])
    listed = states.list_executions(stateMachineArn=machine, statusFilter="RUNNING", maxResults=10)
    assert [one["executionArn"] for one in listed["executions"]] == [waits]
    states.delete_state_machine(stateMachineArn=machine)
    assert states.list_state_machines()["stateMachines"] == []


def until_not_full(call):
    """Call until the store has noticed that there is room."""
    for _ in range(100):
        try:
            return call()
        except ClientError as error:
            if "full" not in str(error):
                raise
        time.sleep(0.2)
    return call()


@pytest.fixture
def small_disk(tmp_path):
    """Give a file system of 16 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_state_machine_is_deleted_when_a_full_disk_has_room_again(make_app, small_disk):
    """On a full disk the call never ended: no execution could be stopped, and it looked for more of them again and again."""
    with served(make_app(small_disk / "store")) as wire:
        states, sqs = wire.client("stepfunctions", inject_host_prefix=False), wire.client("sqs")
        machine = states.create_state_machine(name="wait", definition=WAIT, roleArn=ROLE)["stateMachineArn"]
        execution = states.start_execution(stateMachineArn=machine)["executionArn"]
        queue = sqs.create_queue(QueueName="filling")["QueueUrl"]
        for size in (200_000, 2_000, 1):
            with pytest.raises(ClientError, match="full"):
                for _ in range(10_000):
                    sqs.send_message(QueueUrl=queue, MessageBody="x" * size)
        with pytest.raises(ClientError, match="full"):
            states.delete_state_machine(stateMachineArn=machine)
        assert states.describe_execution(executionArn=execution)["status"] == "RUNNING"
        sqs.delete_queue(QueueUrl=queue)
        until_not_full(lambda: states.delete_state_machine(stateMachineArn=machine))
        assert states.list_state_machines()["stateMachines"] == []


def test_pages_of_a_long_history_follow_each_other_either_way(states):
    """Each page of a reversed one read the whole history. And a token was a number, which a client could write itself."""
    steps = {f"s{number}": {"Type": "Pass", "Next": f"s{number + 1}"} for number in range(99)}
    definition = json.dumps({"StartAt": "s0", "States": {**steps, "s99": {"Type": "Pass", "End": True}}})
    machine = states.create_state_machine(name="long", definition=definition, roleArn=ROLE)["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=machine)["executionArn"]
    ended(states, execution)
    for is_reversed in (False, True):
        asked = {"executionArn": execution, "reverseOrder": is_reversed}
        for size in (7, 50, 202, 1000):
            pages = states.get_paginator("get_execution_history").paginate(**asked, PaginationConfig={"PageSize": size})
            ids = [event["id"] for page in pages for event in page["events"]]
            assert ids == sorted(range(1, 203), reverse=is_reversed)
        token = states.get_execution_history(**asked, maxResults=7)["nextToken"]
        for wrong in ("7", token[1:], token + "A"):
            with pytest.raises(states.exceptions.InvalidToken):
                states.get_execution_history(**asked, nextToken=wrong)
        with pytest.raises(states.exceptions.InvalidToken):
            states.get_execution_history(executionArn=execution, reverseOrder=not is_reversed, nextToken=token)


def test_expressions_of_a_tested_state_have_a_second_together_and_nobody_waits(states, wire):
    """Each of any number had a second, and all other clients waited."""
    slow = "{% $count($map([1..100000], function($x){$x*$x*$x})) %}"
    output = {f"x{number}": slow for number in range(400)}
    state = {"Type": "Pass", "QueryLanguage": "JSONata", "Output": output, "End": True}
    told = []
    asking = threading.Thread(target=lambda: told.append(states.test_state(definition=json.dumps(state), input="{}")))
    sqs, answers = wire.client("sqs"), 0
    asking.start()
    while asking.is_alive():
        sqs.list_queues()
        answers += 1
    asking.join()
    assert (told[0]["status"], told[0]["error"]) == ("FAILED", "States.QueryEvaluationError")
    assert answers > 5


def test_a_machine_that_a_client_makes_and_leaves_has_its_tags_or_is_not_there(states, wire):
    """Tags came in a commit of their own. The same creation again is no mistake, and left it without them."""
    from test_sqs_settings import hang_up

    tags, arn = [{"key": "team", "value": "a"}], "arn:aws:states:eu-central-1:123456789012:stateMachine"
    for number in range(10):
        asked = {"name": f"m{number}", "definition": PASS, "roleArn": ROLE, "tags": tags}
        hang_up(wire, "AWSStepFunctions.CreateStateMachine", asked, service="states")
        states.create_state_machine(**asked)
        assert states.list_tags_for_resource(resourceArn=f"{arn}:m{number}")["tags"] == tags

"""A day's work with Step Functions by boto3."""

import json
import time

import pytest
from botocore.exceptions import ClientError

PASS = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Pass", "End": True}}})
WAIT = json.dumps({"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}})
ROLE = "arn:aws:iam::123456789012:role/r"


@pytest.fixture
def states(wire):
    return wire.client("stepfunctions")


def ended(states, execution):
    """Wait until an execution has ended."""
    ends = time.monotonic() + 20
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
    missing = "arn:aws:states:eu-central-1:123456789012:stateMachine:none"
    with pytest.raises(states.exceptions.StateMachineDoesNotExist):
        states.start_execution(stateMachineArn=missing)
    with pytest.raises(states.exceptions.InvalidArn):
        states.describe_execution(executionArn="none")
    with pytest.raises(states.exceptions.InvalidToken):
        states.send_task_success(taskToken="none", output="{}")
    found = states.validate_state_machine_definition(definition='{"StartAt": "A", "States": {}}')
    assert found["result"] == "FAIL" and found["diagnostics"]
    with pytest.raises(ClientError, match="loggingConfiguration"):
        states.create_state_machine(name="l", definition=PASS, roleArn=ROLE, loggingConfiguration={"level": "ALL"})

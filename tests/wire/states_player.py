"""Carries out a recorded scenario of Step Functions by boto3: what the recording left out is put in again."""

import json
import re
import sys
import time
from pathlib import Path

from botocore.exceptions import ClientError, ParamValidationError

sys.path.insert(0, str(Path(__file__).parents[1] / "flow"))
from event_calls import ACCOUNT, REGION, fits, plain
from states_internal import FIELDS_OF_THE_WIRE, is_of_the_wire

ARN = f"arn:aws:states:{REGION}:{ACCOUNT}"
GROUP = "log-group"
ANY = (
    "snf_role_arn|sfn_role_arn|entered-time|activity_arn|activity_name|creation-date|datetime|start-date|start-time|stop-date|timestamp|date|"
    "sqs_queue_url|state_machine_alias_name|sm_nonexistent_arn|invalid_execution_arn|log_group_name|requestId|RequestId|"
    "x-amzn-RequestId|X-Amzn-Trace-Id"
)
"""Words of recordings that stand for any text."""
READS = ("describe", "list", "get")
ENDS_S = 60


def wanted(value, name=""):
    """Give what is recorded with its placeholders in one form, and without what differs from run to run."""
    if isinstance(value, dict):
        left_out = ("SdkHttpMetadata", "SdkResponseMetadata", "ResponseMetadata", "billedDurationInMilliseconds")
        return {key: wanted(one, key) for key, one in value.items() if key not in left_out}
    if isinstance(value, list):
        return [wanted(one) for one in value]
    if isinstance(value, str) and value.startswith('{"errorMessage"'):
        error = json.loads(value)  # its stack is that of the function that was recorded
        return {name: error[name] for name in ("errorMessage", "errorType")}
    if isinstance(value, str) and re.fullmatch(ANY, value):
        return "timestamp"  # which `fits` takes for anything
    if isinstance(value, str):
        return re.sub(rf"(?<![\w<-])({ANY})(?![\w>-])", "<any>", value)
    return value


def error_of(step):
    """Give the recorded error of a step: a code and a message."""
    error = step["error"]
    if isinstance(error, dict):
        return error["Error"]
    found = re.fullmatch(r"An error occurred \((\w+)\) when calling the \w+ operation: (.*)", error, re.DOTALL)
    return {"Code": found[1], "Message": found[2]} if found else {"Code": "ParamValidation", "Message": error}


class Player:
    """Carries out the calls of one scenario."""

    def __init__(self, wire, trace, states=None):
        self.steps, self.id = trace["steps"], trace["id"]
        self.clients = {
            name: wire.client(name, region=REGION, inject_host_prefix=False)
            for name in ("stepfunctions", "sqs", "logs")
        }
        if states is not None:
            self.clients["stepfunctions"] = states
        self.is_internal, self.passed_over = states is not None, []
        self.clients["logs"].create_log_group(logGroupName=GROUP)
        self.answers = {}

    def differs(self):
        """Carry the scenario out; the first step that is answered otherwise."""
        for number in self.order():
            step = self.steps[number]
            if self.is_internal and "error" in step and is_of_the_wire(error_of(step)):
                self.passed_over.append(number)
                continue
            ends = time.monotonic() + ENDS_S
            while True:
                answer = self.play(number, step)
                is_read = step["operation"].startswith(READS) and "error" not in step
                if self.fits(step, answer) and not self.is_early(number, answer):
                    break
                if not is_read or time.monotonic() > ends:
                    return f"step {number} {step['operation']}: {json.dumps(answer)[:700]}"
                time.sleep(0.05)
            self.answers[number] = answer
        return None

    def order(self):
        """Give the numbers of the steps: what answers a task was recorded before the task began."""
        starts = [number for number, step in enumerate(self.steps) if step["operation"] == "start_execution"]
        tokens = [number for number, step in enumerate(self.steps) if "TaskToken" in json.dumps(step["params"])]
        numbers = list(range(len(self.steps)))
        if (
            tokens
            and starts
            and starts[0] > tokens[0]
            and self.steps[starts[0] - 1]["operation"] == "create_state_machine"
        ):
            first = [0, starts[0] - 1, starts[0]]
            return first + [number for number in numbers if number not in first]
        return numbers

    def is_early(self, number, answer):
        """Tell whether an execution that a step waits for runs still."""
        step = self.steps[number]
        if (
            "answer" in step
            or "error" in step
            or step["operation"]
            not in (
                "get_execution_history",
                "describe_execution",
                "receive_message",
            )
        ):
            return False
        if step["operation"] == "receive_message":
            return not answer.get("Messages")
        params = self.params(step["params"])
        self.fill(number, step, params)
        arn = params["executionArn"]
        is_stopped = any(
            later["operation"] == "stop_execution" and self.params(later["params"]).get("executionArn") == arn
            for later in self.steps[number:]
        )
        status = self.clients["stepfunctions"].describe_execution(executionArn=arn)["status"]
        return status == "RUNNING" and not is_stopped

    def fits(self, step, answer):
        is_error = set(answer) == {"Error"}
        if "error" in step:
            return is_error and fits(wanted(error_of(step)), answer["Error"])
        expected = step.get("answer")
        if self.is_internal and isinstance(expected, dict):
            expected = {name: one for name, one in expected.items() if name not in FIELDS_OF_THE_WIRE}
        return not is_error and (expected is None or fits(wanted(expected), answer))

    def play(self, number, step):
        fixture = getattr(self, step["operation"], None)
        try:
            params = self.params(step["params"])
            self.fill(number, step, params)
            if fixture:
                return plain(fixture(params))
            return plain(getattr(self.clients[step["service"]], step["operation"])(**params))
        except ClientError as error:
            told = error.response["Error"]
            return {"Error": {"Code": told["Code"], "Message": told["Message"]}}
        except ParamValidationError as error:
            return {"Error": {"Code": "ParamValidation", "Message": str(error)}}

    # --- what the recording left out

    def params(self, value):
        """Put in what earlier calls answered."""
        if isinstance(value, dict):
            return {key: self.params(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self.params(one) for one in value]
        if not isinstance(value, str):
            return value
        whole = re.fullmatch(r"(\w+)-(\d+)", value)
        if whole and int(whole[2]) in self.answers:
            found = self.found(self.answers[int(whole[2])], whole[1])
            if found is not None:
                return found
        value = re.sub(rf"{ARN}:stateMachine:machine-(\d+)", lambda at: self.of(at[1], "stateMachineArn", at[0]), value)
        value = re.sub(rf"{ARN}:activity:activity-(\d+)", lambda at: self.of(at[1], "activityArn", at[0]), value)
        return re.sub(r"\banswer-(\d+)\b", lambda at: self.of(at[1], "QueueUrl", at[0]), value)

    def of(self, number, field, otherwise):
        return self.answers.get(int(number), {}).get(field, otherwise)

    def found(self, answer, field):
        if field in ("answer", "Body", "TaskToken"):
            messages = answer.get("Messages")
            body = messages[0]["Body"] if messages else answer.get("QueueUrl")
            return json.loads(body)["TaskToken"] if field == "TaskToken" else body
        return answer.get(field) or answer.get(field[:1].lower() + field[1:])

    def fill(self, number, step, params):
        """Put in what is not text in the recording: configurations, tags, routes, and names of what is not there."""
        name = params.get("name", "")
        if name.startswith("statemachine_create_and_record_execution"):
            params["name"] = f"{name}_{number}"
        if params.get("roleArn"):
            params["roleArn"] = f"arn:aws:iam::{ACCOUNT}:role/recorded"
        if "loggingConfiguration" in params:
            params["loggingConfiguration"] = self.logging(number, step)
        if isinstance(params.get("tags"), list):
            params["tags"] = self.tags(number, step, params["tags"])
        if params.get("routingConfiguration"):
            params["routingConfiguration"] = self.routes(number, step)
        if "error" in step and error_of(step)["Code"] == "StateMachineDoesNotExist":
            params["stateMachineArn"] = f"{ARN}:stateMachine:statemachine_invalid_1"
        if str(params.get("executionArn", "")).startswith("@@"):
            params["executionArn"] = f"{ARN}:execution:none:none"
        if "nextToken" in params and params["nextToken"].startswith("nextToken-"):
            params["nextToken"] = self.answers[int(params["nextToken"].split("-")[1])]["nextToken"]

    def logging(self, number, step):
        destination = {
            "cloudWatchLogsLogGroup": {"logGroupArn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{GROUP}:*"}
        }
        if "error" in step:
            return {"level": "ALL", "destinations": [destination, destination]}
        later = (
            one["answer"]["loggingConfiguration"]
            for one in self.steps[number:]
            if one["operation"] == "describe_state_machine"
        )
        told = next(later, None)
        at = re.search(r"(ALL|ERROR|FATAL|OFF)[_-](True|False)\]", self.id)
        level, with_data = (
            (told["level"], told["includeExecutionData"]) if told else (at[1], at[2] == "True") if at else ("ALL", True)
        )
        return {"level": level, "includeExecutionData": with_data, "destinations": [destination]}

    def tags(self, number, step, given):
        if "error" in step and "tags[0].value" in error_of(step)["Message"]:
            return [{"key": "key1", "value": None}]
        later = [one["answer"]["tags"] for one in self.steps[number:] if one["operation"] == "list_tags_for_resource"]
        told = later[0] if later and later[0] else [{"key": "key1", "value": "value1"}]
        return (told * len(given))[: len(given)]

    def routes(self, number, step):
        told = next(one for one in self.answers.values() if "stateMachineArn" in one)
        machine, count = told["stateMachineArn"], len(step["params"]["routingConfiguration"])
        version = max(1, sum(1 for one in self.steps[:number] if one["params"].get("publish")))
        items = [{"stateMachineVersionArn": f"{machine}:{version - at}", "weight": 100 // count} for at in range(count)]
        message = error_of(step)["Message"] if "error" in step else ""
        if count > 2:
            weights = re.findall(r"weight=(\d+)", message)
            items = [
                {"stateMachineVersionArn": f"{machine}:{at}", "weight": int(weight)}
                for at, weight in enumerate(weights, 1)
            ]
        received = re.search(r"Received: \[(.*)\]", message)
        if received and "Sum" in message:
            for item, weight in zip(items, received[1].split(", "), strict=True):
                item["weight"] = int(weight)
        elif received:
            for item, arn in zip(items, received[1].split(", "), strict=True):
                item["stateMachineVersionArn"] = re.sub(r".*>", machine, arn)
        weight = re.search(r"(?:Value '|value: )(-?\d+)'?(?: at 'routing|, valid min)", message)
        if weight:
            items[0]["weight"] = int(weight[1])
        return items

    # --- fixtures

    def create_lambda_function(self, _):
        return {}

    def describe_log_groups(self, _):
        return self.clients["logs"].describe_log_groups(logGroupNamePrefix=GROUP)

    def delete_log_group(self, _):
        return self.clients["logs"].delete_log_group(logGroupName=GROUP)

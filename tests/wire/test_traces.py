"""Recorded scenarios of EventBridge and its Scheduler, carried out by boto3: what AWS answered is answered over the wire."""

import datetime as dt
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from wire_app import served

from forebay import App

sys.path.insert(0, str(Path(__file__).parents[1] / "flow"))
from event_calls import ACCOUNT, REGION, fits, plain
from test_event_traces import MISSED, NOW, apart, is_awaited, left_out, named, part

CASES = Path(__file__).parents[3] / "shared" / "cases"
SHARE = 0.95
AT_ONCE = 6
"""Most of a scenario is waiting for what should not come."""
OTHERWISE = {
    **MISSED,
    "test_put_events_exceed_limit_ten_entries": "the text shows the entries in another form than AWS's Java has",
    "test_start_list_describe_canceled_replay": "a replay of few events is over before it can be cancelled",
}
"""Scenarios that are answered otherwise, and why."""
ROLES = ("create_role", "put_role_policy", "create_role_event_bus_source_to_bus_target", "attach_role_policy")
"""Calls that an app does not need: it has no roles."""


class Player:
    """Carries out the calls of one scenario."""

    def __init__(self, wire):
        self.wire = wire
        self.queues = 0
        self.wanted = 1
        self.clients = {}

    def client(self, service):
        if service not in self.clients:  # one takes long to be made
            self.clients[service] = self.wire.client(service, region=REGION, parameter_validation=False)
        return self.clients[service]

    def play(self, step, answers):
        """Give what a step is answered."""
        params = named(step["params"], answers)
        self.wanted = step.get("answer", 1)
        if step["operation"] in ROLES:
            arn = f"arn:aws:iam::{ACCOUNT}:role/role"
            return {"Role": {"Arn": arn}} if step["service"] == "iam" else arn
        fixture = getattr(self, step["operation"], None)
        try:
            return plain(
                fixture(params) if fixture else getattr(self.client(step["service"]), step["operation"])(**params)
            )
        except ClientError as error:
            told = error.response["Error"]
            return {"Error": {"Code": told["Code"], "Message": told["Message"]}}

    def create_queue(self, params):
        self.queues += 1
        name = params.get("QueueName") or f"queue-{self.queues}"
        return self.client("sqs").create_queue(**{**params, "QueueName": name})

    def sqs_get_queue_arn(self, params):
        [url] = params["args"]
        asked = {"QueueUrl": url if isinstance(url, str) else url["QueueUrl"], "AttributeNames": ["QueueArn"]}
        return self.client("sqs").get_queue_attributes(**asked)["Attributes"]["QueueArn"]

    def sqs_as_events_target(self, params):
        url = self.create_queue({})["QueueUrl"]
        return [url, self.sqs_get_queue_arn({"args": [url]})]

    def receive_message(self, params):
        url = params["QueueUrl"]
        url = url if isinstance(url, str) else url["QueueUrl"]
        wanted = len(self.wanted.get("Messages", [])) if isinstance(self.wanted, dict) else 1
        ends, found = time.monotonic() + 30, []
        most = params.get("MaxNumberOfMessages", 1)
        time.sleep(0.2)  # for what should not come
        while len(found) < min(most, wanted) and time.monotonic() < ends:
            asked = {"QueueUrl": url, "MaxNumberOfMessages": most - len(found), "WaitTimeSeconds": 0}
            found += self.client("sqs").receive_message(**asked).get("Messages", [])
            time.sleep(0.02)
        return {"Messages": found}

    def delete_queue(self, params):
        url = params["QueueUrl"]
        url = url["QueueUrl"] if isinstance(url, dict) else url
        return self.client("sqs").delete_queue(QueueUrl=url if isinstance(url, str) else url[0])

    def sns_create_topic(self, params):
        return plain(self.client("sns").create_topic(**params))

    def sns_subscription(self, params):
        return plain(self.client("sns").subscribe(**params))

    def start_replay(self, params):
        """Replay what lies as far back as in the recording, whose moment the times belong to."""
        ago = dt.timedelta(seconds=time.time() - NOW)
        times = {name: dt.datetime.fromisoformat(params[name]) + ago for name in ("EventStartTime", "EventEndTime")}
        return plain(self.client("events").start_replay(**{**params, **times}))

    def events_scheduler_create_schedule_group(self, params):
        asked = {"Name": f"group-{params['args'][0]}", "Tags": params.get("Tags", [])}
        return self.client("scheduler").create_schedule_group(**asked)["ScheduleGroupArn"]

    def create_schedule(self, params):
        target = params["Target"]
        if not str(target["RoleArn"]).startswith("arn:"):  # the recording has the fixture that made it
            target = {**target, "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/schedules"}
        return self.client("scheduler").create_schedule(**{**params, "Target": target})

    def delete_message(self, params):
        """What was received stays hidden: no scenario looks at it again."""
        return {}


def differs(trace, wire):
    """Carry out a scenario; the first step that is answered otherwise."""
    player, answers, trace = Player(wire), [], apart(trace)
    for number, step in enumerate(trace["steps"]):
        answer = player.play(step, answers)
        if not is_wanted(step, answer) and not is_awaited(trace["steps"], number):
            return f"step {number} {step['operation']}: {json.dumps(answer)[:500]}"
        answers.append(answer)
    return None


def plays(trace):
    """Carry out a scenario against an app of its own; what differs."""
    with served(App("traces", store=":memory:", region=REGION, account=ACCOUNT)) as wire:
        return differs(trace, wire)


def is_wanted(step, answer):
    """Tell whether a step was answered as AWS answered it."""
    is_error = isinstance(answer, dict) and set(answer) == {"Error"}
    if "error" in step:
        return is_error and fits(step["error"]["Error"], answer["Error"])
    if is_error:
        return bool(step.get("raises"))
    parts = step.get("parts", {}).items()
    return ("answer" not in step or fits(step["answer"], answer)) and all(
        fits(one, part(answer, path)) for path, one in parts
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("service", "least"), [("events", 90), ("scheduler", 16)])
def test_scenarios_are_answered_by_boto3_as_aws_answered_them(service, least):
    path = CASES / service / "traces.jsonl"
    if not path.exists():
        pytest.skip("the recorded cases are not beside the repository")
    traces = [json.loads(line) for line in path.read_text().splitlines()]
    played = [trace for trace in traces if left_out(trace) is None and not is_timed(trace)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = dict(zip((trace["id"] for trace in played), pool.map(plays, played), strict=True))
    wrong = {id_: difference for id_, difference in told.items() if difference is not None}
    unexplained = {id_: told for id_, told in wrong.items() if not any(name in id_ for name in OTHERWISE)}
    assert not unexplained, "\n".join(f"{id_}: {told}" for id_, told in unexplained.items())
    assert len(played) >= least
    assert len(wrong) <= (1 - SHARE) * len(played)


def is_timed(trace):
    """Tell whether a scenario waits for a schedule, whose minutes the virtual clock passes in the other test."""
    operations = [step["operation"] for step in trace["steps"]]
    return "receive_message" in operations and any(
        "ScheduleExpression" in str(step["params"]) for step in trace["steps"]
    )

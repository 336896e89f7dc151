"""Tags, policies, schedules of rules, groups of schedules, connections and API destinations by boto3."""

import base64
import json
import logging
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from botocore.exceptions import ClientError
from wire_app import ACCOUNT, REGION, served

from forebay import App

SECRET = "s3cr3t-value"
BUS = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus"


@pytest.fixture
def events(wire):
    return wire.client("events")


def until(condition, within=100):
    ends = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.02)
    return found


def test_buses_and_rules_have_tags(events):
    tags = [{"Key": "team", "Value": "a"}, {"Key": "x", "Value": "y"}]
    bus = events.create_event_bus(Name="shop", Tags=tags)["EventBusArn"]
    rule = events.put_rule(Name="r", EventBusName="shop", EventPattern='{"source": ["a"]}', Tags=tags[:1])["RuleArn"]
    events.put_rule(Name="r", EventBusName="shop", EventPattern='{"source": ["b"]}', Tags=tags[1:])
    assert events.list_tags_for_resource(ResourceARN=rule)["Tags"] == tags[:1], "those of a rule that exists stay"
    events.untag_resource(ResourceARN=bus, TagKeys=["x", "none"])
    events.tag_resource(ResourceARN=bus, Tags=[{"Key": "team", "Value": "b"}])
    assert events.list_tags_for_resource(ResourceARN=bus)["Tags"] == [{"Key": "team", "Value": "b"}]
    with pytest.raises(ClientError, match="at most 50 tags"):
        events.tag_resource(ResourceARN=bus, Tags=[{"Key": f"k{n}", "Value": "v"} for n in range(50)])
    with pytest.raises(events.exceptions.ResourceNotFoundException, match="Event bus none does not exist"):
        events.list_tags_for_resource(ResourceARN=f"{BUS}/none")
    with pytest.raises(events.exceptions.ResourceNotFoundException):
        events.list_tags_for_resource(ResourceARN="arn:aws:events:eu-west-9:1:event-bus/shop")


def test_a_bus_has_a_policy(events):
    given = {"Action": "events:PutEvents", "Principal": "123456789012", "StatementId": "one"}
    events.put_permission(EventBusName="default", **given)
    condition = {"Type": "StringEquals", "Key": "aws:PrincipalOrgID", "Value": "o-1"}
    events.put_permission(**{**given, "Principal": "*", "StatementId": "two", "Condition": condition})
    policy = json.loads(events.describe_event_bus()["Policy"])
    one, two = policy["Statement"]
    assert (one["Principal"], two["Principal"]) == ({"AWS": "arn:aws:iam::123456789012:root"}, "*")
    assert two["Condition"] == {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}
    events.remove_permission(StatementId="one")
    with pytest.raises(events.exceptions.ResourceNotFoundException, match="Statement with the provided id"):
        events.remove_permission(StatementId="one")
    events.remove_permission(StatementId="two")
    assert "Policy" not in events.describe_event_bus()
    with pytest.raises(ClientError, match="must be specified"):
        events.put_permission(Action="events:PutEvents")
    with pytest.raises(ClientError, match="a policy is a JSON object"):
        events.put_permission(Policy="[]")
    with pytest.raises(events.exceptions.PolicyLengthExceededException):
        events.put_permission(Policy=json.dumps({"Statement": [], "Id": "x" * 10_300}))


def test_an_event_for_a_bus_that_is_not_there_is_dropped_and_told(events, caplog):
    entry = {"Source": "a", "DetailType": "b", "Detail": "{}", "EventBusName": "none"}
    with caplog.at_level(logging.WARNING, "forebay.runtime"):
        answer = events.put_events(Entries=[entry, {**entry, "EventBusName": "default"}, {**entry, "Detail": "no"}])
        assert [sorted(one) for one in answer["Entries"]] == [["EventId"], ["EventId"], ["ErrorCode", "ErrorMessage"]]
        until(lambda: "bus none: AWS's API was given 1 event for it" in caplog.text)


def test_a_rule_has_a_schedule_with_targets_and_no_pattern(events, wire):
    wire.client("sqs").create_queue(QueueName="inbox")
    arn = events.put_rule(Name="every", ScheduleExpression="rate(5 minutes)")["RuleArn"]
    targets = [{"Id": "1", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:inbox", "InputPath": "$.source"}]
    events.put_targets(Rule="every", Targets=targets)
    described = events.describe_rule(Name="every")
    assert (described["ScheduleExpression"], described["Arn"], "EventPattern" in described) == (
        "rate(5 minutes)",
        arn,
        False,
    )
    assert events.list_targets_by_rule(Rule="every")["Targets"] == targets
    assert wire.client("scheduler").list_schedules()["Schedules"] == []
    wire.ask("schedule.run", name="rule:every")
    asked = {"QueueUrl": wire.client("sqs").get_queue_url(QueueName="inbox")["QueueUrl"], "WaitTimeSeconds": 5}
    [message] = wire.client("sqs").receive_message(**asked)["Messages"]
    assert message["Body"] == '"aws.events"'
    for wrong in ("rate(1 minutes)", "cron(0 1 * * * *)", "at(2026-01-01T00:00:00)"):
        with pytest.raises(ClientError, match=r"Parameter ScheduleExpression is not valid\.$"):
            events.put_rule(Name="wrong", ScheduleExpression=wrong)
    with pytest.raises(ClientError, match="EventPattern or ScheduleExpression must be specified"):
        events.put_rule(Name="wrong")
    events.remove_targets(Rule="every", Ids=["1"])
    events.delete_rule(Name="every")
    assert wire.ask("schedule.list") == []


def test_schedules_are_in_groups_that_have_tags(wire):
    scheduler = wire.client("scheduler")
    wire.client("sqs").create_queue(QueueName="inbox")
    target = {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:inbox", "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/r"}
    settings = {"ScheduleExpression": "rate(1 hour)", "FlexibleTimeWindow": {"Mode": "OFF"}, "Target": target}
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException, match="Schedule group night does not exist"):
        scheduler.create_schedule(Name="tick", GroupName="night", **settings)
    arn = scheduler.create_schedule_group(Name="night", Tags=[{"Key": "a", "Value": "b"}])["ScheduleGroupArn"]
    with pytest.raises(scheduler.exceptions.ConflictException):
        scheduler.create_schedule_group(Name="night")
    made = scheduler.create_schedule(Name="tick", GroupName="night", **settings)["ScheduleArn"]
    scheduler.create_schedule(Name="tick", **settings)
    assert made.endswith(":schedule/night/tick")
    got = scheduler.get_schedule(Name="tick", GroupName="night")
    assert (got["Name"], got["GroupName"]) == ("tick", "night")
    assert got["LastModificationDate"] == got["CreationDate"]
    for changed in ({"Description": "hourly"}, {"ScheduleExpression": "rate(2 hours)"}):
        time.sleep(0.002)  # The dates have milliseconds.
        scheduler.update_schedule(Name="tick", GroupName="night", **settings | changed)
        now = scheduler.get_schedule(Name="tick", GroupName="night")
        assert now["LastModificationDate"] > got["LastModificationDate"]
        assert now["CreationDate"] == got["CreationDate"]
        got = now
    listed = scheduler.list_schedules()["Schedules"]
    assert sorted((one["GroupName"], one["Name"]) for one in listed) == [("default", "tick"), ("night", "tick")]
    assert [one["Arn"] for one in scheduler.list_schedules(GroupName="night", NamePrefix="t")["Schedules"]] == [made]
    scheduler.tag_resource(ResourceArn=arn, Tags=[{"Key": "c", "Value": "d"}])
    scheduler.untag_resource(ResourceArn=arn, TagKeys=["a"])
    assert scheduler.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "c", "Value": "d"}]
    groups = scheduler.list_schedule_groups()["ScheduleGroups"]
    assert [(one["Name"], one["State"]) for one in groups] == [("default", "ACTIVE"), ("night", "ACTIVE")]
    assert scheduler.get_schedule_group(Name="night")["Arn"] == arn
    scheduler.delete_schedule_group(Name="night")
    assert [one["GroupName"] for one in scheduler.list_schedules()["Schedules"]] == ["default"]


def test_a_schedule_has_a_description_and_retries_and_goes_when_it_has_completed(wire):
    scheduler, sqs = wire.client("scheduler"), wire.client("sqs")
    url = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    target = {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:inbox", "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/r", "Input": "1"}
    retries = {"MaximumEventAgeInSeconds": 600, "MaximumRetryAttempts": 3}
    due = datetime.fromtimestamp(int(time.time()) + 2, UTC).strftime("at(%Y-%m-%dT%H:%M:%S)")
    settings = {"Name": "once", "ScheduleExpression": due, "FlexibleTimeWindow": {"Mode": "OFF"}}
    once = {"ActionAfterCompletion": "DELETE", "Description": "one alarm"}
    scheduler.create_schedule(**settings, **once, Target={**target, "RetryPolicy": retries})
    got = scheduler.get_schedule(Name="once")
    assert (got["ActionAfterCompletion"], got["Description"]) == ("DELETE", "one alarm")
    assert got["Target"]["RetryPolicy"] == retries
    [message] = until(lambda: sqs.receive_message(QueueUrl=url).get("Messages"))
    assert message["Body"] == "1"
    until(lambda: scheduler.list_schedules()["Schedules"] == [])
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.get_schedule(Name="once")
    scheduler.create_schedule(**{**settings, "ScheduleExpression": "rate(1 hour)"}, Target=target)
    got = scheduler.get_schedule(Name="once")
    assert (got["ActionAfterCompletion"], got["Target"]["RoleArn"]) == ("NONE", target["RoleArn"])
    other = {**target, "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/other"}
    scheduler.update_schedule(**{**settings, "ScheduleExpression": "rate(1 hour)"}, Target=other)
    assert scheduler.get_schedule(Name="once")["Target"]["RoleArn"] == other["RoleArn"]
    assert got["Target"]["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}
    wrong = {**target, "RetryPolicy": {"MaximumRetryAttempts": 186}}
    with pytest.raises(ClientError, match="186"):
        scheduler.create_schedule(**{**settings, "Name": "wrong", "ScheduleExpression": "rate(1 hour)"}, Target=wrong)


def test_messages_of_a_standard_queue_have_the_group_that_their_sender_names(wire, events):
    """A message group was refused of whatever is no FIFO queue."""
    sqs, scheduler, sns = wire.client("sqs"), wire.client("scheduler"), wire.client("sns")
    states = wire.client("stepfunctions", inject_host_prefix=False)
    role = f"arn:aws:iam::{ACCOUNT}:role/r"

    def queue(name):
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        return url, {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}", "SqsParameters": {"MessageGroupId": f"g-{name}"}}

    (of_rule, rule_target), (of_schedule, target), (of_topic, other) = queue("r"), queue("s"), queue("t")
    events.put_rule(Name="r", EventPattern='{"source": ["shop"]}')
    events.put_targets(Rule="r", Targets=[{"Id": "1", **rule_target}])
    assert events.list_targets_by_rule(Rule="r")["Targets"] == [{"Id": "1", **rule_target}]
    # Two of one event: nothing takes the second one for a copy.
    events.put_targets(Rule="r", Targets=[{"Id": "2", **rule_target}])
    events.put_events(Entries=[{"Source": "shop", "DetailType": "t", "Detail": "{}"}])
    scheduler.create_schedule(
        Name="s",
        ScheduleExpression=datetime.fromtimestamp(int(time.time()) + 2, UTC).strftime("at(%Y-%m-%dT%H:%M:%S)"),
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={**target, "RoleArn": role},
    )
    assert scheduler.get_schedule(Name="s")["Target"]["SqsParameters"] == target["SqsParameters"]
    topic = sns.create_topic(Name="n")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=other["Arn"])
    task = {"Type": "Task", "Resource": "arn:aws:states:::sns:publish", "End": True}
    task["Parameters"] = {"TopicArn": topic, "Message": "m", "MessageGroupId": "g-t"}
    definition = json.dumps({"StartAt": "A", "States": {"A": task}})
    machine = states.create_state_machine(name="m", definition=definition, roleArn=role)["stateMachineArn"]
    states.start_execution(stateMachineArn=machine)

    def groups(url, count):
        found = []

        def receive():
            asked = {"MessageSystemAttributeNames": ["MessageGroupId"], "WaitTimeSeconds": 1}
            found.extend(sqs.receive_message(QueueUrl=url, **asked).get("Messages", []))
            return len(found) >= count

        until(receive)
        return [message["Attributes"]["MessageGroupId"] for message in found]

    assert groups(of_rule, 2) == ["g-r"] * 2
    assert groups(of_schedule, 1) == ["g-s"]
    assert groups(of_topic, 1) == ["g-t"]


def test_many_schedules_are_listed_by_the_page(wire):
    """A page of the engine has a thousand, one of AWS's at most a hundred; those that nobody asked for lie between."""
    for number in range(1_050):
        name = f"day-{number:04}" if number % 100 else f"night-{number:04}"
        wire.ask("schedule.put", name=name, expression="rate(1 hour)", function="f")
    scheduler = wire.client("scheduler")
    names, more = [], {}
    while True:
        page = scheduler.list_schedules(NamePrefix="night", MaxResults=4, **more)
        names += [one["Name"] for one in page["Schedules"]]
        if "NextToken" not in page:
            break
        more = {"NextToken": page["NextToken"]}
    assert names == [f"night-{number:04}" for number in range(0, 1_050, 100)]
    pages = scheduler.get_paginator("list_schedules").paginate()
    assert sum(len(page["Schedules"]) for page in pages) == 1_050


# --- connections and API destinations


class Site:
    """An endpoint that gives tokens and takes events; `refused` holds tokens that it takes no more."""

    def __init__(self):
        self.asked = []
        self.given = []
        self.refused = set()


@contextmanager
def site():
    one = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            status, answer = 200, b"{}"
            if self.path.startswith("/token"):
                one.asked.append((parse_qs(body), self.path, dict(self.headers)))
                is_client = parse_qs(body).get("client_secret") == [SECRET]
                status = 200 if is_client else 403
                answer = json.dumps({"access_token": f"token-{len(one.asked)}", "expires_in": 3600}).encode()
            else:
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                status = 401 if token in one.refused else 200
                one.given.append((self.path, dict(self.headers), body, status))
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    one.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield one
    finally:
        server.shutdown()
        server.server_close()


def connect(events, kind, parameters, name="crm"):
    given = {"Name": name, "AuthorizationType": kind, "AuthParameters": parameters}
    return events.create_connection(**given)["ConnectionArn"]


def route(events, url, connection, **more):
    given = {"ConnectionArn": connection, "InvocationEndpoint": url, "HttpMethod": "POST", "Name": "crm"}
    arn = events.create_api_destination(**given)["ApiDestinationArn"]
    events.put_rule(Name="to-crm", EventPattern='{"source": ["shop"]}')
    events.put_targets(Rule="to-crm", Targets=[{"Id": "1", "Arn": arn, **more}])


def put(events, number):
    detail = json.dumps({"n": number})
    events.put_events(Entries=[{"Source": "shop", "DetailType": "Placed", "Detail": detail}])


def test_an_event_goes_to_an_api_destination_that_boto3_made(events, caplog):
    with site() as crm, caplog.at_level(logging.DEBUG, "forebay"):
        beside = {"HeaderParameters": [{"Key": "X-Tenant", "Value": "hidden", "IsValueSecret": True}]}
        key = {"ApiKeyName": "X-Key", "ApiKeyValue": SECRET}
        arn = connect(events, "API_KEY", {"ApiKeyAuthParameters": key, "InvocationHttpParameters": beside})
        more = {"HttpParameters": {"PathParameterValues": ["$.detail.n"]}, "RetryPolicy": {"MaximumRetryAttempts": 2}}
        route(events, f"{crm.url}/orders/*", arn, **more)
        assert events.list_targets_by_rule(Rule="to-crm")["Targets"][0]["HttpParameters"] == more["HttpParameters"]
        assert events.list_targets_by_rule(Rule="to-crm")["Targets"][0]["RetryPolicy"] == more["RetryPolicy"]
        put(events, 7)
        path, headers, body, _ = until(lambda: crm.given)[0]
        assert (path, headers["X-Key"], headers["X-Tenant"]) == ("/orders/7", SECRET, "hidden")
        assert json.loads(body)["detail"] == {"n": 7}
        shown = events.describe_connection(Name="crm")
        assert shown["AuthParameters"]["ApiKeyAuthParameters"] == {"ApiKeyName": "X-Key"}
        hidden = {"HeaderParameters": [{"Key": "X-Tenant", "IsValueSecret": True}]}
        assert shown["AuthParameters"]["InvocationHttpParameters"] == hidden
        other = {"BasicAuthParameters": {"Username": "u", "Password": SECRET}}
        events.update_connection(Name="crm", AuthorizationType="BASIC", AuthParameters=other)
        put(events, 8)
        _, headers, _, _ = until(lambda: crm.given[1:])[0]
        assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode() == f"u:{SECRET}"
        events.deauthorize_connection(Name="crm")
        assert events.describe_api_destination(Name="crm")["ApiDestinationState"] == "INACTIVE"
        put(events, 9)
        events.update_connection(Name="crm", AuthorizationType="BASIC", AuthParameters=other)
        until(lambda: len(crm.given) > 2, within=100)
        [one] = events.list_connections(ConnectionState="AUTHORIZED")["Connections"]
        assert one["Name"] == "crm"
    assert not [
        record for record in caplog.records if record.name.startswith("forebay") and SECRET in record.getMessage()
    ]


def test_a_connection_fetches_a_token_and_another_when_one_is_refused(events):
    with site() as crm:
        client = {"ClientID": "id", "ClientSecret": SECRET}
        beside = {
            "BodyParameters": [{"Key": "scope", "Value": "write"}],
            "HeaderParameters": [{"Key": "X-A", "Value": "b"}],
        }
        oauth = {"AuthorizationEndpoint": f"{crm.url}/token", "HttpMethod": "POST", "ClientParameters": client}
        arn = connect(events, "OAUTH_CLIENT_CREDENTIALS", {"OAuthParameters": {**oauth, "OAuthHttpParameters": beside}})
        until(lambda: events.describe_connection(Name="crm")["ConnectionState"] == "AUTHORIZED")
        form, _, headers = crm.asked[0]
        assert (form["grant_type"], form["scope"], headers["X-A"]) == (["client_credentials"], ["write"], "b")
        route(events, crm.url, arn)
        assert events.describe_api_destination(Name="crm")["ApiDestinationState"] == "ACTIVE"
        for number in range(3):
            put(events, number)
        until(lambda: len(crm.given) == 3)
        tokens = {headers["Authorization"] for _, headers, _, _ in crm.given}
        assert len(tokens) == 1, "one token serves all"
        crm.refused.add(tokens.pop().removeprefix("Bearer "))
        put(events, 3)
        until(lambda: len(crm.given) == 5)
        assert [status for *_, status in crm.given] == [200, 200, 200, 401, 200]
        wrong = {**oauth, "ClientParameters": {**client, "ClientSecret": "wrong"}}
        events.update_connection(
            Name="crm", AuthorizationType="OAUTH_CLIENT_CREDENTIALS", AuthParameters={"OAuthParameters": wrong}
        )
        until(lambda: events.describe_connection(Name="crm")["ConnectionState"] == "DEAUTHORIZED")
        assert "answered 403" in events.describe_connection(Name="crm")["StateReason"]


def test_the_secret_of_a_connection_is_in_a_file_of_its_own_and_outlives_the_process(tmp_path):
    store = tmp_path / "store"
    parameters = {"BasicAuthParameters": {"Username": "u", "Password": SECRET}}
    with served(App("shop", store=store, region=REGION, account=ACCOUNT)) as wire:
        events = wire.client("events")
        arn = connect(events, "BASIC", parameters)
        secret = events.describe_connection(Name="crm")["SecretArn"]
        got = wire.client("secretsmanager").get_secret_value(SecretId=secret)
        assert json.loads(got["SecretString"]) == {"username": "u", "password": SECRET}
        told = wire.client("secretsmanager").describe_secret(SecretId=got["Name"])
        assert (told["ARN"], told["VersionIdsToStages"]) == (secret, {got["VersionId"]: ["AWSCURRENT"]})
        for other in ({"VersionStage": "AWSPREVIOUS"}, {"VersionId": "0" * 36}):
            with pytest.raises(ClientError, match="can't find the specified secret value for"):
                wire.client("secretsmanager").get_secret_value(SecretId=secret, **other)
        current = {"VersionStage": "AWSCURRENT", "VersionId": got["VersionId"]}
        again = wire.client("secretsmanager").get_secret_value(SecretId=secret, **current)
        assert again["SecretString"] == got["SecretString"]
        with pytest.raises(events.exceptions.ResourceAlreadyExistsException):
            connect(events, "BASIC", parameters)
        with pytest.raises(ClientError, match=r"AuthParameters\.BasicAuthParameters must be given"):
            connect(events, "BASIC", {"ApiKeyAuthParameters": {"ApiKeyName": "a", "ApiKeyValue": "b"}}, name="d")
        for endpoint in ("http://example.com", "ftp://example.com", "http://localhost.example.com"):
            with pytest.raises(ClientError, match="InvocationEndpoint is not valid"):
                route(events, endpoint, arn)
    files = [file for file in store.iterdir() if file.is_file() and SECRET.encode() in file.read_bytes()]
    assert [(file.name, file.stat().st_mode & 0o777) for file in files] == [("connection-secrets.json", 0o600)]
    with site() as crm, served(App("shop", store=store, region=REGION, account=ACCOUNT)) as wire:
        events = wire.client("events")
        described = events.describe_connection(Name="crm")
        assert (described["ConnectionState"], described["ConnectionArn"]) == ("AUTHORIZED", arn)
        assert wire.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"] == got["SecretString"]
        route(events, crm.url, arn)
        put(events, 1)
        until(lambda: crm.given)
    # A copy without the file, as a backup is, waits for its secrets.
    files[0].unlink()
    with site() as crm, served(App("shop", store=store, region=REGION, account=ACCOUNT)) as wire:
        events = wire.client("events")
        described = events.describe_connection(Name="crm")
        assert (described["ConnectionState"], described["ConnectionArn"]) == ("DEAUTHORIZED", arn)
        assert "update the connection" in described["StateReason"]
        with pytest.raises(ClientError, match="can't find the specified secret"):
            wire.client("secretsmanager").get_secret_value(SecretId=secret)
        events.update_api_destination(Name="crm", InvocationEndpoint=crm.url)
        put(events, 2)
        events.update_connection(Name="crm", AuthorizationType="BASIC", AuthParameters=parameters)
        until(lambda: crm.given, within=100)


def test_what_a_deleted_destination_is_given_goes_to_the_dead_letter_queue(events, wire):
    sqs = wire.client("sqs")
    url = sqs.create_queue(QueueName="dead")["QueueUrl"]
    with site() as crm:
        arn = connect(events, "BASIC", {"BasicAuthParameters": {"Username": "u", "Password": SECRET}})
        route(events, crm.url, arn, DeadLetterConfig={"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"})
        events.delete_api_destination(Name="crm")
        put(events, 1)
        asked = {"QueueUrl": url, "WaitTimeSeconds": 10, "MessageAttributeNames": ["All"]}
        [message] = sqs.receive_message(**asked)["Messages"]
        assert message["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "NO_RESOURCE"
        assert crm.given == []


def test_a_request_of_the_scheduler_that_comes_once_more_is_answered_as_the_first_one_was(wire):
    """boto3 gives a token by itself: a try after a lost answer was told that the schedule is there, as if by somebody else."""
    scheduler = wire.client("scheduler")
    wire.client("sqs").create_queue(QueueName="inbox")
    target = {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:inbox", "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/r"}
    settings = {"Name": "tick", "FlexibleTimeWindow": {"Mode": "OFF"}, "Target": target, "ClientToken": "once"}
    made = [scheduler.create_schedule(**settings, ScheduleExpression="rate(1 hour)") for _ in range(2)]
    assert made[0]["ScheduleArn"] == made[1]["ScheduleArn"]
    with pytest.raises(scheduler.exceptions.ConflictException):
        scheduler.create_schedule(**settings, ScheduleExpression="rate(2 hours)")
    with pytest.raises(scheduler.exceptions.ConflictException):
        scheduler.create_schedule(**{**settings, "ClientToken": "twice"}, ScheduleExpression="rate(1 hour)")
    groups = [scheduler.create_schedule_group(Name="night", ClientToken="once") for _ in range(2)]
    assert groups[0]["ScheduleGroupArn"] == groups[1]["ScheduleGroupArn"]
    for _ in range(2):
        scheduler.delete_schedule(Name="tick", ClientToken="once")
        scheduler.delete_schedule_group(Name="night", ClientToken="once")
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.delete_schedule(Name="tick")
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.delete_schedule_group(Name="night")


def test_another_value_of_a_secret_is_another_version(wire):
    """The version stayed, so that who compares versions never read the new password."""
    events, secrets = wire.client("events"), wire.client("secretsmanager")
    connect(events, "BASIC", {"BasicAuthParameters": {"Username": "u", "Password": "one"}})
    secret = events.describe_connection(Name="crm")["SecretArn"]
    before = secrets.get_secret_value(SecretId=secret)
    changed = {"BasicAuthParameters": {"Username": "u", "Password": "two"}}
    events.update_connection(Name="crm", AuthorizationType="BASIC", AuthParameters=changed)
    after = secrets.get_secret_value(SecretId=secret)
    assert (before["VersionId"] != after["VersionId"], len(after["VersionId"])) == (True, 36)
    with pytest.raises(ClientError, match="can't find the specified secret value for VersionId"):
        secrets.get_secret_value(SecretId=secret, VersionId=before["VersionId"])
    (listed,) = secrets.list_secrets()["SecretList"]
    assert listed["SecretVersionsToStages"] == {after["VersionId"]: ["AWSCURRENT"]}

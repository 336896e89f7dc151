"""AWS's calls of EventBridge and SQS as recorded scenarios make them, carried out by an app; pages and shapes are made here."""

from __future__ import annotations

import datetime as dt
import json
import re

from forebay.errors import ForebayError, ResourceConflict, ResourceNotFound

REGION, ACCOUNT = "us-east-1", "111111111111"
PREFIX = f"arn:aws:events:{REGION}:{ACCOUNT}"


class Refused(Exception):
    """What AWS raises: a code and a message."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


def code_of(error, operation):
    if isinstance(error, ResourceNotFound) and not str(error).startswith("Parameter "):
        return "ResourceNotFoundException"
    if isinstance(error, ResourceConflict):
        return "ResourceAlreadyExistsException"
    if str(error).startswith("The requested resource exceeds"):
        return "LimitExceededException"
    is_pattern = operation in ("put_rule", "create_archive") and str(error).startswith("Event pattern is not valid")
    return "InvalidEventPatternException" if is_pattern else "ValidationException"


def when(text):
    return round(dt.datetime.fromisoformat(text).timestamp() * 1000)


def page(rows, params):
    """Cut a list where the limit is, and give a token for the rest."""
    first, limit = int(params.get("NextToken") or 0), params.get("Limit", 100)
    more = {"NextToken": str(first + limit)} if first + limit < len(rows) else {}
    return rows[first : first + limit], more


def tag_notes(params):
    return {f"tag:{tag['Key']}": tag["Value"] for tag in params.get("Tags", ())}


class Calls:
    """One scenario's calls."""

    def __init__(self, app, clock):
        self.app, self.clock = app, clock
        self.queues = {}
        self.texts = {}
        self.rules = set()
        self.next_operation = None

    async def __call__(self, service, operation, params):
        try:
            return await getattr(self, operation)(params)
        except ForebayError as error:
            raise Refused(code_of(error, operation), str(error).split("\n at ")[0]) from error

    async def ask(self, verb, **fields):
        return await self.app._caller.ask(verb, **fields)

    # --- queues

    async def create_queue(self, params):
        name = params.get("QueueName") or f"queue-{len(self.queues)}"
        self.queues[name] = self.app.queue(name)
        return {"QueueUrl": name}

    async def sqs_get_queue_arn(self, params):
        [name] = params["args"]
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name if isinstance(name, str) else name['QueueUrl']}"

    async def sqs_as_events_target(self, params):
        url = (await self.create_queue({}))["QueueUrl"]
        return [url, await self.sqs_get_queue_arn({"args": [url]})]

    async def delete_queue(self, params):
        await self.queues[self.url(params)].delete_queue()

    async def receive_message(self, params):
        await self.clock.advance(120 if self.rules else 0.2)
        queue = self.queues[self.url(params)]
        messages = await queue.receive(maximum=params.get("MaxNumberOfMessages", 1))
        told = [
            {"MessageId": one.message_id, "ReceiptHandle": one.receipt_handle, "MD5OfBody": "-", "Body": one.body}
            for one in messages
        ]
        return {"Messages": told}

    async def delete_message(self, params):
        """What was received stays hidden: no scenario looks at it again."""

    @staticmethod
    def url(params):
        url = params["QueueUrl"]
        return url if isinstance(url, str) else url["QueueUrl"]

    # --- buses and rules

    @staticmethod
    def bus(params, key="EventBusName"):
        return params.get(key, "default").rsplit("/", 1)[-1]

    async def create_event_bus(self, params):
        name = params["Name"]
        if name in [bus["name"] for bus in await self.ask("bus.list")]:
            raise Refused("ResourceAlreadyExistsException", f"Event bus {name} already exists.")
        bus = await self.ask("bus.declare", name=name, description=params.get("Description"))
        await self.ask("bus.annotate", name=name, notes=tag_notes(params))
        described = {"Description": params["Description"]} if "Description" in params else {}
        return {"EventBusArn": bus["arn"], **described}

    @staticmethod
    def shown_bus(bus):
        times = {"CreationTime": bus["created_ms"], "LastModifiedTime": bus["created_ms"]}
        described = {"Description": bus["description"]} if bus["description"] else {}
        policy = {"Policy": bus["notes"]["policy"]} if "policy" in bus["notes"] else {}
        return {"Arn": bus["arn"], "Name": bus["name"], **times, **described, **policy}

    async def describe_event_bus(self, params):
        return self.shown_bus(await self.ask("bus.describe", name=self.bus(params, "Name")))

    async def list_event_buses(self, params):
        prefix = params.get("NamePrefix", "")
        return {
            "EventBuses": [self.shown_bus(bus) for bus in await self.ask("bus.list") if bus["name"].startswith(prefix)]
        }

    async def delete_event_bus(self, params):
        if self.bus(params, "Name") in [bus["name"] for bus in await self.ask("bus.list")]:
            await self.ask("bus.delete", name=self.bus(params, "Name"))
        return {}

    async def known(self, params, key="Name"):
        return await self.ask("rule.describe", bus=self.bus(params), name=params[key].rsplit("/", 1)[-1])

    async def put_rule(self, params):
        try:
            targets = (await self.known(params))["targets"]
        except ResourceNotFound:
            targets = []
        schedule = params.get("ScheduleExpression")
        rule = {"bus": self.bus(params), "name": params["Name"], "targets": targets, "schedule_expression": schedule}
        is_on = params.get("State", "ENABLED") == "ENABLED"
        described = {"description": params.get("Description", ""), "enabled": is_on}
        try:
            answer = await self.ask("rule.put", **rule, **described, pattern=params.get("EventPattern", ""))
        except ForebayError as error:
            if str(error).startswith("Parameter ScheduleExpression"):  # the engine says what is wrong, too
                raise Refused("ValidationException", str(error).split(". ")[0].rstrip(".") + ".") from error
            raise
        if schedule is not None:
            self.rules.add(params["Name"])
        await self.ask("rule.annotate", bus=rule["bus"], name=rule["name"], notes=tag_notes(params))
        return {"RuleArn": answer["arn"]}

    @staticmethod
    def shown_rule(rule):
        shown = {"Arn": rule["arn"], "Name": rule["name"], "EventBusName": rule["bus"]}
        text = {"Description": rule["description"]} if rule["description"] else {}
        if rule["pattern"]:
            text["EventPattern"] = rule["pattern"]
        if "schedule_expression" in rule:
            text["ScheduleExpression"] = rule["schedule_expression"]
        return {**shown, **text, "State": "ENABLED" if rule["enabled"] else "DISABLED"}

    async def describe_rule(self, params):
        return {**self.shown_rule(await self.known(params)), "CreatedBy": ACCOUNT}

    async def list_rules(self, params):
        rules = await self.ask("rule.list", name=self.bus(params))
        prefix = params.get("NamePrefix", "")
        found = [self.shown_rule(rule) for rule in rules if rule["name"].startswith(prefix)]
        rows, more = page(found, params)
        return {"Rules": rows, **more}

    async def enable_rule(self, params, *, enabled=True):
        await self.ask("rule.enable", bus=self.bus(params), name=params["Name"], enabled=enabled)
        return {}

    async def disable_rule(self, params):
        return await self.enable_rule(params, enabled=False)

    async def delete_rule(self, params):
        await self.ask("rule.delete", bus=self.bus(params), name=params["Name"])
        return {}

    # --- targets

    async def put_targets(self, params):
        rule = await self.known(params, "Rule")
        for at, target in enumerate(params["Targets"], 1):
            check_id(target["Id"], at)
        new = [self.target(target) for target in params["Targets"]]
        kept = [target for target in rule["targets"] if target["id"] not in [other["id"] for other in new]]
        await self.ask("rule.put", **{**rule, "targets": [*kept, *new]})
        return {"FailedEntries": [], "FailedEntryCount": 0}

    def target(self, given):
        transformer = given.get("InputTransformer")
        kind = "topic" if ":sns:" in given["Arn"] else "queue"
        fields = {"id": given["Id"], kind: given["Arn"].rsplit(":", 1)[-1]}
        if ":event-bus/" in given["Arn"]:
            fields = {"id": given["Id"], "bus": given["Arn"].rsplit("/", 1)[-1]}
        fields |= {"input": given.get("Input"), "input_path": given.get("InputPath")}
        if transformer is not None:
            paths = list(transformer.get("InputPathsMap", {}).items())
            fields["input_transformer"] = {"paths": paths, "template": transformer["InputTemplate"]}
        return fields

    @staticmethod
    def shown_target(target):
        arn = (
            f"arn:aws:sqs:{REGION}:{ACCOUNT}:{target['queue']}"
            if "queue" in target
            else f"{PREFIX}:event-bus/{target['bus']}"
        )
        path = {"InputPath": target["input_path"]} if target["input_path"] else {}
        return {"Arn": arn, "Id": target["id"], **path}

    async def list_targets_by_rule(self, params):
        targets = (await self.known(params, "Rule"))["targets"]
        rows, more = page([self.shown_target(target) for target in targets], params)
        return {"Targets": rows, **more}

    async def remove_targets(self, params):
        rule = await self.known(params, "Rule")
        await self.ask(
            "rule.put", **{**rule, "targets": [one for one in rule["targets"] if one["id"] not in params["Ids"]]}
        )
        return {"FailedEntries": [], "FailedEntryCount": 0}

    async def list_rule_names_by_target(self, params):
        rules = await self.ask("rule.list", name=self.bus(params))
        has = [
            rule for rule in rules if params["TargetArn"] in [self.shown_target(one)["Arn"] for one in rule["targets"]]
        ]
        rows, more = page([rule["name"] for rule in has], params)
        return {"RuleNames": rows, **more}

    # --- events

    async def put_events(self, params):
        entries = params["Entries"]
        results = []
        for bus in {self.bus(entry) for entry in entries}:
            given = [entry for entry in entries if self.bus(entry) == bus]
            asked = [
                {
                    "source": entry.get("Source", ""),
                    "detail_type": entry.get("DetailType", ""),
                    "detail": entry.get("Detail", ""),
                    "resources": entry.get("Resources", []),
                    "time_ms": when(entry["Time"]) if "Time" in entry else None,
                }
                for entry in given
            ]
            results += await self.ask("bus.put", bus=bus, entries=asked, may_be_dropped=True)
        await self.clock.settle()
        failed = [one for one in results if "error_code" in one]
        names = {"event_id": "EventId", "error_code": "ErrorCode", "error_message": "ErrorMessage"}
        return {
            "Entries": [{names[key]: value for key, value in one.items()} for one in results],
            "FailedEntryCount": len(failed),
        }

    # --- archives and replays

    async def archive_fields(self, params):
        return {
            "name": params["ArchiveName"],
            "pattern": params.get("EventPattern"),
            "description": params.get("Description", ""),
            "retention_ms": params["RetentionDays"] * 86_400_000 if params.get("RetentionDays") else None,
        }

    async def create_archive(self, params):
        if params["ArchiveName"] in [one["name"] for one in await self.ask("archive.list")]:
            raise Refused("ResourceAlreadyExistsException", f"Archive {params['ArchiveName']} already exists.")
        fields = await self.archive_fields(params)
        return self.shown_archive(await self.ask("archive.put", **fields, bus=self.bus(params, "EventSourceArn")))

    async def update_archive(self, params):
        known = await self.ask("archive.describe", name=params["ArchiveName"])
        return self.shown_archive(await self.ask("archive.put", **await self.archive_fields(params), bus=known["bus"]))

    @staticmethod
    def shown_archive(one):
        days = {} if one["retention_ms"] is None else {"RetentionDays": one["retention_ms"] // 86_400_000}
        pattern = {} if one["pattern"] is None else {"EventPattern": one["pattern"]}
        return {
            "ArchiveArn": f"{PREFIX}:archive/{one['name']}",
            "ArchiveName": one["name"],
            "CreationTime": one["created_ms"],
            "Description": one["description"],
            "EventCount": one["events"],
            "EventSourceArn": f"{PREFIX}:event-bus/{one['bus']}",
            "SizeBytes": one["bytes"],
            "State": "ENABLED",
            **days,
            **pattern,
        }

    async def describe_archive(self, params):
        return self.shown_archive(await self.ask("archive.describe", name=params["ArchiveName"]))

    async def list_archives(self, params):
        bus = self.bus(params, "EventSourceArn") if "EventSourceArn" in params else None
        if bus is not None:
            await self.ask("bus.describe", name=bus)
        archives = [one for one in await self.ask("archive.list") if bus in (None, one["bus"])]
        prefix, state = params.get("NamePrefix", ""), params.get("State", "ENABLED")
        found = [self.shown_archive(one) for one in archives if one["name"].startswith(prefix) and state == "ENABLED"]
        hidden = ("ArchiveArn", "Description", "EventPattern")
        return {"Archives": [{key: value for key, value in one.items() if key not in hidden} for one in found]}

    async def delete_archive(self, params):
        await self.ask("archive.delete", name=params["ArchiveName"])
        return {}

    async def start_replay(self, params):
        bus, archive = self.bus(params["Destination"], "Arn"), params["EventSourceArn"].rsplit("/", 1)[-1]
        rules = [arn.rsplit("/", 1)[-1] for arn in params["Destination"].get("FilterArns", [])] or None
        times = {"start_ms": when(params["EventStartTime"]), "end_ms": when(params["EventEndTime"])}
        # One that is to be cancelled must not be over before.
        asked = {**times, "rules": rules, "rate": 1 if self.next_operation == "cancel_replay" else None}
        answer = await self.ask("replay.start", name=params["ReplayName"], bus=bus, archive=archive, **asked)
        self.texts[params["ReplayName"]] = params.get("Description")
        return self.shown_replay(answer)

    def shown_replay(self, one):
        archive = f"{PREFIX}:archive/{one['archive']}"
        filters = {"FilterArns": [f"{PREFIX}:rule/{one['bus']}/{rule}" for rule in one["rules"] or []]}
        last = {"EventLastReplayedTime": one["last_event_ms"]} if one["last_event_ms"] else {}
        return {
            "ReplayName": one["name"],
            "ReplayArn": f"{PREFIX}:replay/{one['name']}",
            "Description": self.texts.get(one["name"]),
            "EventSourceArn": archive,
            "Destination": {"Arn": f"{PREFIX}:event-bus/{one['bus']}", **(filters if one["rules"] else {})},
            "EventStartTime": one["start_ms"],
            "EventEndTime": one["end_ms"],
            "ReplayStartTime": one["started_ms"],
            "ReplayEndTime": one["ended_ms"],
            "State": one["state"],
            **last,
        }

    async def describe_replay(self, params):
        return self.shown_replay(await self.ask("replay.describe", name=params["ReplayName"]))

    async def list_replays(self, params):
        archive = params.get("EventSourceArn", "").rsplit("/", 1)[-1]
        replays = [one for one in await self.ask("replay.list") if archive in ("", one["archive"])]
        prefix, hidden = params.get("NamePrefix", ""), ("ReplayArn", "Description", "Destination")
        found = [self.shown_replay(one) for one in replays if one["name"].startswith(prefix)]
        return {"Replays": [{key: value for key, value in one.items() if key not in hidden} for one in found]}

    async def cancel_replay(self, params):
        return self.shown_replay(await self.ask("replay.cancel", name=params["ReplayName"]))


def check_id(id_, at):
    """Refuse a target's id in the words of AWS's front end; the engine has its own."""
    told = f"1 validation error detected: Value '{id_}' at 'targets.{at}.member.id' failed to satisfy constraint: Member must"
    if not re.fullmatch(r"[\.\-_A-Za-z0-9]+", id_):
        raise Refused("ValidationException", f"{told} satisfy regular expression pattern: [\\.\\-_A-Za-z0-9]+")
    if len(id_) > 64:
        raise Refused("ValidationException", f"{told} have length less than or equal to 64")


WORDS = ("datetime", "date", "timestamp", "target-id", "target-id-one", "target-id-two", "target-arn", "message-id")
"""They stand for any value."""


def plain(value):
    """Give what boto3 answered as recordings have it."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if key != "ResponseMetadata"}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value.isoformat() if isinstance(value, dt.datetime) else value


def fits(expected, got, name=""):
    """Tell whether an answer is the recorded one, whose placeholders stand for any text."""
    if isinstance(expected, dict):
        if isinstance(got, str) and got.startswith("{"):
            got = json.loads(got)
        of = {key: value for key, value in expected.items() if not key.endswith("Metadata")}
        return isinstance(got, dict) and all(key in got and fits(value, got[key], key) for key, value in of.items())
    if isinstance(expected, list):
        return isinstance(got, list) and len(expected) == len(got) and all(map(fits, expected, got))
    if not isinstance(expected, str):
        return expected == got
    if expected.startswith("{") and isinstance(got, str) and got.startswith("{"):
        return fits(json.loads(expected), json.loads(got), name)
    kebab = re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
    if expected in (kebab, *WORDS) or name == "MD5OfBody":
        return got is not None
    if isinstance(got, str) and got.startswith('"') and not expected.startswith('"'):
        got = json.loads(got)
    expected = expected.replace("second-invalid-target-id", "<id>")
    pattern = re.sub(r"<+[^<>]*>(:\d+>)?", ".*", re.escape(expected).replace(r"\-", "-"))
    return isinstance(got, str) and re.fullmatch(pattern, got, re.DOTALL) is not None

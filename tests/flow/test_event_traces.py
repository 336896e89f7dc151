"""Recorded scenarios of EventBridge, carried out through the app: what AWS answered is answered here."""

import datetime as dt
import json
import re
from pathlib import Path

import pytest
from event_admin_calls import AdminCalls
from event_calls import ACCOUNT, REGION, Refused, fits

from forebay import App
from forebay.testing import VirtualClock

TRACES = Path(__file__).parents[3] / "shared" / "cases" / "events" / "traces.jsonl"
NOW = dt.datetime(2026, 11, 27, 19, 3, 50, tzinfo=dt.UTC).timestamp()
"""Within the times of the recorded replays."""
SHARE = 0.95

UNPLAYED = {
    "get_primary_secondary_client": "the recording has the answers of two accounts or regions, and none of the calls",
}
"""Fixtures of scenarios that are left out, and why."""
MISSED = {
    "test_put_events_exceed_limit_ten_entries": "a call puts 10,000 events here, and AWS's limit is the wire's",
    "test_put_events_with_target_sns": "a topic's copies have no signature and no URLs: nothing is signed (docs/topics.md)",
    "test_put_event_with_too_big_detail": "it was recorded when an event had 256 KiB at most; AWS takes 1 MiB now",
}
"""Scenarios that are answered otherwise, and why."""


def traces():
    if not TRACES.exists():
        return []
    return [json.loads(line) for line in TRACES.read_text().splitlines()]


def left_out(trace):
    return next((UNPLAYED[step["operation"]] for step in trace["steps"] if step["operation"] in UNPLAYED), None)


def apart(trace):
    """Give names apart to what had several, where the recording has one name for all: buses, archives, ids of targets."""
    made, names, steps = set(), {}, []
    for given in trace["steps"]:
        step = {**given, "params": replaced(given["params"], names)}
        params, kind = step["params"], step["operation"]
        key = {"create_event_bus": "Name", "create_archive": "ArchiveName"}.get(kind)
        if key is not None and "error" not in step:
            name = given["params"][key]
            if (kind, name) in made:
                names[name] = params[key] = f"{name}-{len(steps)}"
            made.add((kind, name))
        if kind == "delete_event_bus":
            made.discard(("create_event_bus", given["params"]["Name"]))
        if kind == "put_targets":
            seen = set()
            for number, target in enumerate(params["Targets"]):
                if target["Id"] in seen:
                    target["Id"] += f"-{number}"
                seen.add(target["Id"])
                if "have length less" in step.get("error", {}).get("Error", {}).get("Message", ""):
                    target["Id"] *= 6
        steps.append(step)
    return {**trace, "steps": steps}


def replaced(value, names):
    if isinstance(value, dict):
        return {key: replaced(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [replaced(one, names) for one in value]
    return names.get(value, value) if isinstance(value, str) else value


def is_awaited(steps, number):
    """Tell whether a recording asked the same again until it was refused: what came in between is a matter of time."""
    asked = [(step["operation"], step["params"]) for step in steps[number : number + 2]]
    return len(asked) > 1 and asked[0] == asked[1] and bool(steps[number + 1].get("raises"))


def named(value, answers):
    """Put in what earlier calls answered: `answer-0`, `1-2` (a part of a fixture's), `EventBusArn-0` (a field)."""
    if isinstance(value, dict):
        return {key: named(one, answers) for key, one in value.items()}
    if isinstance(value, list):
        return [named(one, answers) for one in value]
    match = re.fullmatch(r"(\w+)-(\d+)", value) if isinstance(value, str) else None
    if match is None or int(match[2]) >= len(answers):
        return value
    answer = answers[int(match[2])]
    if match[1] == "answer":
        return answer
    if match[1].isdecimal():
        return answer[int(match[1])] if isinstance(answer, list) else value
    return found(answer, match[1]) or value


def found(answer, field):
    if isinstance(answer, dict):
        inner = (found(one, field) for one in answer.values())
        return answer[field] if field in answer else next((one for one in inner if one), None)
    if isinstance(answer, list):
        return next((one for one in (found(one, field) for one in answer) if one), None)
    return None


def part(answer, path):
    for name in path.split("/"):
        answer = answer[int(name)] if isinstance(answer, list) else answer[name]
    return answer


async def differs(trace, store):
    """Carry out a scenario; the first step that is answered otherwise."""
    trace = apart(trace)
    clock = VirtualClock(start=NOW)
    app = App("traces", store=store, region=REGION, account=ACCOUNT, clock=clock)
    async with app:
        calls, answers = AdminCalls(app, clock), []
        for number, step in enumerate(trace["steps"]):
            wanted = step.get("error")
            calls.next_operation = trace["steps"][number + 1]["operation"] if number + 1 < len(trace["steps"]) else None
            try:
                answer = await calls(step["service"], step["operation"], named(step["params"], answers))
            except Refused as refused:
                answer = {"Error": {"Code": refused.code, "Message": refused.message}}
                is_wanted = step.get("raises") or is_awaited(trace["steps"], number)
                if not is_wanted or (wanted is not None and not fits(wanted["Error"], answer["Error"])):
                    return f"step {number} {step['operation']}: {refused}"
            else:
                parts = step.get("parts", {})
                is_wanted = wanted is None and ("answer" not in step or fits(step["answer"], answer))
                if not is_wanted or not all(fits(one, part(answer, path)) for path, one in parts.items()):
                    return f"step {number} {step['operation']}: {json.dumps(answer)[:600]}"
            answers.append(answer)
    return None


@pytest.mark.skipif(not TRACES.exists(), reason="the recorded cases are not beside the repository")
async def test_scenarios_are_answered_as_aws_answered_them(tmp_path):
    ran, wrong = 0, {}
    for number, trace in enumerate(traces()):
        if left_out(trace) is not None:
            continue
        ran += 1
        difference = await differs(trace, tmp_path / str(number))
        if difference is not None:
            wrong[trace["id"]] = difference
    unexplained = {id_: told for id_, told in wrong.items() if not any(name in id_ for name in MISSED)}
    assert not unexplained, "\n".join(f"{id_}: {told}" for id_, told in unexplained.items())
    assert ran >= 90
    assert len(wrong) <= (1 - SHARE) * ran

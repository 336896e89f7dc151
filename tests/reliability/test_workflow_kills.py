"""An app that runs workflows is killed again and again: no transition is lost or doubled, and what goes into the store goes once.

`make deep` runs more of them: FOREBAY_COUNT says how many kills, FOREBAY_SEED where chance begins.
"""

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter, defaultdict

import pytest
from workflow_victim import SENT, STATES, digest, make, name_of

from forebay import ResourceNotFound
from forebay.testing import Ledger

VICTIM = "workflow_victim.py"
KILLS = int(os.environ.get("FOREBAY_COUNT") or 20)
SEED = int(os.environ.get("FOREBAY_SEED", "20261128"))
SUCCEEDED = {"LambdaFunctionSucceeded": 2, "TaskSucceeded": 7}
"""How many tasks of an execution succeed: two calls, five messages, a child and a token."""


async def running(app, *workflows):
    told = [await app._caller.ask("workflow.describe", name=workflow.name) for workflow in workflows]
    return sum(one["running"] for one in told)


async def bodies(queue):
    """Take everything out of a queue; give how often each body was there."""
    found = Counter()
    while messages := await queue.receive(10):
        found.update(message.body for message in messages)
        await asyncio.gather(*(queue.delete(message) for message in messages))
    return found


def wrong_with(name, history):
    """Say what is wrong with the history of an execution that has succeeded."""
    states = Counter()
    for event in history:
        for way in ("Entered", "Exited"):
            if event["type"].endswith(f"State{way}"):
                states[event[f"state{way}EventDetails"]["name"], way] += 1
    types = Counter(event["type"] for event in history)
    if [event["id"] for event in history] != list(range(1, len(history) + 1)):
        yield f"{name}: its events are not numbered from 1 on"
    for (state, count), way in ((item, way) for item in STATES.items() for way in ("Entered", "Exited")):
        if states[state, way] != count:
            yield f"{name}: {state} was {way} {states[state, way]} times instead of {count}"
    for kind, count in SUCCEEDED.items():
        if types[kind] != count:
            yield f"{name}: {types[kind]} {kind} instead of {count}"
    for kind in ("ExecutionStarted", "ExecutionSucceeded"):
        if types[kind] != 1:
            yield f"{name}: {types[kind]} {kind}"
    called, ended = types["LambdaFunctionScheduled"], types["LambdaFunctionSucceeded"] + types["LambdaFunctionFailed"]
    if called != ended:
        yield f"{name}: {called} calls have {ended} ends"


async def all_have_ended(app, *workflows):
    ends = time.monotonic() + 120
    while await running(app, *workflows):
        assert time.monotonic() < ends, "what was left did not end"
        await asyncio.sleep(0.05)


async def judge_one(execution, seen):
    """Say what is wrong with an execution that is there, and how many of its histories were seen before a kill."""
    told = await execution.describe()
    history = [event async for event in execution.history()]
    wrong = list(wrong_with(execution.name, history))
    if told.status != "SUCCEEDED":
        wrong = [f"{execution.name} is {told.status}: {told.error} {told.cause}"]
    rewritten = [length for length, before in seen if digest(history[:length]) != before]
    return wrong + [f"{execution.name}: its first {length} events are not what they were" for length in rewritten]


async def judge(nursery):
    """Let everything end without load, and hold it to the promises."""
    nursery.lives += 1
    ledger, facts = Ledger(nursery.ledger, life=nursery.lives), nursery.facts()
    app, order, quick = make(str(nursery.store), ledger)
    items = defaultdict(set)
    for fact in facts:
        items[fact.kind].add((fact.key, fact.number))
    seen = defaultdict(set)
    for key, length in items["seen"]:
        name, _, told = key.partition(" ")
        seen[name].add((length, told))
    wrong, figures, expected = [], Counter(), Counter()
    async with app:
        await all_have_ended(app, order, quick)
        sent, quickly = await bodies(app.queue("sent")), await bodies(app.queue("quickly"))
        for number in sorted(number for key, number in items["asked"] if key == "order"):
            name = name_of(number)
            try:
                wrong += await judge_one(order.execution(name), seen[name])
            except ResourceNotFound:
                wrong += [f"{name} is lost"] if ("order", number) in items["acknowledged"] else []
                continue
            expected.update(f"{name} {what}" for what in SENT)
            figures["executions"] += 1
            figures["histories_seen_before"] += len(seen[name])
    ledger.close()
    wrong += [
        f"{body!r} was sent {sent[body]} times instead of {expected[body]}"
        for body in sent | expected
        if sent[body] != expected[body]
    ]
    started = {str(number) for key, number in items["acknowledged"] if key == "quick"}
    wrong += [f"Express execution {number} is lost" for number in started - set(quickly)]
    figures["transitions"] = figures["executions"] * sum(STATES.values())
    figures |= {"sent": sent.total(), "express": len(quickly), "express_twice": quickly.total() - len(quickly)}
    return wrong, figures


@pytest.mark.timeout(240 + KILLS)
def test_transitions_and_messages_happen_once_over_kills(nursery):
    chance = random.Random(SEED)
    for _ in range(KILLS):
        child, life = nursery.start(), nursery.lives
        nursery.until(lambda life=life: nursery.count("started", life), "a start")
        time.sleep(chance.random() ** 2 * 0.5)
        nursery.kill(child)
        assert nursery.wait(child) == -signal.SIGKILL, nursery.said()
    wrong, figures = asyncio.run(judge(nursery))
    figures |= {"kills": KILLS, "calls_cut_short": nursery.count("begun") - nursery.count("done")}
    print(f"figures {json.dumps(figures)}")
    assert wrong == [], f"{wrong[:10]}\n{nursery.said()}"
    assert figures["executions"] and figures["express"]
    assert figures["histories_seen_before"] and figures["calls_cut_short"], "nothing was under way at a kill"

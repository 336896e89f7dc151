"""An app that runs workflows and is going to be killed, and the nursery that starts it: see `victim.py`.

A Standard execution passes every kind of state that waits for something: a function, a queue, branches, items, a timer, a child
execution and a token. What it sends stays in a queue that nobody reads before the end. A witness notes histories as it reads
them, so that the end can tell whether one of them was rewritten.
"""

import asyncio
import hashlib
import json
import random
from typing import Any

from victim import nursery

from forebay import App, Batch, ResourceNotFound, Workflow
from forebay.testing import Ledger

NOTED = ("started", "seen")
ITEMS = 3
PER_LIFE = 30


def task(resource: str, **fields: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": resource, "ResultPath": None, **fields}


def send(queue: str, what: str, **fields: Any) -> dict[str, Any]:
    """Give a state that sends the name of its execution and a word."""
    body = f"States.Format('{{}} {what}', $$.Execution.Name)"
    return task("arn:aws:states:::sqs:sendMessage", Parameters={"QueueUrl": queue, "MessageBody.$": body}, **fields)


def call(**fields: Any) -> dict[str, Any]:
    """Give a state that calls the function. One whose process is killed three times while it runs alone has failed."""
    again = [{"ErrorEquals": ["Lambda.Unknown"], "IntervalSeconds": 1, "BackoffRate": 1.0, "MaxAttempts": 100}]
    payload = {"name.$": "$$.Execution.Name", "state.$": "$$.State.Name"}
    return task("${work}", Parameters=payload, Retry=again, **fields)


def order(sent: str, asked: str, child: str) -> dict[str, Any]:
    """Give the definition of the Standard workflow."""
    each = send(sent, "each", End=True)
    each["Parameters"]["MessageBody.$"] = "States.Format('{} each {}', $$.Execution.Name, $.item)"
    return {
        "StartAt": "Begin",
        "States": {
            "Begin": {"Type": "Pass", "Next": "Work"},
            "Work": call(Next="Tell"),
            "Tell": send(sent, "tell", Next="Both"),
            "Both": {
                "Type": "Parallel",
                "Branches": [
                    {"StartAt": "Left", "States": {"Left": call(End=True)}},
                    {"StartAt": "Right", "States": {"Right": send(sent, "right", End=True)}},
                ],
                "ResultPath": None,
                "Next": "Each",
            },
            "Each": {
                "Type": "Map",
                "ItemsPath": "$.items",
                "ItemSelector": {"item.$": "$$.Map.Item.Value"},
                "ItemProcessor": {"StartAt": "Send", "States": {"Send": each}},
                "ResultPath": None,
                "Next": "Rest",
            },
            "Rest": {"Type": "Wait", "Seconds": 1, "Next": "Child"},
            "Child": task(
                "arn:aws:states:::states:startExecution.sync:2",
                Parameters={"StateMachineArn": child, "Name.$": "$$.Execution.Name", "Input": {}},
                Next="Approve",
            ),
            "Approve": task(
                "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
                Parameters={"QueueUrl": asked, "MessageBody": {"token.$": "$$.Task.Token"}},
                Next="Done",
            ),
            "Done": {"Type": "Succeed"},
        },
    }


STATES = {"Begin": 1, "Work": 1, "Tell": 1, "Both": 1, "Left": 1, "Right": 1, "Each": 1, "Send": ITEMS} | dict.fromkeys(
    ("Rest", "Child", "Approve", "Done"), 1
)
"""How often an execution enters each of its states, and leaves it."""
SENT = ["tell", "right", *(f"each {item}" for item in range(ITEMS)), "child"]
"""What an execution sends, its child included."""


def make(store: str, ledger: Ledger) -> tuple[App, Workflow, Workflow]:
    """Make the app, its Standard and its Express workflow."""
    app, chance = App("victim", store=store), random.Random()
    sent, quickly, asked = (app.queue(name, visibility_timeout=600) for name in ("sent", "quickly", "asked"))

    @app.function(timeout=30)
    async def work(event, context) -> None:
        with ledger.handling([(f"{event['name']} {event['state']}", 1)]):
            await asyncio.sleep(chance.random() * 0.03)

    @app.on_queue("asked", batch_size=10)
    async def answer(batch: Batch, context) -> None:
        for message in batch:
            try:
                await app.task_success(json.loads(message.body)["token"], "yes")
            except ResourceNotFound:
                continue  # it was told before the kill

    child = app.workflow("child", {"StartAt": "Say", "States": {"Say": send(sent.arn, "child", End=True)}})
    quick = {"QueueUrl": quickly.arn, "MessageBody.$": "$.number"}
    express = task("arn:aws:states:::sqs:sendMessage", Parameters=quick, End=True)
    return (
        app,
        app.workflow("order", order(sent.arn, asked.arn, child.arn)),
        app.workflow("quick", {"StartAt": "Send", "States": {"Send": express}}, "EXPRESS"),
    )


def name_of(number: int) -> str:
    return f"order-{number}"


async def start(order: Workflow, quick: Workflow, ledger: Ledger, how: dict) -> None:
    """Start executions of both types, and say which starts were acknowledged."""
    chance, number = random.Random(how["life"]), ledger.next_number()
    for _ in range(PER_LIFE):
        is_quick, number = chance.random() < 0.3, number + 1
        fact = ("quick" if is_quick else "order", number)
        ledger.note("asked", [fact])
        if is_quick:
            await quick.start_many([{"number": f"{number}"}])
        else:
            await order.start({"items": list(range(ITEMS))}, name=name_of(number))
        ledger.note("acknowledged", [fact])
        await asyncio.sleep(0.002)


def digest(events: list[dict[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(events, sort_keys=True).encode()).hexdigest()


async def watch(order: Workflow, ledger: Ledger, how: dict) -> None:
    """Read histories of executions that run, and note what they were."""
    chance, last = random.Random(-how["life"]), ledger.next_number()
    while True:
        number = max(1, last + chance.randint(-PER_LIFE, PER_LIFE))
        try:
            events = [event async for event in order.execution(name_of(number)).history()]
            ledger.note("seen", [(f"{name_of(number)} {digest(events)}", len(events))])
        except ResourceNotFound:
            pass
        await asyncio.sleep(0.003)


async def live(how: dict) -> int:
    """Run the app under load until it is killed."""
    ledger = Ledger(how["ledger"], life=how["life"], own=NOTED)
    app, order, quick = make(how["store"], ledger)
    async with app:
        ledger.note("started", [("", 0)])
        await asyncio.gather(start(order, quick, ledger, how), watch(order, ledger, how))
    return 0


if __name__ == "__main__":
    nursery(live)

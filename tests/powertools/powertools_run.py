"""Puts orders in front of `moved_lambda.py` and judges what became of them: none lost, none repeated beyond the rules."""

import asyncio
import collections
import json
import time

from forebay import FunctionError

GROUPS = 20


def lines(module, file):
    path = module.TOLD / file
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def run(module, orders, within):
    """Send orders to each source, charge each of a tenth twice, and ask the API for a tenth."""
    app = module.app
    async with app:
        bodies = [{"number": number} for number in range(orders)]
        for start in range(0, orders, 10):
            chunk = bodies[start : start + 10]
            await app.queue("orders").send_many([json.dumps(body) for body in chunk])
            in_order = [{"body": json.dumps(body), "group_id": str(body["number"] % GROUPS)} for body in chunk]
            await app.queue("orders.fifo").send_many(in_order)
        await app.stream("orders").put_many([(json.dumps(body), str(body["number"])) for body in bodies])
        asked = await asyncio.gather(*[twice(module, number) for number in range(orders // 10)])
        pages = await asyncio.gather(*[module.web.invoke(get(f"/orders/{number}")) for number in range(orders // 10)])
        ends = time.monotonic() + within
        while not all(succeeded(module, source) >= set(range(orders)) for source in ("queue", "fifo", "stream")):
            assert time.monotonic() < ends, {each: len(succeeded(module, each)) for each in ("queue", "fifo", "stream")}
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)  # for what would come once too often
    return asked, pages


async def twice(module, number):
    """Charge an order in two invocations at the same time: what finds it in progress asks again, as the error says."""

    async def charge():
        while True:
            try:
                return await module.charge.invoke({"order": number})
            except FunctionError as error:
                if error.payload["errorType"] != "IdempotencyAlreadyInProgressError":
                    raise
                await asyncio.sleep(0.05)

    return await asyncio.gather(charge(), charge())


def get(path):
    """Make the event of a GET request through Amazon API Gateway's REST API."""
    return {"path": path, "httpMethod": "GET", "headers": {}, "requestContext": {"path": path, "httpMethod": "GET"}}


def succeeded(module, source):
    return {line["number"] for line in lines(module, source) if not line["failed"]}


def tries(module, source):
    """Give every try of each order, in the order in which they were made."""
    found = collections.defaultdict(list)
    for line in lines(module, source):
        found[line["number"]].append(line)
    return found


def judge(module, orders, answers, printed):
    """Hold what was told against the rules."""
    fails = {number for number in range(orders) if number % 5 == 0}
    for source in ("queue", "fifo"):
        made = tries(module, source)
        outcomes = {number: [line["failed"] for line in made[number]] for number in range(orders)}
        wrong = {number: got for number, got in outcomes.items() if got != [True] * (number in fails) + [False]}
        assert wrong == {}, f"{source}: each is tried until it succeeds, and never again"
    judge_order(lines(module, "fifo"))
    judge_stream(lines(module, "stream"), orders)
    assert sorted(line["number"] for line in lines(module, "booked")) == list(range(orders)), (
        "booked once, however often tried"
    )
    assert sorted(line["order"] for line in lines(module, "charged")) == list(range(orders // 10))
    asked, pages = answers
    assert all(first == second and first["order"] == number for number, (first, second) in enumerate(asked))
    assert [page["statusCode"] for page in pages] == [200] * len(pages)
    told = [json.loads(page["body"]) for page in pages]
    assert [body["number"] for body in told] == list(range(orders // 10))
    assert len({body["request"] for body in told}) == len(pages)
    judge_output(module, printed.out)
    assert [line for line in printed.err.splitlines() if "an order" in line] == [], "each line is written once"


def judge_order(made):
    """Within a group of a FIFO queue orders succeed in the order in which they were sent."""
    groups = collections.defaultdict(list)
    for line in made:
        if not line["failed"]:
            groups[line["number"] % GROUPS].append(line["number"])
    assert all(numbers == sorted(numbers) for numbers in groups.values())


def judge_stream(made, orders):
    """A record runs again if its batch failed at it or before it, as often as that happened, and not once more."""
    allowed, happened = collections.Counter(), collections.Counter()
    batches = collections.defaultdict(list)
    for line in made:
        batches[line["request"]].append(line)
        happened[line["number"]] += 1
    for batch in batches.values():
        first = next((at for at, line in enumerate(batch) if line["failed"]), len(batch))
        allowed.update(line["number"] for line in batch[first:])
    wrong = {number: happened[number] for number in range(orders) if happened[number] != 1 + allowed[number]}
    assert wrong == {}


def judge_output(module, printed):
    """Every line of the log has its own invocation's request id, and every success is in exactly one metric."""
    objects = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    logged = [line for line in objects if line.get("message") == "an order"]
    made = [(source, line) for source in ("queue", "fifo", "stream") for line in lines(module, source)]
    assert len(logged) == len(made)
    assert [line for line in logged if line["function_request_id"] != line["wanted"]] == []
    known = collections.Counter((source, line["number"], line["request"]) for source, line in made)
    assert collections.Counter((line["source"], line["number"], line["wanted"]) for line in logged) == known
    handled = sum(len(line["Handled"]) for line in objects if "Handled" in line)
    assert handled == sum(not line["failed"] for _, line in made)

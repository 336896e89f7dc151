"""What takes long of REST APIs is worked out beside the thread that serves everybody else."""

import asyncio
import json
import statistics
import time

# 900 x 150 rounds: most of the steps that one rendering may take.
LONG = "#foreach($a in [1..900])#foreach($b in [1..150])#set($c = $b)#end#end\n"
INTEGRATION = {"type": "MOCK", "passthroughBehavior": "NEVER"}
QUICK_BESIDE = 12


async def mocked(rest, path, *, verb="POST", request='{"statusCode": 200}', answer="", **method):
    """Make a method that answers itself, with these templates."""
    resources = {one["path"]: one["id"] for one in (await rest.call("GetResources"))["items"]}
    made = await rest.call("CreateResource", parentId=resources["/"], pathPart=path)
    of = {"resourceId": made["id"], "httpMethod": verb}
    await rest.call("PutMethod", **of, authorizationType="NONE", **method)
    await rest.call("PutMethodResponse", **of, statusCode="200")
    await rest.call("PutIntegration", **of, **INTEGRATION, requestTemplates={"application/json": request})
    await rest.call("PutIntegrationResponse", **of, statusCode="200", responseTemplates={"application/json": answer})


async def timed(client, path, body=b"{}", verb="POST"):
    began = time.perf_counter()
    answer = await client.ask(verb, f"/_apis/legacy/dev/{path}", {"content-type": "application/json"}, body)
    assert answer.status == 200, answer.body
    return time.perf_counter() - began


async def held_up(client, path, body=b"{}"):
    """Give how long a quick request takes beside long ones, as a share of what a long one takes alone."""
    await timed(client, "quick")
    alone = min([await timed(client, path, body) for _ in range(3)])
    long = [asyncio.create_task(timed(client, path, body)) for _ in range(6)]
    await asyncio.sleep(alone / 4)
    beside = [await timed(client, "quick") for _ in range(QUICK_BESIDE) if not all(one.done() for one in long)]
    await asyncio.gather(*long)
    return statistics.median(beside) / alone


async def test_long_templates_of_requests_hold_nobody_up(app, serve):
    """They were rendered on the thread of all requests: whoever came meanwhile waited for all of them."""
    rest = app.rest_api("legacy")
    client = await serve()
    await mocked(rest, "quick")
    await mocked(rest, "asks", request=LONG + '{"statusCode": 200}')
    await mocked(rest, "answers", answer=LONG + "done")
    await rest.deploy("dev")
    shares = {path: await held_up(client, path) for path in ("asks", "answers")}
    assert all(share < 0.5 for share in shares.values()), shares


async def words(rest):
    """Make a model that takes long to hold a body against; give what a method demands by it, and such a body."""
    patterns = [{"pattern": f"^[a-z{n}]+$"} for n in range(20)]
    schema = {"type": "array", "items": {"type": "string", "allOf": patterns}}
    await rest.call("CreateModel", name="Words", contentType="application/json", schema=json.dumps(schema))
    validator = await rest.call("CreateRequestValidator", name="all", validateRequestBody=True)
    demands = {"requestValidatorId": validator["id"], "requestModels": {"application/json": "Words"}}
    return demands, json.dumps(["abcdefghijkl"] * 20_000).encode()


async def test_large_bodies_of_validated_methods_hold_nobody_up(app, serve):
    """They were held against their models on the thread of all requests."""
    rest = app.rest_api("legacy")
    client = await serve()
    demands, body = await words(rest)
    await mocked(rest, "quick")
    await mocked(rest, "words", **demands)
    await rest.deploy("dev")
    assert await held_up(client, "words", body) < 0.5


async def test_models_that_are_compiled_hold_nobody_up(app, serve):
    """The first request after a deploy compiled all models where everybody else waited."""
    rest = app.rest_api("legacy")
    client = await serve()
    await mocked(rest, "quick")
    await rest.deploy("dev")
    fields = {f"field{n}": {"type": "string", "pattern": f"^(?:{n}|\\p{{L}}+)\\d$"} for n in range(400)}
    schema = {"type": "object", "properties": fields}
    await rest.call("CreateModel", name="Large", contentType="application/json", schema=json.dumps(schema))
    validator = await rest.call("CreateRequestValidator", name="all", validateRequestBody=True)
    demands = {"requestValidatorId": validator["id"], "requestModels": {"application/json": "Large"}}
    await mocked(rest, "large", **demands)

    async def first(stage):
        await rest.deploy(stage)
        began = time.perf_counter()
        answer = await client.ask("POST", f"/_apis/legacy/{stage}/large", {"content-type": "application/json"}, b"{}")
        assert answer.status == 200, answer.body
        return time.perf_counter() - began

    await timed(client, "quick")
    alone = await first("one")
    late = asyncio.create_task(first("two"))
    await asyncio.sleep(alone / 4)
    beside = []
    while not late.done():
        beside.append(await timed(client, "quick"))
    await late
    assert statistics.median(beside) / alone < 0.5, (beside, alone)


async def test_a_body_that_misses_the_cache_is_validated_once(app, serve):
    """It was validated before the cache was looked at, and again on its way through the method."""
    rest = app.rest_api("legacy")
    client = await serve()
    demands, body = await words(rest)
    for path in ("kept", "plain"):
        await mocked(rest, path, verb="GET", **demands)
    await rest.deploy("dev")
    patches = [
        {"op": "replace", "path": "/cacheClusterEnabled", "value": "true"},
        {"op": "replace", "path": "/~1kept/GET/caching/enabled", "value": "true"},
    ]
    await rest.call("UpdateStage", stageName="dev", patchOperations=patches)

    async def once(path):
        await rest.call("FlushStageCache", stageName="dev")
        return await timed(client, path, body, verb="GET")

    # In turns: what else runs on the machine is the same for both.
    took = [(await once("kept"), await once("plain")) for _ in range(7)]
    ratio = min(kept for kept, _ in took) / min(plain for _, plain in took)
    assert ratio < 1.6

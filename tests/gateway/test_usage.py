"""What the keys of usage plans have used: it is counted, shown, and kept over restarts."""

import asyncio
import datetime as dt

from click.testing import CliRunner

from forebay import App
from forebay.cli import main


def pets(store):
    app = App("pets", store=store)
    rest = app.rest_api("pets", stage="prod")

    @rest.method("GET", "/pets", api_key_required=True)
    async def listed(event, context):
        return {"statusCode": 200, "body": "[]"}

    return app, rest


async def key_of(rest, **plan):
    """Make a key in a plan of the stage; give the plan's id and the header that shows the key."""
    api = await rest.call("GetRestApi")
    key = await rest.call("CreateApiKey", name="partner", enabled=True)
    stages = [{"apiId": api["id"], "stage": "prod"}]
    made = (await rest.call("CreateUsagePlan", name="bronze", apiStages=stages, **plan))["id"]
    await rest.call("CreateUsagePlanKey", usagePlanId=made, keyId=key["id"], keyType="API_KEY")
    return made, {"x-api-key": key["value"]}


async def test_what_the_stage_throttles_counts_against_no_quota(tmp_path, clients):
    """A client that met the stage's limit used its quota up without one answer."""
    app, rest = pets(tmp_path)
    client = await clients(app)
    await rest.deploy("prod")
    plan, header = await key_of(rest, quota={"limit": 5, "period": "MONTH"})
    throttle = [
        {"op": "replace", "path": "/~1pets/GET/throttling/rateLimit", "value": "0.000001"},
        {"op": "replace", "path": "/~1pets/GET/throttling/burstLimit", "value": "2"},
    ]
    await rest.call("UpdateStage", stageName="prod", patchOperations=throttle)
    answers = [await client.ask("GET", "/_apis/pets/prod/pets", header) for _ in range(8)]
    assert [answer.status for answer in answers] == [200, 200, *[429] * 6]
    assert {answer.json()["message"] for answer in answers[2:]} == {"Too Many Requests"}
    assert list((await used(rest, plan)).values()) == [2]


async def used(rest, plan):
    today = dt.datetime.now(dt.UTC).date()
    days = {"startDate": str(today - dt.timedelta(1)), "endDate": str(today + dt.timedelta(1))}
    told = await rest.call("GetUsage", usagePlanId=plan, **days)
    # A test that runs over midnight counts on two days.
    return {key: sum(day[0] for day in of) for key, of in told["items"].items()}


async def test_a_quota_goes_on_after_a_restart(tmp_path, clients):
    """The counts lived in memory: a restart gave each key its whole quota again."""
    app, rest = pets(tmp_path)
    client = await clients(app)
    await rest.deploy("prod")
    plan, header = await key_of(rest, quota={"limit": 3, "period": "MONTH"})
    [key] = (await rest.call("GetApiKeys"))["items"]
    for _ in range(2):
        assert (await client.ask("GET", "/_apis/pets/prod/pets", header)).status == 200
    assert (await client.ask("GET", "/_apis/pets/prod/pets")).status == 403
    assert await used(rest, plan) == {key["id"]: 2}
    await app.stop()
    app, rest = pets(tmp_path)
    client = await clients(app)
    assert await used(rest, plan) == {key["id"]: 2}
    answers = [await client.ask("GET", "/_apis/pets/prod/pets", header) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 429]
    assert answers[1].json() == {"message": "Limit Exceeded"}
    await rest.call("DeleteUsagePlanKey", usagePlanId=plan, keyId=key["id"])
    assert await used(rest, plan) == {}


async def test_the_stages_that_a_plan_opens_are_listed_with_its_key(tmp_path, clients):
    """The key had "-" there, as one that opens nothing."""
    app, rest = pets(tmp_path)
    await clients(app)
    await rest.deploy("prod")
    api = (await rest.call("GetRestApi"))["id"]
    key = await rest.call("CreateApiKey", name="partner", enabled=True)
    await rest.call("CreateApiKey", name="nobody", enabled=True)
    plan = await rest.call("CreateUsagePlan", name="bronze", apiStages=[{"apiId": api, "stage": "prod"}])
    await rest.call("CreateUsagePlanKey", usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
    listed = await asyncio.to_thread(CliRunner().invoke, main, ["api", "keys", "--store", str(tmp_path)])
    lines = {line.split()[1]: line.split()[2:] for line in listed.output.splitlines()}
    assert lines == {
        "NAME": ["ENABLED", "PLANS", "STAGES"],
        "partner": ["yes", "bronze", f"{api}/prod"],
        "nobody": ["yes", "-", "-"],
    }

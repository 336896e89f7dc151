"""What the keys of usage plans have used: it is counted, shown, and kept over restarts."""

import datetime as dt

from forebay import App


def pets(store):
    app = App("pets", store=store)
    rest = app.rest_api("pets", stage="prod")

    @rest.method("GET", "/pets", api_key_required=True)
    async def listed(event, context):
        return {"statusCode": 200, "body": "[]"}

    return app, rest


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
    api = await rest.call("GetRestApi")
    key = await rest.call("CreateApiKey", name="partner", enabled=True)
    stages = [{"apiId": api["id"], "stage": "prod"}]
    quota = {"limit": 3, "period": "MONTH"}
    plan = (await rest.call("CreateUsagePlan", name="bronze", quota=quota, apiStages=stages))["id"]
    await rest.call("CreateUsagePlanKey", usagePlanId=plan, keyId=key["id"], keyType="API_KEY")
    header = {"x-api-key": key["value"]}
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

"""`forebay api`, as a user types it while the app runs."""

import asyncio
import json

from click.testing import CliRunner

from forebay import App
from forebay.cli import main


async def forebay(*words):
    result = await asyncio.to_thread(CliRunner().invoke, main, ["api", *map(str, words)])
    return result.exit_code, result.output


async def test_apis_and_routes_are_listed_while_the_app_runs(tmp_path, no_task_is_left):
    app = App("shop", store=tmp_path / "data")
    api = app.http_api("shop")

    @api.route("GET", "/orders/{id}")
    async def order(event, context):
        return None

    api.proxy("ANY /old/{path+}", "http://127.0.0.1:9000/{path}")
    async with app:
        store = ("--store", tmp_path / "data")
        assert api.id in (await forebay("list", *store))[1]
        status, output = await forebay("routes", "shop", *store)
        assert status == 0 and "GET /orders/{id}" in output and "http://127.0.0.1:9000/{path}" in output
        [listed] = json.loads((await forebay("list", *store, "--output", "json"))[1])
        assert (listed["kind"], listed["stages"], len(listed["routes"])) == ("http", ["$default"], 2)
        status, output = await forebay("routes", "other", *store)
        assert status == 1 and "there is no API 'other'" in output.replace('"', "'")
    status, output = await forebay("list", *store)
    assert status == 1 and "no app runs" in output

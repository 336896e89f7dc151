"""Where an app's store is, whose it is, and what happens when its directory is gone."""

import asyncio
import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from ports import free_port

from forebay import App, Batch, ResourceConflict, StoreFailed, StoreNewerFormat
from forebay.cli.connect import connect
from forebay.errors import InvalidParameterValue
from forebay.testing import VirtualClock

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
FOREBAY = Path(sys.executable).parent / "forebay"


async def until(condition, within=100):
    """Wait for what another thread or process does."""
    ends = time.monotonic() + within
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        await asyncio.sleep(0.005)


def make(store, seen=None, name="shop", function="ship", **options):
    app = App(name, store=store, **options)
    app.stream("numbers", shards=1)
    if seen is not None:

        @app.on_stream("numbers")
        @app.function(name=function)
        async def handler(batch: Batch, context):
            seen.extend(record.json() for record in batch)

    return app


def asked(store, verb, **fields):
    with connect(store) as connection:
        return connection.ask(verb, **fields)


# --- where it is


async def test_a_store_stays_where_it_was_at_the_first_start(tmp_path, monkeypatch):
    """After `os.chdir` a second start looked for the store in another directory: a backlog was acknowledged and never handled."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    seen = []
    app = make("data", seen)
    assert app.settings.store == "data", "an app that has not started is nowhere yet"
    async with app:
        await app.mappings[0].pause()
        await app.stream("numbers").put(1, "k")
    assert app.settings.store == str(tmp_path / "data")
    monkeypatch.chdir(elsewhere)
    async with app:
        await app.mappings[0].resume()
        await until(lambda: seen == [1])
    assert not (elsewhere / "data").exists()


async def test_who_takes_over_finds_the_store_after_a_change_of_directory(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    seen = []
    async with make("data") as owner, make("data", seen) as standby:
        await standby.stream("numbers").put(1, "k")
        monkeypatch.chdir(elsewhere)
        await owner.stop()
        await until(lambda: seen == [1])
    assert not (elsewhere / "data").exists()


async def test_a_short_name_of_a_deep_directory_leads_to_the_same_socket(tmp_path, monkeypatch):
    """The owner of a deep directory listens elsewhere. Who asks by a relative path must look there, too."""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.chdir(deep)
    async with make("data"):
        assert not (deep / "data" / "forebay.sock").exists()
        health = await asyncio.to_thread(asked, Path("data"), "health")
        assert (health["role"], health["ready"], health["app"]) == ("owner", True, "shop")


# --- whose it is


@pytest.mark.parametrize("runs", [True, False])
async def test_a_store_of_another_app_is_refused_with_the_way_to_share_it(tmp_path, runs):
    """The second app became a client of the first one without a word, and nothing that was put for its functions was handled."""
    first = make(tmp_path / "data")
    await first.start()
    if not runs:
        await first.stop()
    try:
        for serve in ("elect", False):
            with pytest.raises(ResourceConflict) as refused:
                await make(tmp_path / "data", [], name="billing", serve=serve).start()
            assert str(refused.value) == (
                f'the store {tmp_path / "data"} belongs to app "shop", and this one is for app "billing". Next: give this app '
                'a directory of its own (store=), or say store_app="shop" to share this one on purpose, and after an app was '
                "renamed"
            )
    finally:
        await first.stop()
    with pytest.raises(InvalidParameterValue, match="store_app='a b'"):
        App("billing", store_app="a b")


async def test_a_program_that_names_the_stores_app_shares_it(tmp_path, no_task_is_left):
    seen = []
    async with make(tmp_path / "data", seen):
        async with make(tmp_path / "data", name="web", store_app="shop", serve=False) as web:
            await web.stream("numbers").put(1, "k")
        await until(lambda: seen == [1])
    async with make(tmp_path / "data", seen, name="renamed", store_app="shop") as renamed:
        await renamed.stream("numbers").put(2, "k")
        await until(lambda: seen == [1, 2])


@pytest.mark.parametrize("format_", [2, 3])
async def test_a_store_of_each_release_goes_on_and_takes_the_first_apps_name_and_no_commands(tmp_path, format_):
    """Each golden file is what app "shop" left: three numbers that a paused mapping had not handled.

    With the machine's clock the test failed from a day after the file was made on: the numbers are kept for a day.
    """
    data, seen = tmp_path / "data", []
    data.mkdir()
    shutil.copy(GOLDEN / f"app-v{format_}.db", data / "forebay.db")
    [stream] = await asyncio.to_thread(asked, data, "stream.list")
    assert (stream["name"], stream["records"], format_of(data)) == ("numbers", 3, format_), (
        "a command leaves it as it is"
    )
    clock = VirtualClock(start=1_795_813_100)
    async with make(data, seen, clock=clock) as app:
        await app.mappings[0].resume()
        await clock.advance(1)
        assert seen == [0, 1, 2]
    assert format_of(data) == 4, "the release before it refuses it from now on"
    with pytest.raises(ResourceConflict, match='belongs to app "shop"'):
        await make(data, name="other").start()


async def test_a_store_of_a_newer_release_is_refused_with_the_way_back_and_left_as_it_is(tmp_path):
    data = tmp_path / "data"
    async with make(data) as app:
        await app.stream("numbers").put(1, "k")
    with contextlib.closing(sqlite3.connect(data / "forebay.db")) as store:
        store.executescript(
            "BEGIN; CREATE TABLE newer(x); PRAGMA user_version = 99; COMMIT; PRAGMA wal_checkpoint(TRUNCATE)"
        )
    before = (data / "forebay.db").read_bytes()
    with pytest.raises(StoreNewerFormat, match=r"has format 99.* the way back that its docs/guides/upgrade\.md tells"):
        await make(data).start()
    assert (data / "forebay.db").read_bytes() == before


async def test_events_of_a_store_of_format_3_run_and_may_have_options_from_now_on(tmp_path):
    """The golden file is what app "shop" of format 3 left: two events of `bill`, each of which had failed once.

    With the machine's clock they would be too old from six hours after the file was made on.
    """
    data, seen = tmp_path / "data", []
    data.mkdir()
    shutil.copy(GOLDEN / "app-v3-events.db", data / "forebay.db")
    await asyncio.to_thread(asked, data, "stream.list")
    assert format_of(data) == 3, "a command leaves it to the last release"
    clock = VirtualClock(start=1_795_828_900)
    app = App("shop", store=data, clock=clock)

    @app.function()
    async def bill(event, context):
        seen.append(event["order"])
        return event

    async with app:
        await clock.advance(600)
        assert sorted(seen) == [0, 1]
        request = await bill.invoke_async({"order": 2}, delay=1, deduplication_id="2", keep_result=True)
        await clock.advance(2)
        assert await bill.result(request) == {"order": 2}
        assert await bill.invoke_async({"order": 3}, deduplication_id="2") == request
    assert format_of(data) == 4


async def test_buses_schedules_archives_and_schemas_of_a_store_go_on(tmp_path):
    """The golden file is what app "shop" left that had every kind of row of event buses, before rules had a retry policy.

    A bus had put one event into a queue and an archive, and had replayed it; its schema had been discovered and copied.
    """
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(GOLDEN / "app-v4-buses.db", data / "forebay.db")
    clock = VirtualClock(start=1_795_900_100)
    app = App("shop", store=data, clock=clock)
    orders, strict, inbox = app.bus("orders"), app.bus("strict"), app.queue("inbox")
    discovered = app.registry("discovered-schemas")
    async with app:
        archive = await app._caller.ask("archive.describe", name="kept")
        assert (archive["events"], archive["bus"]) == (1, "orders")
        [replay] = await app._caller.ask("replay.list")
        assert (replay["name"], replay["state"], replay["events"]) == ("again", "COMPLETED", 1)
        assert (await discovered.get("shop@Placed")).versions == (1, 2)
        with pytest.raises(
            InvalidParameterValue, match="does not fit schema shop@Placed version 1 of registry contracts"
        ):
            await strict.put({"id": "one"}, source="shop", detail_type="Placed")
        await orders.put({"id": 2, "note": "x"}, source="shop", detail_type="Placed")
        await clock.advance(300)
        assert (await discovered.get("shop@Placed")).versions == (1, 2, 3)
        bodies = sorted(message.body for message in await inbox.receive(maximum=10))
        assert bodies == ['{"id":1}', '{"id":1}', '{"id":2,"note":"x"}', '{"tick":1}']


async def test_notes_schedules_of_rules_groups_and_connections_of_a_store_go_on(tmp_path):
    """The golden file is what app "shop" left when it was killed, when these rows were new."""
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(GOLDEN / "app-v4-resources.db", data / "forebay.db")
    clock = VirtualClock(start=1_796_200_010)
    app = App("shop", store=data, clock=clock)
    inbox = app.queue("inbox")
    async with app:
        ask = app._caller.ask
        bus = await ask("bus.describe", name="orders")
        assert bus["notes"] == {"tag:team": "a", "policy": '{"Statement":[]}'}
        rule = await ask("rule.describe", bus="default", name="every")
        assert (rule["schedule_expression"], rule["pattern"], rule["notes"]) == ("rate(5 minutes)", "", {"tag:x": "y"})
        assert [one["notes"] for one in await ask("schedule_group.list")] == [{}, {"tag:a": "b"}]
        connection = await ask("http_connection.describe", name="crm")
        assert (connection["kind"], connection["state"], connection["description"]) == ("BASIC", "DEAUTHORIZED", "d")
        assert connection["shown"] == {"BasicAuthParameters": {"Username": "u"}}
        destination = await ask("api_destination.describe", name="crm")
        assert (destination["method"], destination["invocations_per_second"]) == ("PUT", 7)
        assert (destination["connection_arn"], destination["is_active"]) == (connection["arn"], False)
        await clock.advance(600)
        bodies = sorted(message.body for message in await inbox.receive(maximum=10))
        assert bodies == ['"aws.events"', '"aws.events"', "tick"]


async def test_secrets_of_connections_that_a_store_kept_authorize_again(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(GOLDEN / "app-v4-resources.db", data / "forebay.db")
    shutil.copy(GOLDEN / "connection-secrets-v1.json", data / "connection-secrets.json")
    app = App("shop", store=data, clock=VirtualClock(start=1_796_200_010))
    app.queue("inbox")
    async with app:
        connection = await app._caller.ask("http_connection.describe", name="crm")
        assert (connection["state"], connection["reason"]) == ("AUTHORIZED", None)
        secret = await app._caller.ask("http_connection.secret", name="crm")
        assert secret == {"BasicAuthParameters": {"Username": "u", "Password": "p"}}
        assert (await app._caller.ask("api_destination.describe", name="crm"))["is_active"]


async def test_executions_activities_and_express_starts_of_a_store_go_on(tmp_path):
    """The golden file is what app "shop" left when it was killed, before workflows had versions and integrations.

    An execution waited for its token, one had failed, one waited for a worker, an Express one and two children of a distributed
    Map ran in a function.
    """
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(GOLDEN / "app-v4-workflows.db", data / "forebay.db")
    clock = VirtualClock(start=1_796_000_100)
    app = App("shop", store=data, clock=clock)
    shipped, charged = [], []

    @app.function(timeout=900)
    async def ship(event, context):
        shipped.append(event)
        return "shipped"

    @app.function()
    async def charge(event, context):
        charged.append(event)

    def machine(**states):
        return {"StartAt": next(iter(states)), "States": states}

    asked, paint = app.queue("asked"), app.activity("paint")
    task, calls = {"Type": "Task"}, {"Type": "Task", "Resource": "${ship}", "End": True}
    token = {"QueueUrl": asked.arn, "MessageBody": {"token.$": "$$.Task.Token"}}
    order = app.workflow(
        "order",
        machine(
            Ask={
                **task,
                "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
                "ResultPath": "$.asked",
                "Parameters": token,
                "Next": "Rest",
            },
            Rest={"Type": "Wait", "Seconds": 60, "Next": "Ship"},
            Ship={**calls, "ResultPath": "$.shipped"},
        ),
    )
    pay = app.workflow("pay", machine(Charge={**calls, "Resource": "${charge}"}))
    house = app.workflow("house", machine(Paint={**task, "Resource": paint.arn, "End": True}))
    quote = app.workflow("quote", machine(Ship=calls), "EXPRESS", log_level="ALL")
    processor = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, **machine(One=calls)}
    pages = app.workflow("pages", machine(Each={"Type": "Map", "End": True, "ItemProcessor": processor}))
    async with app:
        [message] = await asked.receive()
        await app.task_success(json.loads(message.body)["token"], "yes")
        await clock.advance(61)
        assert await order.execution("one").result() == {"id": 7, "asked": "yes", "shipped": "shipped"}
        failed = pay.execution("two")
        assert (await failed.describe()).error == "ValueError"
        await failed.redrive()
        await clock.settle()
        assert (await failed.result(), charged) == (None, [{"id": 7}])
        worker = paint.tasks(worker="ann")
        await (await anext(worker)).success("white wall")
        await worker.aclose()
        assert await house.execution("three").result() == "white wall"
        assert await pages.execution("five").result() == ["shipped", "shipped"]
        assert (await quote.execution("four").describe()).output == "shipped"
    assert {json.dumps(one) for one in shipped} >= {"1", "2", '{"id": 8}'}


async def test_rest_apis_of_a_store_go_on(tmp_path):
    """The golden file is what app "shop" left that had a REST API with a stage, a key in a plan, and the URL of a function."""
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(GOLDEN / "app-v4-rest.db", data / "forebay.db")
    app = App("shop", store=data)
    rest = app.rest_api("legacy")

    @app.function()
    async def told(event, context):
        return event

    async with app:
        [plan] = (await rest.call("GetUsagePlans"))["items"]
        assert plan["quota"] == {"limit": 100, "offset": 0, "period": "WEEK"}
        [key] = (await rest.call("GetUsagePlanKeys", usagePlanId=plan["id"]))["items"]
        assert (key["name"], key["value"]) == ("partner", "a-secret-of-forty-characters-in-the-file")
        stage = await rest.call("GetStage", stageName="dev")
        assert (stage["variables"], stage["canarySettings"]["percentTraffic"]) == ({"colour": "red"}, 25.0)
        exported = json.loads(await rest.export("dev"))
        assert list(exported["paths"]) == ["/pets/{id}"]
        url = await rest.call("GetFunctionUrlConfig", FunctionName="told")
        assert (url["AuthType"], url["InvokeMode"]) == ("NONE", "BUFFERED")
        await rest.deploy("dev")


async def test_the_counts_of_keys_of_a_store_go_on(tmp_path):
    """The golden file is what app "shop" left when it was killed after five requests of a key, when these rows were new."""
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(GOLDEN / "app-v4-usage.db", data / "forebay.db")
    app = App("shop", store=data)
    rest = app.rest_api("legacy")
    async with app:
        [plan] = (await rest.call("GetUsagePlans"))["items"]
        days = {"startDate": "2026-11-27", "endDate": "2026-11-29"}
        used = (await rest.call("GetUsage", usagePlanId=plan["id"], **days))["items"]
        assert list(used.values()) == [[[0, 100], [5, 95], [0, 95]]]


async def test_the_way_back_to_earlier_releases_is_as_the_page_says(tmp_path, monkeypatch):
    ways_back = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "guides" / "upgrade.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    async with make("data") as app:
        await app.stream("numbers").put(1, "k")
    for way_back, left in zip(ways_back, [(["chunk", "row", "format"], 3), (["chunk", "row"], 2)], strict=True):
        way = [sys.executable, "-c", way_back, "data"]  # what the page tells people to run
        await asyncio.to_thread(subprocess.run, way, check=True)
        with contextlib.closing(sqlite3.connect("data/forebay.db")) as store:
            made = [name for (name,) in store.execute("SELECT name FROM sqlite_schema WHERE sql IS NOT NULL")]
            assert (made, format_of(tmp_path / "data")) == left
        assert len(await asyncio.to_thread(asked, "data", "stream.list")) == 1, "and it is whole"
    seen = []
    async with make(tmp_path / "data", seen):
        await until(lambda: seen == [1])
    assert format_of(tmp_path / "data") == 4


def format_of(data):
    with contextlib.closing(sqlite3.connect(data / "forebay.db")) as store:
        return store.execute("PRAGMA user_version").fetchone()[0]


async def test_a_client_is_told_of_mappings_that_nobody_handles(tmp_path, no_task_is_left, caplog):
    """Two programs of one name on one directory: the second one's mapping was never run, and nothing said so."""
    data = tmp_path / "data"
    async with make(data, []):
        async with make(data, [], function="bill") as client:

            @client.on_queue("orders")
            async def pack(event, context): ...

            client.queue("orders")
            await until(lambda: caplog.text.count("nothing handles it") >= 2)
            for mapping in ("numbers/bill", "orders/pack"):
                assert f"mapping {mapping} is declared here, and nothing handles it" in caplog.text
            assert "numbers/ship" not in caplog.text
            listed = await asyncio.to_thread(asked, data, "mapping.list")
            states = {(one.get("stream") or one["queue"], one["function"]): one["state"] for one in listed}
            assert states == {
                ("numbers", "ship"): "Enabled",
                ("numbers", "bill"): "Unhandled",
                ("orders", "pack"): "Unhandled",
            }
            shown = await asyncio.to_thread(command, "lag", "--store", str(data))
            assert re.search(r"numbers +bill +\(nothing handles it\) +- +-", shown), shown
            shown = await asyncio.to_thread(command, "lag", "--store", str(data), "--function", "ship")
            assert "nothing handles it" not in shown
            shown = await asyncio.to_thread(command, "mapping", "list", "--store", str(data))
            assert re.search(r"orders +pack +Unhandled +no +-", shown), shown
        await until(lambda: len(asked(data, "mapping.list")) == 1)


async def test_clients_of_the_same_program_are_not_warned(tmp_path, no_task_is_left, caplog):
    programs = [make(tmp_path / "data", []) for _ in range(3)]
    await asyncio.gather(*(program.start() for program in programs))
    client = next(program for program in programs if program._running.runner.engine.role == "client")
    await until(client._running.runner.engine.idle)
    assert "nothing handles it" not in caplog.text
    await asyncio.gather(*(program.stop() for program in programs))


def command(*arguments):
    return subprocess.run([FOREBAY, *arguments], capture_output=True, check=True, text=True, timeout=200).stdout


# --- when its directory is gone


@pytest.fixture
def port():
    return free_port()


def ready(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=100) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


async def test_nothing_is_acknowledged_into_a_deleted_directory(tmp_path, port, caplog):
    """Puts were acknowledged into a directory that was deleted, and `/readyz` was green: the next start found none of them."""
    data, app = tmp_path / "data", make(tmp_path / "data")
    await app.start(metrics_port=port)
    try:
        await app.stream("numbers").put(1, "k")
        assert (await asyncio.to_thread(ready, port))[0] == 200
        shutil.rmtree(data)
        with pytest.raises(
            StoreFailed, match="was deleted, moved or replaced while this process had it open"
        ) as refused:
            await app.stream("numbers").put(2, "k")
        assert "Next: stop the app; put the directory back" in str(refused.value)
        with pytest.raises(StoreFailed, match="was deleted, moved or replaced"):
            await app.stream("numbers").put(3, "k")
        status, told = await asyncio.to_thread(ready, port)
        assert (status, f"{data}/forebay.db was deleted" in told) == (503, True), told
        await until(lambda: "nothing more is acknowledged" in caplog.text)
        assert "was deleted, moved or replaced" in caplog.text
    finally:
        await app.stop(grace=0)


async def test_ready_turns_red_when_the_directory_is_deleted_though_nobody_puts(tmp_path, port, caplog):
    app = make(tmp_path / "data")
    await app.start(metrics_port=port)
    try:
        (tmp_path / "data").rename(tmp_path / "moved")
        status, told = await asyncio.to_thread(ready, port)
        assert (status, "was deleted, moved or replaced" in told) == (503, True), told
        await until(lambda: "nothing more is acknowledged" in caplog.text)
    finally:
        await app.stop(grace=0)


async def test_a_directory_that_was_replaced_is_the_other_owners(tmp_path):
    """The first owner went on acknowledging into the files that nobody finds any more; its end took the other's socket away."""
    data = tmp_path / "data"
    first, second = make(data), make(data)
    await first.start()
    await first.stream("numbers").put(1, "k")
    data.rename(tmp_path / "old")
    await second.start()
    try:
        assert second._running.runner.engine.role == "owner"
        with pytest.raises(StoreFailed, match="was deleted, moved or replaced"):
            await first.stream("numbers").put(2, "k")
        await second.stream("numbers").put(3, "k")
        await first.stop(grace=0)
        assert (data / "forebay.sock").exists()
        assert (await asyncio.to_thread(asked, data, "stream.list"))[0]["records"] == 1
    finally:
        await first.stop(grace=0)
        await second.stop()


async def test_a_client_that_only_names_a_queue_leaves_its_settings(tmp_path):
    """It took its dead-letter queue away, and set the rest to the defaults, without a word."""
    data = tmp_path / "data"
    async with make(data) as owner:
        dead = owner.queue("dead")
        owner.queue("orders", visibility_timeout=180, dead_letter_queue=dead, maximum_receive_count=3)
        client = App("web", store=data, store_app="shop", serve=False)
        orders, new = client.queue("orders"), client.queue("new")
        async with client:
            await orders.send("tea")
            await new.send("made by the client")
        described = await asyncio.to_thread(asked, data, "queue.describe", name="orders")
        names = ("dead_letter_queue", "maximum_receive_count", "visibility_timeout_ms", "visible")
        assert [described[name] for name in names] == ["dead", 3, 180_000, 1]

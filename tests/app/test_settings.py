"""Every option is honoured or refused by the call that was given it, by name, value and range."""

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forebay import App, Backoff, InvalidParameterValue
from forebay._model.store_place import shown, with_password


@pytest.fixture
def app(forebay_app):
    return forebay_app


async def handler(event, context): ...


def blocking(event, context): ...


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"name": ""}, "name=''"),
        ({"name": "a b"}, "name='a b'"),
        ({"name": "x" * 129}, "1 to 128"),
        ({"region": "EU"}, "region='EU'"),
        ({"account": "123"}, "12 digits"),
        ({"account": 123456789012}, "12 digits"),
        ({"concurrency": 0}, "1 to 60,000"),
        ({"concurrency": True}, "concurrency=True"),
        ({"durability": "some"}, "'power-loss', 'process-crash', 'memory'"),
        ({"serve": "yes"}, "'elect', True and False"),
        ({"store": ""}, "store=''"),
        ({"store": 3}, "store=3"),
        ({"clock": object()}, "VirtualClock"),
        ({"unreserved_minimum": -1}, "unreserved_minimum=-1: allowed are whole numbers from 0"),
        ({"scaling": "2020"}, "scaling='2020': allowed are '2019', '2023'"),
        ({"requests_per_second": 0}, "requests_per_second=0: allowed are 1e-9 to 1e9 a second, or None"),
    ],
)
def test_an_apps_options(options, text):
    with pytest.raises(InvalidParameterValue) as caught:
        App(**{"name": "a", **options})
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("store", "text"),
    [
        ("postgresql:/shop:hidden@db.example/shop", "store='postgresql:/…': a directory"),
        ("mysql://shop:hidden@db.example/shop", "store='mysql://…': a directory"),
        ("postgresq://shop:hidden@db.example/shop", "A store's URL does not begin with postgresq://"),
        ("'postgresql://shop:hidden@db.example/shop'", "Take the quotes off"),
        ("jdbc:postgresql://shop:hidden@db.example/shop", "store='jdbc:postgresql://…': a directory"),
        ("./data/mysql://shop:hidden@db.example/shop", "store='…': a directory"),
        (
            " postgresql://shop:hidden@db.example/shop",
            "store='postgresql://…': it has white space around it: take that off",
        ),
        (
            "postgresql://shop:hidden@db.example/shop\n",
            "around it (a file or a secret ends with a newline): take that off",
        ),
        ("./data\n", "around it (a file or a secret ends with a newline): take that off"),
        ("postgresql://shop:hid@den@db.example/shop", "write @ as %40"),
        ("postgresql://shop:hid/den@db.example/shop", "write @ as %40"),
        ("postgresql://shop:hid?den@db.example/shop", "write @ as %40"),
        ("postgres://shop:hid#den@db.example/shop", "write @ as %40"),
        ("postgresql://shop:hid@den/w:1%@db.example/shop", "store='postgresql://…'"),
        ("postgresql://shop:hid@den/W0rd@db.example/shop", "write @ as %40"),
        ("postgresql://shop:hid@den#W0rd@db.example/shop", "write @ as %40"),
        ("postgresql://shop:hid@den?W0rd@db.example/shop", "write @ as %40"),
        ("postgresql://shop:hid%zen@db.example/shop", "% as %25"),
        ("postgresql://shop:hid%4zen@db.example/shop", "% as %25"),
        ("postgresql://shop:hidden%@db.example/shop", "% as %25"),
    ],
)
def test_a_url_that_is_refused_does_not_show_its_password(store, text):
    """Of a URL with a typo the whole was told. Of a password with @ and another sign all but its first letters was told."""
    with pytest.raises(InvalidParameterValue) as caught:
        App("a", store=store)
    assert text in str(caught.value)
    told = str(caught.value) + shown(store)
    assert not any(part in told for part in ("hid", "den", "zen", "W0rd", "db.example"))
    assert shown(store).endswith("…")


@pytest.mark.parametrize(
    "store",
    [
        "shop:hidden@db.example/shop",
        "shop:hidden@db.example:5432/shop",
        "shop:hid/den@db.example",
        "shop@db.example/shop",
        "//shop:hidden@db.example/shop",
        "//db.example:5432/shop",
        "postgresql:shop:hidden@db.example/shop",
        "postgres:db.example/shop",
        "PostgreSQL//shop:hidden@db.example/shop",
        "db.example:5432/shop",
        "db.example:5432",
        "db.example/shop?password=hidden",
        "host=db.example user=shop password=hidden",
        "user = shop password = hidden",
    ],
)
def test_a_url_without_its_scheme_is_no_directory(store):
    """It became one, password and all: each machine had a store of its own, and a line of the log was all that told."""
    with pytest.raises(InvalidParameterValue) as caught:
        App("a", store=store)
    assert "such a URL begins with postgresql://" in str(caught.value)
    assert "write ./ before it" in str(caught.value)
    assert not any(part in str(caught.value) + shown(store) for part in ("hid", "den", "db.example"))
    assert App("a", store=f"./{store}").settings.store == f"./{store}"


@pytest.mark.parametrize(
    ("store", "text"),
    [
        ("$DATABASE_URL", "begins with $DATABASE_URL, whose value"),
        ("${DATABASE_URL}", "begins with ${DATABASE_URL}, whose value"),
        ("$(DATABASE_URL)", "begins with $(DATABASE_URL), whose value"),
        ("$HOME/data", "begins with a variable, whose value"),
        ("$hid:den@db.example/shop", "begins with a variable, whose value"),
    ],
)
def test_a_variable_that_nobody_has_put_a_value_in_for_is_no_directory(store, text):
    with pytest.raises(InvalidParameterValue) as caught:
        App("a", store=store)
    assert text in str(caught.value)
    assert not any(part in str(caught.value) for part in ("hid", "den", "db.example"))


@pytest.mark.parametrize(
    "store",
    [
        *("data", "shop@home", "shop@home/", "a:b", "./a:b", "../shop:a@b/c", "/srv/shop:a@b/c", "./$DATA", "data/$x"),
        *("12:30", "data/postgres:1", "postgresql", "postgresql/data", "data//x", "what?", "user", "my=shop"),
        *("data/a:b@c", "runs/10:15/acme@prod", "data/x?y=1", "user=alice/data", "shop:2024", "shop:2024/data"),
    ],
)
def test_other_names_are_those_of_directories(store):
    assert App("a", store=store).settings.place == store


@pytest.mark.parametrize("name", ["shop:a@b", "db.example:5432", "$data"])
def test_a_path_is_a_directory_whatever_its_name(name):
    """It was refused, also as `./…`, which pathlib makes shorter."""
    assert App("a", store=Path(f"./{name}")).settings.store == f"./{name}"
    with pytest.raises(InvalidParameterValue, match="or a URL as text"):
        App("a", store=Path("postgresql://shop:hidden@db/shop"))


def test_the_scheme_of_a_url_may_be_written_in_capitals():
    """Such a store was made in a directory of that name, and the log showed the password."""
    settings = App("a", store="PostgreSQL://Shop:hidden@db/Shop").settings
    assert settings.is_on_server
    assert (settings.store, settings.place) == ("postgresql://Shop:hidden@db/Shop", "postgresql://db/Shop")


@pytest.mark.parametrize(
    ("store", "given"),
    [
        ("postgresql://shop@db/shop", "postgresql://shop@db/shop?password=a%26b"),
        ("postgresql://shop@db1,db2/shop?schema=s", "postgresql://shop@db1,db2/shop?schema=s&password=a%26b"),
        ("postgresql:///shop?host=/run/pg", "postgresql:///shop?host=/run/pg&password=a%26b"),
        ("postgresql://shop:own@db/shop", "postgresql://shop:own@db/shop"),
        ("postgresql://shop:o%40n%25:2@db/shop", "postgresql://shop:o%40n%25:2@db/shop"),
        ("postgresql://db/shop?user=shop&password=own", "postgresql://db/shop?user=shop&password=own"),
        ("./data", "./data"),
    ],
)
def test_a_url_without_a_password_gets_that_of_the_environment(store, given, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "a&b")
    assert with_password(store) == given
    assert App("a", store=store).settings.place == shown(store) == shown(given)


async def test_the_wire_api_of_a_store_on_a_server_is_for_its_own_machine_alone():
    """A process that did not own the store took the option, and could not own the store later."""
    with pytest.raises(InvalidParameterValue, match="has no access keys"):
        await App("a", store="postgresql://shop@127.0.0.1:1/shop").start(aws_host="192.0.2.1", aws_port=4566)


async def test_an_address_of_the_wire_api_without_its_port_is_refused():
    """The app started, and served nothing."""
    with pytest.raises(InvalidParameterValue, match="only with aws_port"):
        await App("a", store=":memory:").start(aws_host="192.0.2.1")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"name": "a b"}, "name='a b'"),
        ({"name": "x" * 65}, "1 to 64"),
        ({"timeout": 0}, "0.001 to 1,800 seconds"),
        ({"timeout": 1801}, "timeout=1801"),
        ({"timeout": "3"}, "timeout='3'"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"isolation": "thread"}, "async handler"),
        ({"isolation": "fiber"}, "'task', 'thread'"),
        ({"memory": 512}, "memory=512: it is a process's; give isolation='process' as well"),
        ({"rate_limit": 0}, "rate_limit=0: allowed are 1e-9 to 1e9 a second, or None"),
        ({"rate_limit": True}, "rate_limit=True"),
        ({"reserved_concurrency": -1}, "reserved_concurrency=-1: allowed are whole numbers from 0"),
        ({"provisioned_concurrency": 1.5}, "provisioned_concurrency=1.5"),
        (
            {"reserved_concurrency": 901},
            (
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
                "minimum value of [100]."
            ),
        ),
        (
            {"provisioned_concurrency": 1001},
            "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [1000].",
        ),
        (
            {"provisioned_concurrency": 901},
            (
                "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum "
                "value of [100]."
            ),
        ),
        (
            {"reserved_concurrency": 1, "provisioned_concurrency": 2},
            "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
        ),
    ],
)
def test_a_functions_options(app, options, text):
    with pytest.raises(InvalidParameterValue) as caught:
        app.function(**options)(handler)
    assert text in str(caught.value)


def test_a_blocking_handler_never_runs_on_the_loop(app):
    with pytest.raises(InvalidParameterValue, match="would block the event loop"):
        app.function(isolation="task")(blocking)


@pytest.mark.parametrize("value", [None, 3, "text"])
def test_a_handler_is_something_to_call(app, value):
    with pytest.raises(InvalidParameterValue, match="handler="):
        app.function()(value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"batch_size": 0}, "batch_size=0: allowed are whole numbers from 1 to 10,000"),
        ({"batch_size": 10_001}, "batch_size=10001"),
        ({"batch_size": 1.5}, "batch_size=1.5"),
        ({"maximum_batching_window": 301}, "0 to 300 seconds"),
        ({"maximum_batching_window": -1}, "maximum_batching_window=-1"),
        ({"starting_position": None}, "Value null at 'startingPosition' failed to satisfy constraint"),
        ({"starting_position": "NOW"}, "'TRIM_HORIZON', 'LATEST', 'AT_TIMESTAMP'"),
        ({"starting_position": "AT_TIMESTAMP"}, "starting_position_timestamp=None"),
        ({"starting_position_timestamp": 1}, "starting_position_timestamp=1"),
        ({"starting_position": "AT_TIMESTAMP", "starting_position_timestamp": datetime(2019, 1, 1)}, "time zone"),  # noqa: DTZ001
        (
            {"starting_position": "AT_TIMESTAMP", "starting_position_timestamp": datetime(2020, 1, 2, tzinfo=UTC)},
            "not be in the future",
        ),
        ({"parallelization_factor": 11}, "1 to 10"),
        ({"maximum_retry_attempts": -2}, "0 to 10,000, or -1"),
        ({"maximum_retry_attempts": 10_001}, "maximum_retry_attempts=10001"),
        ({"maximum_record_age": 59}, "60 to 604,800 seconds, or -1"),
        ({"maximum_record_age": 604_801}, "maximum_record_age=604801"),
        ({"bisect_batch_on_function_error": 1}, "True and False"),
        ({"report_batch_item_failures": "yes"}, "report_batch_item_failures='yes'"),
        ({"tumbling_window": 901}, "0 to 900 seconds"),
        ({"tumbling_window": 10, "parallelization_factor": 2}, "parallelization_factor=2"),
        ({"filters": {"data": {}}}, "a list of patterns"),
        ({"filters": ["{"]}, "Invalid filter pattern definition."),
        ({"filters": ["[]"]}, "Invalid filter pattern definition."),
        ({"filters": [{"data": {1, 2}}]}, "Invalid filter pattern definition."),
        ({"filters": ["\ud800"]}, "Invalid filter pattern definition."),
        ({"filters": [{"data": {"a": ["x"]}}] * 11}, "at most 10 are allowed"),
        ({"filters": [{"data": {"a": ["x" * 4096]}}]}, "at most 4096 are allowed"),
        ({"filters": [{"data": {"a": [{"like": "x"}]}}]}, "At data.a[0].like: no such condition"),
        ({"filters": [{"body": {"a": ["x"]}}]}, "At body: no such key"),
        ({"retry_backoff": 3}, "forebay.Backoff"),
        ({"enabled": None}, "enabled=None"),
        ({"include_payload": 0}, "include_payload=0"),
    ],
)
def test_a_mappings_options(app, options, text):
    with pytest.raises(InvalidParameterValue) as caught:
        app.on_stream("numbers", **options)
    assert text in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, 3])
def test_a_streams_name(app, name):
    for declare in (app.stream, app.on_stream):
        with pytest.raises(InvalidParameterValue, match="1 to 128"):
            declare(name)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"shards": 0}, "1 to 10,000"),
        ({"shards": 10_001}, "shards=10001"),
        ({"retention": 59}, "60 to 31,536,000 seconds"),
        ({"retention_bytes": 1000}, "retention_bytes=1000"),
    ],
)
def test_a_streams_options(app, options, text):
    with pytest.raises(InvalidParameterValue) as caught:
        app.stream("numbers", **options)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"base": -1},
        {"base": 31},
        {"base": 1, "cap": 0.5},
        {"cap": 86_401},
        {"jitter": 1.1},
        {"jitter": -0.1},
        {"jitter": True},
    ],
)
def test_a_backoffs_options(options):
    with pytest.raises(InvalidParameterValue):
        Backoff(**options)


def test_a_duration_may_be_a_timedelta(app):
    function = app.on_stream("numbers", maximum_batching_window=timedelta(minutes=1))(
        app.function(timeout=timedelta(seconds=90))(handler),
    )
    assert function.settings.timeout == 90.0
    assert app.mappings[0].settings.maximum_batching_window == 60.0


@pytest.mark.parametrize(
    ("data", "key", "text"),
    [
        (b"x", "", "partition_key"),
        (b"x", "k" * 257, "1 to 256"),
        (b"x", None, "partition_key of type NoneType"),
        (b"x", b"k", "partition_key of type bytes"),
        (b"x" * 1_048_577, "k", "1048576"),
        ({1}, "k", "data of type set"),
        (object(), "k", "data of type object"),
        ("\ud800", "k", "surrogate"),
    ],
)
async def test_a_records_limits(app, no_task_is_left, data, key, text):
    stream = app.stream("numbers")
    async with app:
        with pytest.raises(InvalidParameterValue) as caught:
            await stream.put(data, key)
        assert text in str(caught.value)
        with pytest.raises(InvalidParameterValue):
            await stream.put_many([(b"fine", "k"), (data, key)])


@pytest.mark.parametrize("records", [[b"x"], [("x",)], [("x", "k", 1)], [("x", 3)], [1], [(b"x", "k")] * 10_001])
async def test_what_are_no_records_is_refused(app, no_task_is_left, records):
    stream = app.stream("numbers")
    async with app:
        with pytest.raises(InvalidParameterValue, match="records"):
            await stream.put_many(records)


@pytest.mark.parametrize("value", [b"bytes", "text", bytearray(b"array"), memoryview(b"view"), {"json": [1]}, 7, None])
async def test_what_a_record_may_hold(app, no_task_is_left, value):
    stream = app.stream("numbers")
    async with app:
        assert await stream.put(value, "k")
        assert len(await stream.put_many([(value, "k"), [value, "k"]])) == 2
        assert await stream.put_many([]) == []


async def test_an_app_that_is_made_to_count_nothing_counts_nothing(app):
    """What was set before the start was put back when it started, so that counting was compared with counting."""
    function = app.function("f")(handler)
    counted = 'forebay_invocations_total{function="f",outcome="success"}'
    for metrics in (True, False):
        app.settings = dataclasses.replace(app.settings, metrics=metrics)
        async with app:
            await function.invoke()
            assert f"{counted} {int(metrics)}" in app.metrics.page()

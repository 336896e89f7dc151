"""What commands say: plain numbers, plain English, and JSON whose values are not JSON texts again."""

import asyncio
import sqlite3
from contextlib import closing

import pytest
from cli_commands import asked, forebay, refused

from forebay import App, Batch, InvalidParameterValue
from forebay._model.plural import plain
from forebay.cli.chart import number
from forebay.cli.show import duration, unpacked


@pytest.fixture
def place(tmp_path):
    """Give a directory whose store has a stream and a queue with mappings, and a topic; no app runs there."""

    async def declare():
        app = App("shop", store=tmp_path / "data")
        app.stream("orders", shards=1)
        jobs = app.queue("jobs")
        app.topic("news").subscribe(jobs, filter_policy={"kind": ["new"]})

        @app.on_stream("orders", filters=[{"data": {"kind": ["a"]}}])
        @app.function(name="handle")
        async def handle(batch: Batch, context):
            pass

        @app.on_queue("jobs")
        @app.function(name="work")
        async def work(batch: Batch, context):
            pass

        async with app:
            pass

    asyncio.run(declare())
    return tmp_path


def test_a_range_is_told_with_all_its_digits():
    # "allowed are 60 to 3.1536e+07 seconds"
    with pytest.raises(InvalidParameterValue, match="allowed are 60 to 31,536,000 seconds"):
        App("shop", store=":memory:").stream("orders", retention=1e9)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (31_536_000.0, "31,536,000"),
        (0.1, "0.1"),
        (1_234_567.5, "1,234,567.5"),
        (0, "0"),
        (1e-5, "0.00001"),
        (2**40, "1,099,511,627,776"),
    ],
)
def test_numbers_have_no_exponent(value, text):
    assert plain(value) == text


def test_a_chart_and_a_duration_have_no_exponent():
    assert number(0.00001234) == "0.00001234"
    assert duration(2_000 * 86_400_000) == "2,000 d"
    assert duration(59_999) == "60 s"


def test_one_of_a_thing_is_told_as_one(place):
    # It was "1 records of 34 bytes in 1 logs".
    forebay(place, "stream", "put", "orders", "--partition-key", "k", stdin='{"id": 1}\n')
    told = forebay(place, "doctor", "data").stdout
    assert "1 record of 34 bytes in 1 log, " in told
    left = forebay(place, "topic", "unsubscribe", "news", "--queue", "jobs").stdout
    assert left == "0 subscriptions of topic news left\n"


def test_settings_are_json_and_not_json_in_text(place):
    described = asked(place, "mapping", "describe", "orders", "handle")
    assert described["filters"] == [{"data": {"kind": ["a"]}}]
    mappings = asked(place, "mapping", "list")
    assert [mapping["filters"] for mapping in mappings if "stream" in mapping] == [[{"data": {"kind": ["a"]}}]]
    [subscription] = asked(place, "topic", "describe", "news")["subscriptions"]
    assert subscription["filter_policy"] == {"kind": ["new"]}


def test_what_a_user_wrote_stays_as_it_was():
    error = '{"errorType": "ValueError", "errorMessage": "{}"}'
    row = {
        "error": error,
        "record": {"payload": "5"},
        "data": "[1]",
        "last_error": "no JSON: {",
        "facts": [{"error": error}],
    }
    read = {"errorType": "ValueError", "errorMessage": "{}"}
    assert unpacked(row) == {**row, "error": read, "facts": [{"error": read}]}


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("describe", "jobs", "work"), "the mapping of jobs is a queue's: add --queue"),
        (("pause", "jobs", "work"), "the mapping of jobs is a queue's: add --queue"),
        (("describe", "orders", "handle", "--queue"), "the mapping of orders is a stream's: leave --queue out"),
    ],
)
def test_a_mapping_of_the_other_kind_is_pointed_out(place, arguments, hint):
    # It was "there is no mapping of stream "jobs"" alone.
    assert hint in refused(place, "mapping", *arguments)


def test_a_mapping_that_there_is_not_is_told_without_a_hint(place):
    assert "--queue" not in refused(place, "mapping", "describe", "jobs", "handle")


def test_a_store_whose_file_another_program_has_locked_is_not_told_as_failed(place):
    # It was "the store database is locked is owned by another process".
    with closing(sqlite3.connect(place / "data" / "forebay.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        told = refused(place, "stream", "list")
    assert "another program has the store's file locked (database is locked)" in told
    assert "failed" not in told and "owned" not in told


def test_a_store_whose_directory_cannot_be_made_is_not_told_as_failed(place):
    # It was "the store failed and takes no further write: the directory ... cannot be made".
    (place / "file").touch()
    told = refused(place, "doctor", "data", "--salvage", "file/new")
    assert "the store cannot be opened: the directory" in told and "file/new" in told

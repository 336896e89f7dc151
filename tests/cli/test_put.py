"""`forebay stream put` of files in which not every line is a record."""

import asyncio
import json

import pytest
from cli_commands import asked, forebay, refused

from forebay import App


@pytest.fixture
def place(tmp_path):
    """Give a directory whose store has the stream `orders`; no app runs there."""

    async def declare():
        app = App("shop", store=tmp_path / "data")
        app.stream("orders", shards=1)
        async with app:
            pass

    asyncio.run(declare())
    return tmp_path


def ids(place):
    """Give the ids of all records of the stream, in order."""
    tail = ("stream", "tail", "orders", "--position", "TRIM_HORIZON", "--no-follow", "--output", "json")
    return [json.loads(json.loads(line)["data"])["id"] for line in forebay(place, *tail).stdout.splitlines()]


def test_a_bad_line_late_in_a_file_is_told_with_what_is_in_and_the_rest_goes_in_once(place):
    # 15,000 records were in the stream, and the message was "line 15001: not JSON" alone: whoever corrected the line and ran the
    # command again had them twice.
    lines = [json.dumps({"id": number}) for number in range(1, 15_101)]
    bad = [*lines[:15000], '{"id": 15001', *lines[15001:]]
    (place / "orders.jsonl").write_text("\n".join(bad) + "\n")
    put = ("stream", "put", "orders", "orders.jsonl", "--partition-key", "k")
    told = refused(place, *put)
    assert "line 15,001: not JSON" in told
    assert "15,000 records are in the stream, up to line 15,000. Go on with --skip 15000 when the cause is gone" in told
    (place / "orders.jsonl").write_text("\n".join(lines) + "\n")
    assert asked(place, *put, "--skip", "15000")["records"] == 100
    assert asked(place, "stream", "describe", "orders")["records"] == 15_100
    assert ids(place)[-3:] == [15_098, 15_099, 15_100]


def test_what_stands_before_a_bad_line_is_in_even_where_it_fills_no_batch(place):
    done = forebay(
        place, "stream", "put", "orders", "--partition-key", "k", stdin='{"id": 1}\n\n{"id": 2}\n{"id"\n', status=1
    )
    assert "line 4: not JSON" in done.stderr
    assert "2 records are in the stream, up to line 3. Go on with --skip 3" in done.stderr
    assert ids(place) == [1, 2]


def test_a_bad_first_line_leaves_nothing_in(place):
    done = forebay(place, "stream", "put", "orders", "--partition-key", "k", stdin='{"id"\n{"id": 2}\n', status=1)
    assert "no record was put. Run the command again when the cause is gone" in done.stderr
    skipped = forebay(
        place, "stream", "put", "orders", "--partition-key", "k", "--skip", "1", stdin='{"id": 1}\n{"id"\n', status=1
    )
    assert "no record was put. Run the command again with --skip 1, as before" in skipped.stderr
    assert ids(place) == []


def test_lines_of_csv_are_skipped_by_their_numbers_in_the_file(place):
    text = "id,who\n1,a\n2,b\n3\n"
    put = ("stream", "put", "orders", "--key", "who", "--format", "csv")
    done = forebay(place, *put, stdin=text, status=1)
    assert "line 4: not as many fields as the heading has; 2 records are in the stream, up to line 3" in done.stderr
    assert asked(place, *put, "--skip", "3", stdin=text.replace("3\n", "3,c\n"))["records"] == 1
    assert ids(place) == ["1", "2", "3"]


def test_a_check_names_every_bad_line_and_puts_nothing(place):
    lines = ['{"who": "a"}', '{"who"', '{"who": null}', '{"who": ""}', "{}", "[1]", json.dumps({"who": "b" * 257})]
    text = "\n".join([*lines, json.dumps({"who": "c", "text": "x" * 1_048_576})]) + "\n"
    check = ("stream", "put", "orders", "--key", "who", "--check")
    done = forebay(place, *check, stdin=text, status=1)
    told = done.stdout.splitlines()
    assert told[0].startswith("line 2: not JSON: ")
    assert told[1:] == [
        # It was "no field 'who'", of a record that has one.
        "line 3: field 'who' is null: a partition key has at least 1 character",
        "line 4: field 'who' is empty: a partition key has at least 1 character",
        "line 5: no field 'who' for the partition key",
        "line 6: no field 'who' for the partition key, since it is not a JSON object",
        "line 7: a partition key of 257 characters: it has at most 256",
        "line 8: 1,048,600 bytes: a record has at most 1,048,576",
        "1 line can be put, 7 lines cannot",
    ]
    answer = asked(place, *check, stdin=text, status=1)
    assert (answer["records"], answer["bad_lines"], answer["first_bad_lines"][1]["line"]) == (1, 7, 3)
    assert forebay(place, *check, stdin=lines[0]).stdout == "1 line can be put\n"
    assert ids(place) == []


def test_a_check_of_many_bad_lines_shows_the_first_ones(place):
    done = forebay(place, "stream", "put", "orders", "--key", "who", "--check", stdin="{}\n" * 30, status=1)
    assert done.stdout.splitlines()[-2:] == ["and 10 more lines", "0 lines can be put, 30 lines cannot"]


def test_an_empty_file_for_a_stream_that_there_is_not_is_refused(place):
    # "put 0 records into ordres", and the status was 0.
    done = forebay(place, "stream", "put", "ordres", "--partition-key", "k", stdin="", status=1)
    assert 'there is no stream "ordres": declared are orders' in done.stderr
    assert (
        forebay(place, "stream", "put", "orders", "--partition-key", "k", stdin="").stdout
        == "put 0 records into orders\n"
    )


def test_records_that_the_store_does_not_take_are_told_with_what_is_in(place):
    done = forebay(place, "stream", "put", "orders", "--partition-key", "", stdin='{"id": 1}\n', status=1)
    assert "partition_key has 0 characters" in done.stderr
    assert "that happened at line 1; no record was put. Run the command again when the cause is gone" in done.stderr

"""What a user is told of a store that is damaged, before and after its salvage."""

import asyncio
import logging
import shutil
import sqlite3

import pytest
from cli_commands import asked, forebay, refused

from forebay import App, StoreCorrupt

FORMAT = 60  # where the header of a SQLite file keeps `user_version`: four bytes, the greatest first


@pytest.fixture
def place(tmp_path):
    """A store with a stream of one shard, whose twelve records stand in four chunks."""

    async def make():
        app = App("shop", store=tmp_path / "data")
        orders = app.stream("orders", shards=1)
        async with app:
            for group in range(4):
                await orders.put_many([({"id": group * 3 + number}, "ada") for number in range(3)])

    asyncio.run(make())
    return tmp_path


def damage_two_chunks(place):
    with sqlite3.connect(place / "data" / "forebay.db") as file:
        assert file.execute("UPDATE chunk SET body = zeroblob(length(body)) WHERE id IN (3, 9)").rowcount == 2
    file.close()


def damaged(place, rows):
    with sqlite3.connect(place / "data" / "forebay.db") as file:
        assert file.execute(f"DELETE FROM row WHERE {rows}").rowcount > 0  # noqa: S608  of this test
    file.close()


def first_page(place):
    """Give the store's file, with nothing left in its log that would stand before its first page."""
    file = place / "data" / "forebay.db"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return file


def app_on(store):
    app = App("shop", store=store)
    orders = app.stream("orders", shards=1)
    handled = []

    @app.on_stream("orders", batch_size=100)
    async def ship(event, context):
        handled.extend(record["kinesis"]["sequenceNumber"] for record in event["Records"])

    return app, orders, handled


async def until(done):
    for _ in range(2_000):
        if done():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(done)


async def test_records_that_a_salvage_lost_are_stepped_over_with_a_warning_and_listed(place, caplog):
    """They were counted as records, stepped over without a word, and listed nowhere."""
    damage_two_chunks(place)
    saved = asked(place, "doctor", "--salvage", "saved", status=1)
    assert [(gap["stream"], gap["first"], gap["end"]) for gap in saved["lost"]] == [("orders", 3, 6), ("orders", 9, 12)]
    [stream] = asked(place, "stream", "list", "--store", "saved")
    assert (stream["records"], stream["lost_records"]) == (12, 6)
    first, last = stream["lost"]
    listed = forebay(place, "stream", "list", "--store", "saved").stdout
    assert "lost to damage before a salvage, and counted above: 6 records of orders" in listed
    assert first["first_sequence_number"] in listed and last["last_sequence_number"] in listed
    assert "LOST" in forebay(place, "stream", "describe", "orders", "--store", "saved").stdout
    told = forebay(place, "doctor", "--store", "saved").stdout
    assert "saved is whole" in told and "6 of these records are only marked as lost" in told
    assert first["last_sequence_number"] in told

    for start in range(2):
        app, orders, handled = app_on(place / "saved")
        with caplog.at_level(logging.WARNING, "forebay"):
            async with app:
                await orders.put({"id": 12}, partition_key="ada")
                await until(lambda handled=handled, start=start: len(handled) == (7 if start == 0 else 1))
                if start == 0:
                    await until(lambda app=app: app.metrics.statistic("DroppedEventCount", "Sum") == 6)
    warnings = [record.getMessage() for record in caplog.records if "stepped over" in record.getMessage()]
    assert len(warnings) == 1, "both runs in one line, and none at the second start"
    where = f"{last['shard_id']}, {last['first_sequence_number']} to {last['last_sequence_number']}"
    assert warnings[0].startswith(
        f"function ship: stepped over 6 records in 2 runs, the last of them of orders ({where}): lost to damage"
    )

    failures = asked(place, "dlq", "list", "--store", "saved")["failures"]
    assert [failure["record"]["requestContext"]["condition"] for failure in failures] == ["RecordsLost"] * 2
    assert [failure["record"]["KinesisBatchInfo"]["batchSize"] for failure in failures] == [3, 3]


@pytest.mark.parametrize(
    ("rows", "is_reachable"),
    [
        ("tab = 2", True),
        ("tab = 1 AND key = CAST('next_shard' AS BLOB)", True),
        ("tab = 3", False),
        ("tab IN (1, 2, 3)", False),
    ],
)
async def test_a_salvaged_store_opens_whatever_row_is_lost(place, rows, is_reachable):
    """It was called whole and did not open, or lost a shard's records without a word, or gave them to the next stream."""
    app, orders, handled = app_on(place / "data")
    async with app:
        await until(lambda: len(handled) == 12)
    damaged(place, rows)
    told = forebay(place, "doctor", status=1).stdout
    saved = forebay(place, "doctor", "--salvage", "saved", status=1).stdout
    for text in (told, saved[saved.index("saved has") :]):
        assert ("nothing reads its 12 records" in text) == (not is_reachable)
    assert ("the stream orders has no shard" in saved) == (rows == "tab = 3")
    again = forebay(place, "doctor", "--store", "saved", status=0 if is_reachable else 1).stdout
    assert ("saved is whole" in again) == is_reachable == ("nothing reads" not in again)
    for _ in range(2):
        app, orders, handled = app_on(place / "saved")
        async with app:
            await orders.put({"id": 12}, partition_key="ada")
            await until(lambda handled=handled: handled)
            await asyncio.sleep(0.05)
        assert len(handled) == 1


async def test_a_stream_of_whose_shards_only_closed_ones_are_left_takes_records_again(place):
    """The shard that took its records was lost, and a put met no shard at all."""
    app, orders, before = app_on(place / "data")
    async with app:
        await until(lambda: len(before) == 12)
        await orders.reshard(2)
    damaged(place, "tab = 3 AND key > x'00000000'")
    forebay(place, "doctor", "--salvage", "saved", status=1)
    app, orders, handled = app_on(place / "saved")
    async with app:
        await orders.put({"id": 12}, partition_key="ada")
        await until(lambda: len(handled) == 1)


async def test_messages_of_a_queue_whose_row_is_lost_are_given_to_no_other(tmp_path):
    """The next queue was given the log of the lost one, and its messages."""
    app = App("shop", store=tmp_path / "data")
    queue = app.queue("orders")
    async with app:
        await queue.send({"id": 1})
    damaged(tmp_path, "tab = 20 OR (tab = 1 AND key = CAST('next_log' AS BLOB))")
    assert "nothing reads its 1 record" in forebay(tmp_path, "doctor", "--salvage", "saved", status=1).stdout
    for _ in range(2):
        app = App("shop", store=tmp_path / "saved")
        queue = app.queue("others")
        async with app:
            pass
        [shown] = asked(tmp_path, "queue", "list", "--store", "saved")
        assert shown["visible"] == 0, shown


@pytest.mark.parametrize("is_missing", [False, True])
def test_what_a_log_holds_is_saved_though_the_file_before_it_is_gone(place, is_missing):
    """Whoever looked at it deleted the log: a doctor, a salvage, an app."""
    file, log = place / "data" / "forebay.db", place / "data" / "forebay.db-wal"
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE row SET crc = crc")
        waiting = log.read_bytes()
    connection.close()
    file.unlink()
    if not is_missing:
        file.touch()
    log.write_bytes(waiting)
    assert "forebay.db is missing" in forebay(place, "doctor", status=1).stdout or not is_missing
    with pytest.raises(StoreCorrupt, match=r"forebay\.db-wal"):
        asyncio.run(app_on(place / "data")[0].start())
    assert file.exists() != is_missing
    forebay(place, "doctor", "--salvage", "saved", status=1)
    assert log.read_bytes() == waiting
    assert sum(asked(place, "doctor", "saved")["rows"].values()) > 0


async def test_an_app_that_cannot_start_says_what_is_damaged_and_what_to_do(place):
    with sqlite3.connect(place / "data" / "forebay.db") as file:
        file.execute("DELETE FROM row WHERE tab = 2")
    file.close()
    store = place / "data"
    app, _, _ = app_on(store)
    with pytest.raises(StoreCorrupt) as failed:
        await app.start()
    text = str(failed.value)
    assert text.startswith(f"the store is damaged: {store}/forebay.db: the rows do not add up")
    assert f"`forebay doctor --store {store}`" in text and f"`forebay doctor --store {store} --salvage TARGET`" in text
    assert text in refused(place, "stream", "list")


def test_a_flipped_bit_in_the_format_is_told_as_damage_and_everything_is_saved(place):
    """It was called a newer format, by the app and by the doctor, and nothing could be saved."""
    file = first_page(place)
    content = bytearray(file.read_bytes())
    content[FORMAT + 2] ^= 1
    file.write_bytes(content)
    assert "tells of format 260, and the tables are those of format 4" in refused(place, "stream", "list")
    assert "1 finding. Whole are 12 records" in forebay(place, "doctor", status=1).stdout
    assert asked(place, "doctor", "--salvage", "saved", status=1)["records"] == 12


def test_a_store_is_saved_whose_first_page_is_gone(place):
    file = first_page(place)
    content = file.read_bytes()
    file.write_bytes(bytes(4096) + content[4096:])
    assert "the header of forebay.db is not as it was made" in refused(place, "stream", "list")
    told = forebay(place, "doctor", status=1).stdout
    assert "--salvage reads on, in a copy with a new first page" in told
    assert "saved has 12 records" in forebay(place, "doctor", "--salvage", "saved", status=1).stdout
    assert asked(place, "stream", "list", "--store", "saved")[0]["records"] == 12


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        # A flipped bit; a slot of which nothing can be read; a file that was cut off, or emptied.
        ("acknowledged", lambda content: bytes([content[0] ^ 1]) + content[1:]),
        ("attempts", lambda content: content + b"damaged!" * 8),
        ("attempts", lambda content: content[:60]),
        ("attempts", lambda content: b""),
    ],
)
async def test_damage_beside_the_store_is_told_by_the_doctor_and_by_whoever_starts_next(place, caplog, name, damage):
    """The doctor called the store whole, and the start went on without a word."""
    file = place / "data" / name
    file.write_bytes(damage(file.read_bytes()))
    shutil.copytree(place / "data", place / "again")
    assert name in forebay(place, "doctor", status=1).stdout
    assert f"the file {name}" in forebay(place, "stream", "list").stderr
    app, orders, _ = app_on(place / "again")
    with caplog.at_level(logging.WARNING, "forebay"):
        async with app:
            await until(lambda: any(f"the file {name}" in record.getMessage() for record in caplog.records))
            await orders.put({"id": 12}, partition_key="ada")
    assert "is whole" in forebay(place, "doctor", "again").stdout

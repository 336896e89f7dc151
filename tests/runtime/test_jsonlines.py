"""A line is on the disk before it is confirmed, and what a crash tore is mended."""

import asyncio
import fcntl
import json
import os
from unittest import mock

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay import InvalidParameterValue, JSONLines
from forebay.destinations import jsonlines


@pytest.fixture
def path(tmp_path):
    return tmp_path / "failed.jsonl"


@pytest.fixture
def target(path):
    target = JSONLines(path)
    yield target
    target.close()


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_records_that_come_together_share_a_sync(target, path):
    with mock.patch.object(os, "fsync", wraps=os.fsync) as sync:
        await asyncio.gather(*(target.deliver({"n": number}) for number in range(100)))
    assert lines(path) == [{"n": number} for number in range(100)]
    assert sync.call_count <= 4  # the first record, all others, and the directory of the new file


async def test_the_file_is_for_its_owner_only(target, path):
    await target.deliver({})
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", [{"n": 1}]),
        (b'{"n":0}\n', [{"n": 0}, {"n": 1}]),
        (b'{"n":0}\n{"n"', [{"n": 0}, {"n": 1}]),
        (b'{"n"', [{"n": 1}]),
        (b'{"n":0}', [{"n": 0}, {"n": 1}]),
        (b'{"n":0}\n{"n": "' + b"x" * 200_000, [{"n": 0}, {"n": 1}]),
    ],
)
async def test_a_torn_last_line_is_removed_and_a_whole_one_is_kept(target, path, before, after):
    path.write_bytes(before)
    await target.deliver({"n": 1})
    assert lines(path) == after


LINES = st.lists(
    st.one_of(
        st.dictionaries(st.text(max_size=4), st.text(max_size=20), max_size=3).map(orjson.dumps),
        st.binary(max_size=20).map(lambda foreign: foreign.replace(b"\n", b"")),
    ).map(lambda line: line + b"\n"),
    max_size=8,
)


def is_json(text):
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True


@given(
    lines=LINES,
    cut=st.integers(0, 60),
    foreign=st.one_of(st.just(b""), st.binary(max_size=30), st.integers(1, 40).map(bytes)),
    block=st.integers(1, 70),
)
def test_wherever_the_end_is_torn_the_lines_before_it_stay(tmp_path_factory, lines, cut, foreign, block):
    """What a crash leaves: the last lines cut anywhere, then bytes that nobody wrote, or none."""
    path = tmp_path_factory.getbasetemp() / "torn.jsonl"
    written = b"".join(lines)
    left = written[: max(0, len(written) - cut)] + foreign
    path.write_bytes(left)
    whole, newline, tail = left.rpartition(b"\n")
    kept = whole + newline + (tail + b"\n" if is_json(tail) else b"")
    with mock.patch.object(jsonlines, "_TAIL_BYTES", block), mock.patch.object(jsonlines, "sync"):
        jsonlines.append(path, [b'{"n":1}\n', b'{"n":2}\n'])
    assert path.read_bytes() == kept + b'{"n":1}\n{"n":2}\n'


async def test_a_write_that_fails_leaves_nothing_of_its_burst(target, path):
    await target.deliver({"n": 0})
    write = os.write

    def full(handle, data):
        written = write(handle, bytes(data)[:3])
        raise OSError(28, f"No space left on device after {written}")

    with mock.patch.object(os, "write", full), pytest.raises(OSError, match="No space left"):
        await target.deliver({"n": 1})
    assert lines(path) == [{"n": 0}]
    await target.deliver({"n": 2})
    assert lines(path) == [{"n": 0}, {"n": 2}]


async def test_a_sync_that_fails_confirms_nothing(target, path):
    await target.deliver({"n": 0})
    with (
        mock.patch.object(jsonlines, "sync", side_effect=OSError(5, "I/O error")),
        pytest.raises(OSError, match="I/O"),
    ):
        await target.deliver({"n": 1})
    assert lines(path) == [{"n": 0}]


async def test_a_file_that_was_moved_away_is_begun_anew(target, path):
    await target.deliver({"n": 0})
    path.rename(path.with_suffix(".old"))
    await target.deliver({"n": 1})
    assert lines(path) == [{"n": 1}]


async def test_another_writer_is_waited_for(target, path):
    path.touch()
    with path.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        delivery = asyncio.create_task(target.deliver({"n": 1}))
        await asyncio.sleep(0.02)
        assert not delivery.done()
        os.write(other.fileno(), b'{"n": 0}\n')
    await delivery
    assert lines(path) == [{"n": 0}, {"n": 1}]


async def test_a_delivery_that_is_cancelled_disturbs_no_other(target, path):
    first = asyncio.create_task(target.deliver({"n": 0}))
    second = asyncio.create_task(target.deliver({"n": 1}))
    await asyncio.sleep(0)
    second.cancel()
    await first
    await target.deliver({"n": 2})
    assert {"n": 0} in lines(path) and {"n": 2} in lines(path)


def test_two_of_one_path_are_equal(path):
    assert JSONLines(path) == JSONLines(str(path))
    assert len({JSONLines(path), JSONLines(path)}) == 1
    assert JSONLines(path) != JSONLines(path.with_suffix(".other"))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("", "a str or an os.PathLike"),
        (None, "a str or an os.PathLike"),
        (7, "a str or an os.PathLike"),
        (b"failed.jsonl", "a str or an os.PathLike"),
        ("failed\0.jsonl", "a str or an os.PathLike"),
        (".", "not a regular file"),
        (os.devnull, "not a regular file"),
        ("missing/failed.jsonl", "there is no directory 'missing'"),
        (f"{__file__}/failed.jsonl", "there is no directory"),
    ],
)
def test_where_no_line_can_be_written_is_refused_when_it_is_declared(given, reason, tmp_path, monkeypatch):
    """An empty path was the working directory, a number a bare TypeError, and the others failed at the first record."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidParameterValue, match=reason):
        JSONLines(given)


async def test_a_relative_path_stays_where_it_was_when_it_was_declared(tmp_path, monkeypatch):
    """After `os.chdir` the records went into a file of the new directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    target = JSONLines("failed.jsonl")
    monkeypatch.chdir(tmp_path / "elsewhere")
    await target.deliver({"n": 1})
    target.close()
    assert lines(tmp_path / "failed.jsonl") == [{"n": 1}]


def test_a_file_that_this_process_may_not_write_is_refused(path):
    with (
        mock.patch.object(os, "access", return_value=False),
        pytest.raises(InvalidParameterValue, match="may not write"),
    ):
        JSONLines(path)

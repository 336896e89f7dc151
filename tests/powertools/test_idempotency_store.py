"""Powertools' idempotency records in the app's store: the first to put a key has it, in whatever process, until it expires."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyItemAlreadyExistsError,
    IdempotencyItemNotFoundError,
    IdempotencyValidationError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord

from forebay import App, ForebayError, InvalidParameterValue, StoreFull, StoreNewerFormat
from forebay.powertools import FILE, IdempotencyStore

GOLDEN = Path(__file__).parents[1] / "golden" / "idempotency-v1.db"


@pytest.fixture
def store(tmp_path):
    store = IdempotencyStore(App("shop", store=tmp_path))
    store.configure(IdempotencyConfig(), "charge")
    yield store
    store.close()


def in_progress(key, *, expires_in=60, attempt_ends_in=60):
    now = time.time()
    return DataRecord(key, "INPROGRESS", int(now + expires_in), int((now + attempt_ends_in) * 1000))


def test_the_first_to_put_a_key_has_it_and_the_next_is_given_what_it_saved(store):
    store._put_record(in_progress("order#1"))
    with pytest.raises(IdempotencyItemAlreadyExistsError) as taken:
        store._put_record(in_progress("order#1"))
    assert taken.value.old_data_record.status == "INPROGRESS"
    store._update_record(DataRecord("order#1", "COMPLETED", int(time.time() + 60), response_data='{"paid": true}'))
    with pytest.raises(IdempotencyItemAlreadyExistsError) as taken:
        store._put_record(in_progress("order#1"))
    assert taken.value.old_data_record.response_json_as_dict() == {"paid": True}
    assert store._get_record("order#1").status == "COMPLETED"


def test_what_was_deleted_expired_or_left_by_an_attempt_that_died_can_be_put_again(store):
    store._put_record(in_progress("deleted"))
    store._delete_record(DataRecord("deleted"))
    with pytest.raises(IdempotencyItemNotFoundError):
        store._get_record("deleted")
    store._put_record(in_progress("expired", expires_in=-10))
    store._put_record(in_progress("died", attempt_ends_in=-1))
    for key in ("deleted", "expired", "died"):
        store._put_record(in_progress(key))
        with pytest.raises(IdempotencyItemAlreadyExistsError):
            store._put_record(in_progress(key))


def test_another_payload_under_the_same_key_is_refused(store):
    store.configured = False
    store.configure(IdempotencyConfig(event_key_jmespath="order", payload_validation_jmespath="amount"), "charge")
    store.save_inprogress({"order": 1, "amount": 5}, 60_000)
    with pytest.raises(IdempotencyItemAlreadyExistsError):
        store.save_inprogress({"order": 1, "amount": 5}, 60_000)
    with pytest.raises(IdempotencyValidationError):
        store.save_inprogress({"order": 1, "amount": 6}, 60_000)


def test_of_many_processes_one_has_each_key(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; sys.path.insert(0, sys.argv[2]); import test_idempotency_store as tests\n"
        "store = tests.IdempotencyStore(tests.App('shop', store=sys.argv[1])); mine = 0\n"
        "while not (Path(sys.argv[1]) / 'go').exists(): time.sleep(0.001)\n"
        "for number in range(200):\n"
        "    try: store._put_record(tests.in_progress(f'order#{number}')); mine += 1\n"
        "    except tests.IdempotencyItemAlreadyExistsError: pass\n"
        "print(mine)"
    )
    command = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path), str(Path(__file__).parent)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    (tmp_path / "go").touch()
    won = [int(process.communicate()[0]) for process in started]
    assert sum(won) == 200


def test_many_processes_may_open_a_new_file_at_once(tmp_path):
    """Some failed with "database is locked": SQLite does not wait where several switch a file to WAL."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_idempotency_store as tests\n"
        "for line in sys.stdin:\n"
        "    store = tests.IdempotencyStore(tests.App('shop', store=line.strip()))\n"
        "    try: store._put_record(tests.in_progress(sys.argv[2])); print('ok', flush=True)\n"
        "    except BaseException as error: print(repr(error), flush=True)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", program, str(Path(__file__).parent)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen([*command, f"order#{number}"], **pipes) for number in range(8)]
    answers = []
    for number in range(25):
        for process in started:
            process.stdin.write(f"{tmp_path / str(number)}\n")
        for process in started:
            process.stdin.flush()
        answers += [process.stdout.readline().strip() for process in started]
    for process in started:
        process.communicate()
    assert answers == ["ok"] * 200


def test_records_are_there_after_a_restart_and_the_file_is_its_owners_alone(tmp_path):
    for _ in range(2):
        store = IdempotencyStore(App("shop", store=tmp_path))
        try:
            store._put_record(in_progress("order#1"))
        except IdempotencyItemAlreadyExistsError:
            break
        finally:
            store.close()
    else:
        pytest.fail("the record was gone")
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_expired_records_make_room_and_when_none_has_expired_it_says_what_to_do(tmp_path):
    store = IdempotencyStore(App("shop", store=tmp_path), maximum_bytes=1 << 20)
    large = "x" * 10_000
    for number in range(300):
        store._update_record(DataRecord(f"old#{number % 60}", "COMPLETED", int(time.time()) - 10, response_data=large))
        store._put_record(in_progress("order#1", expires_in=-10))
    with pytest.raises(StoreFull, match=r"1,048,576 bytes \(maximum_bytes\).*expire sooner"):
        for number in range(300):
            store._update_record(DataRecord(f"new#{number}", "COMPLETED", int(time.time()) + 60, response_data=large))
    assert store._get_record("new#0").response_data == large
    store._delete_record(DataRecord("new#0"))
    store._put_record(in_progress("order#2"))
    store.close()
    assert (tmp_path / FILE).stat().st_size <= 1 << 20


async def test_it_lies_in_the_store_and_is_closed_with_the_app(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = App("shop", store="data")
    store = IdempotencyStore(app)
    (tmp_path / "elsewhere").mkdir()
    async with app:
        monkeypatch.chdir(tmp_path / "elsewhere")
        store._put_record(in_progress("order#1"))
    assert (tmp_path / "data" / FILE).exists()
    assert f"{FILE}-wal" not in {path.name for path in (tmp_path / "data").iterdir()}, (
        "the last to close it leaves one file"
    )


def test_a_file_of_this_format_is_read_by_every_later_release(tmp_path):
    shutil.copy(GOLDEN, tmp_path / FILE)
    store = IdempotencyStore(App("shop", store=tmp_path))
    record = store._get_record("charge#1")
    store.close()
    assert (record.status, record.response_json_as_dict(), record.payload_hash) == ("COMPLETED", {"paid": True}, "hash")


def test_a_file_of_a_newer_release_is_left_alone(tmp_path, store):
    with sqlite3.connect(tmp_path / FILE) as newer:
        newer.execute("PRAGMA user_version = 2")
    newer.close()
    with pytest.raises(StoreNewerFormat, match="has format 2, and this forebay knows 1"):
        store._put_record(in_progress("order#1"))


@pytest.mark.parametrize("given", [{"store": ":memory:"}, {"store": "data", "durability": "memory"}])
def test_an_app_that_keeps_nothing_is_refused(given):
    with pytest.raises(InvalidParameterValue, match="keeps nothing"):
        IdempotencyStore(App("shop", **given))


def test_a_size_outside_its_range_is_refused(tmp_path):
    with pytest.raises(InvalidParameterValue, match="maximum_bytes=5"):
        IdempotencyStore(App("shop", store=tmp_path), maximum_bytes=5)


def test_without_powertools_the_error_says_what_to_install():
    program = (
        "import sys\nsys.modules['aws_lambda_powertools'] = None\n"
        "try:\n    import forebay.powertools\nexcept Exception as error:\n    print(type(error).__name__, error)"
    )
    command = [sys.executable, "-W", "ignore", "-c", program]
    told = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert told.startswith(f"{ForebayError.__name__} forebay.powertools needs Powertools for AWS Lambda")
    assert "pip install '.[powertools]'" in told


def test_a_fork_opens_a_connection_of_its_own(store):
    store._put_record(in_progress("order#1"))
    child = os.fork()
    if child == 0:
        try:
            store._put_record(in_progress("order#2"))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert store._get_record("order#2").status == "INPROGRESS"

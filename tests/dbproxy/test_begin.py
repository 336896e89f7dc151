"""A transaction of SQLAlchemy on PostgreSQL begins in the round trip of its first statement; asyncpg sees nothing of it."""

from __future__ import annotations

import asyncio
import struct
from functools import partial

import pytest
import sqlalchemy as sa

from forebay.dbproxy.guard import BEGIN, BEGUN, StepGuard
from forebay.dbproxy.sqlalchemy import create_async_engine


def message(kind, body=b""):
    return kind + struct.pack("!I", len(body) + 4) + body


NOTICE = message(b"N", b"SWARNING\0M12C\0\0")
SETTING = message(b"S", b"TimeZone\0UTC\0")
ERROR = message(b"E", b"SERROR\0C57014\0\0")
ANSWER = message(b"2") + message(b"D", b"\0\1\0\0\0\1" + b"2") + message(b"C", b"SELECT 1\0") + message(b"Z", b"T")
FIRST, SECOND, THIRD = message(b"1"), message(b"2"), message(b"C", b"BEGIN\0")
SENT = {
    "at once": (BEGUN + ANSWER, ANSWER),
    "a notice first": (NOTICE + BEGUN + ANSWER, NOTICE + ANSWER),
    "notices between": (FIRST + SETTING + SECOND + NOTICE + THIRD + ANSWER, SETTING + NOTICE + ANSWER),
    "refused": (ERROR + message(b"Z", b"I"), ERROR + message(b"Z", b"I")),
    "refused when it runs": (FIRST + SECOND + ERROR + message(b"Z", b"I"), ERROR + message(b"Z", b"I")),
}


class Driver:
    """Stands for asyncpg's protocol and for its transport."""

    def __init__(self):
        self.seen = b""
        self.sent = b""

    def connection_made(self, transport):
        self.outlet = transport

    def data_received(self, data):
        self.seen += data

    def write(self, data):
        self.sent += data


@pytest.mark.parametrize("name", SENT)
def test_the_answer_to_begin_is_left_out_wherever_it_is_cut(name):
    sent, shown = SENT[name]
    for cut in range(len(sent)):
        for second in (cut, min(cut + 3, len(sent))):
            driver = Driver()
            guard = StepGuard(driver)
            guard.connection_made(driver)
            guard.data_received(message(b"Z", b"I"))
            driver.seen = b""
            owed = []
            guard.begin(partial(owed.append, True))
            driver.outlet.write(b"question")
            for piece in (sent[:cut], sent[cut:second], sent[second:]):
                if piece:
                    guard.data_received(piece)
            assert driver.seen == shown, cut
            guard.data_received(ANSWER)
            assert driver.seen == shown + ANSWER, "the next answer is its own"
            assert driver.sent == BEGIN + b"question"
            driver.outlet.write(b"more")
            assert driver.sent == BEGIN + b"questionmore"
            guard.take_back()
            assert not owed


def test_a_begin_whose_question_is_not_sent_is_not_sent_either():
    driver = Driver()
    guard = StepGuard(driver)
    guard.connection_made(driver)
    guard.data_received(message(b"Z", b"I"))
    owed = []
    guard.begin(partial(owed.append, True))
    guard.take_back()
    assert owed
    driver.outlet.write(b"question")
    assert driver.sent == b"question"
    guard.data_received(ANSWER)
    assert driver.seen.endswith(ANSWER)


NOTIFICATION = message(b"A", b"\0\0\0\1news\0\0")
ENDS = {
    "an answer": (ANSWER, False),
    "an answer and a notification": (ANSWER + NOTIFICATION + NOTICE, False),
    "an answer and a part of a notification": (ANSWER + NOTIFICATION[:7], False),
    "a notification": (NOTIFICATION, False),
    "a part of an answer": (ANSWER[:-1], True),
    "an answer and the first byte of another": (ANSWER + ANSWER[:1], True),
    "an answer and four bytes of another": (ANSWER + ANSWER[:4], True),
}


@pytest.mark.parametrize("name", ENDS)
def test_bytes_that_an_answer_leaves_behind_are_noticed_wherever_it_is_cut(name):
    """The rest of an answer that came twice was taken for the beginning of the next one: two of 25,000 were crossed."""
    sent, expected = ENDS[name]
    for cut in range(len(sent)):
        driver, told = Driver(), [False]
        guard = StepGuard(driver)
        guard.connection_made(driver)
        guard.loosened = told.append
        guard.data_received(message(b"Z", b"I"))
        for piece in (sent[:cut], sent[cut:]):
            if piece:
                guard.data_received(piece)
        assert told[-1] is expected, (cut, told)
        if not expected and not sent.endswith(NOTIFICATION[:7]):
            guard.data_received(ANSWER)
            assert told[-1] is False


@pytest.fixture
async def engine(postgres, proxies):
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as client:
        await client.execute("DROP TABLE IF EXISTS begun")
        await client.execute("CREATE TABLE begun (a INT)")
    found = create_async_engine(proxy)
    for _ in range(2):  # from now on everything is prepared
        async with found.connect() as connection:
            await connection.execute(INSERT, {"a": 1})
        async with found.connect() as connection:
            await connection.scalar(NOW)
        async with found.connect() as connection:
            await connection.scalar(COUNT)
    yield found
    assert proxy.statistics()["InterruptedConnections"] == 0, "a connection was thrown away"


INSERT = sa.text("INSERT INTO begun VALUES (:a)")
NOW = sa.text("SELECT now()")
COUNT = sa.text("SELECT count(*) FROM begun")


async def test_the_first_statement_is_in_the_transaction(engine):
    async with engine.connect() as connection:
        await connection.execute(INSERT, {"a": 1})
        await connection.execute(INSERT, {"a": 2})
        assert await connection.scalar(COUNT) == 2
    async with engine.connect() as connection:
        assert await connection.scalar(COUNT) == 0
    async with engine.begin() as connection:
        await connection.execute(INSERT, {"a": 1})
    async with engine.connect() as connection:
        first = (await connection.execute(NOW)).one()
        assert (await connection.execute(NOW)).one() == first, "one transaction, one time"
        assert await connection.scalar(COUNT) == 1


async def test_an_argument_that_is_refused_leaves_the_transaction_as_it_began(engine):
    """The driver refuses it before it sends anything, and BEGIN goes with the next statement."""
    async with engine.connect() as connection:
        with pytest.raises(sa.exc.DBAPIError):
            await connection.execute(INSERT, {"a": "no number"})
        await connection.execute(INSERT, {"a": 1})
        await connection.rollback()
        assert await connection.scalar(COUNT) == 0
        await connection.rollback()
        with pytest.raises(sa.exc.DBAPIError):
            await connection.execute(INSERT, {"a": "no number"})
        await connection.commit()
        await connection.execute(INSERT, {"a": 1})
        await connection.commit()
    async with engine.connect() as connection:
        assert await connection.scalar(COUNT) == 1


async def test_a_statement_that_the_server_refuses_fails_its_transaction(engine):
    divide = sa.text("SELECT 1 / CAST(:a AS INT)")
    async with engine.connect() as connection:
        assert await connection.scalar(divide, {"a": 1}) == 1
    async with engine.connect() as connection:
        with pytest.raises(sa.exc.DBAPIError, match="division by zero"):
            await connection.scalar(divide, {"a": 0})
        with pytest.raises(sa.exc.DBAPIError, match="current transaction is aborted"):
            await connection.scalar(COUNT)
        await connection.rollback()
        assert await connection.scalar(COUNT) == 0


async def test_rows_in_bulk_and_rows_as_they_come_have_their_transaction(engine):
    async with engine.connect() as connection:
        await connection.execute(INSERT, [{"a": 1}, {"a": 2}])
        assert await connection.scalar(COUNT) == 2
    async with engine.connect() as connection:
        rows = await connection.stream(sa.text("SELECT a FROM generate_series(1, 2000) AS a"))
        assert len([row async for row in rows]) == 2000
        assert await connection.scalar(COUNT) == 0


async def test_a_statement_of_the_session_s_own_transaction_mode_begins_with_it(engine):
    mode = sa.text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    for _ in range(2):
        async with engine.connect() as connection:
            await connection.execute(mode)
            assert await connection.scalar(sa.text("SHOW transaction_isolation")) == "serializable"


async def test_a_begin_that_was_not_sent_goes_with_nobody_else_s_statement(engine):
    async with engine.connect() as connection:
        with pytest.raises(sa.exc.DBAPIError):
            await connection.execute(INSERT, {"a": "no number"})
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(INSERT, {"a": 1})
    async with engine.connect() as connection:
        assert await connection.scalar(COUNT) == 1


async def test_statements_that_are_asked_at_once_on_one_connection_run_in_turn(engine):
    async with engine.connect() as connection:
        await connection.execute(INSERT, {"a": 1})
        counts = await asyncio.gather(*(connection.scalar(COUNT) for _ in range(5)))
    assert counts == [1] * 5

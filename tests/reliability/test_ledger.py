"""The ledger, and its checkers, which are themselves checked: each violation, planted, is found."""

import asyncio
import os
import threading

import pytest
from victim import halves

from forebay import App, Batch
from forebay.testing import Fact, Ledger, VirtualClock, check

MS = 1_000_000


def facts(*lines):
    """Write facts as `life kind key number`, a millisecond apart."""
    words = [line.split() for line in lines]
    return [Fact(at, at * MS, int(life), kind, key, int(number)) for at, (life, kind, key, number) in enumerate(words)]


SOUND = facts(
    "1 acknowledged a 1",
    "1 acknowledged a 2",
    "1 begun a 1",
    "1 done a 1",
    "1 begun a 2",
    "2 begun a 2",
    "2 done a 2",
)


def test_a_sound_ledger_passes():
    verdict = check(SOUND)
    assert (verdict.violations, verdict.acknowledged, verdict.done, verdict.duplicates) == ([], 2, 2, {})


def test_what_a_life_did_and_its_checkpoint_did_not_cover_is_a_duplicate_and_no_violation():
    verdict = check([*SOUND, *facts("3 begun a 2", "3 done a 2")])
    assert verdict.violations == []
    assert verdict.duplicates == {2: 1}


def test_what_was_done_long_before_its_life_ended_is_not_forgotten():
    again = [*SOUND, *facts(*["2 other x 1"] * 500, "3 begun a 2", "3 done a 2")]
    assert check(again, forgotten=0.5).violations == []
    assert check(again, forgotten=0.4).violations == [
        "duplicate: a 2 runs again, done 0.493 s before the end of life 2"
    ]


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        (SOUND[:-1], "lost"),
        (facts("1 acknowledged a 1", "1 acknowledged a 2", "1 begun a 2", "1 done a 2", "1 begun a 1"), "order"),
        (facts("1 acknowledged a 1", "1 acknowledged a 2", "1 begun a 1", "1 begun a 2"), "exclusion"),
        (facts("1 acknowledged a 1", "1 begun a 1", "1 done a 1", "1 begun a 1"), "duplicate"),
        (facts("1 acknowledged a 1", "1 acknowledged a 2", "2 begun a 2", "2 done a 2"), "order"),
    ],
)
def test_each_violation_is_found_when_planted(planted, found):
    assert any(violation.startswith(found) for violation in check(planted).violations), check(planted)


def test_a_retry_without_end_is_found():
    tried = facts("1 acknowledged a 1", *["1 begun a 1", "2 begun a 1"] * 2, "2 done a 1")
    assert check(tried, attempts=4).violations == []
    assert check(tried, attempts=3).violations == ["attempts: a 1 begins for the 4. time"]


def test_a_record_with_a_failure_record_is_not_lost():
    assert check(SOUND[:-1], given_up={("a", 2)}).violations == []


def test_a_publication_that_reached_only_some_of_its_subscriptions_is_found_and_one_that_reached_none_is_not():
    asked = facts("1 asked told-all.1 1", "1 asked event-told.1 1", "1 asked told-all.2 2", "1 asked event-told.2 2")
    done = facts("2 done told-all.1 1", "2 done event-told.1 1")
    assert halves([*asked, *done]) == []
    assert halves([*asked, *done[:1]]) == ["half: of publication 1 only {('told-all.1', 1)}"]
    assert halves([*asked, *done[:1]], given_up={("event-told.1", 1)}) == []


def test_what_failed_is_in_flight_no_more_and_may_begin_again_in_the_same_life():
    tried = facts("1 acknowledged a 1", "1 begun a 1", "1 failed a 1", "1 begun a 1", "1 done a 1")
    assert check(tried).violations == []
    assert check([fact for fact in tried if fact.kind != "failed"]).violations == [
        "exclusion: a 1 begins while its key is in flight, life 1"
    ]


def test_several_processes_and_threads_write_into_one_file_and_a_kill_takes_nothing(tmp_path):
    path = tmp_path / "ledger.db"
    if (child := os.fork()) == 0:
        Ledger(path, life=2).note("asked", [("a", number) for number in range(1, 11)])
        os.kill(os.getpid(), 9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    with Ledger(path, life=3) as ledger:
        threads = [threading.Thread(target=ledger.note, args=("acknowledged", [("b", each)])) for each in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (ledger.count("asked"), ledger.count("asked", 3), ledger.count("acknowledged", 3)) == (10, 0, 20)
        assert ledger.behind() == {("b", each) for each in range(20)} and ledger.next_number() == 20
        notes = [fact.note for fact in ledger.facts()]
    assert notes == sorted(notes) and len(set(notes)) == 21, "what is noted together has one number"


@pytest.mark.parametrize("asked", [3, 2])
async def test_an_app_is_held_to_how_often_it_may_try(tmp_path, asked):
    """Silence about a record that was given up, and a try too many, are told of a real app."""
    clock = VirtualClock()
    ledger = Ledger(tmp_path / "ledger.db", clock=clock)
    app = App("tries", store=":memory:", clock=clock)
    app.stream("events", shards=1)

    @app.on_stream("events", batch_size=1, maximum_retry_attempts=2)
    async def work(batch: Batch, context):
        with ledger.handling([(batch[0].partition_key, batch[0].json())]):
            if batch[0].json() == 2:
                raise ValueError("never")

    async with app:
        for number in range(1, 5):
            await app.stream("events").put(number, partition_key="a")
            ledger.note("acknowledged", [("a", number)])
        await clock.advance(3600)
    with ledger:
        facts = ledger.facts()
    too_often = ["attempts: a 2 begins for the 3. time"] * (3 - asked)
    assert check(facts, attempts=asked, given_up={("a", 2)}).violations == too_often
    dropped = ["order: a 3 begins and 2 was never done, life 1", "lost: 1 acknowledged items of a, the first 2"]
    assert check(facts, attempts=asked).violations == [*too_often, *dropped]


async def test_what_a_handler_says_has_failed_may_run_again(tmp_path):
    """A partial batch response returns, and its retry was told as a duplicate."""
    with Ledger(tmp_path / "ledger.db", clock=VirtualClock()) as ledger:
        ledger.note("acknowledged", [("a", 1), ("b", 1)])
        with ledger.handling([("a", 1), ("b", 1)]) as failed:
            failed.add(("b", 1))
        assert ledger.behind() == {("b", 1)}
        with ledger.handling([("b", 1)]):
            pass
        assert check(ledger.facts()).violations == []
        with ledger.handling([("a", 1)]):
            pass
        assert check(ledger.facts()).violations == ["duplicate: a 1 runs again in life 1, which had done it"]


async def test_a_handler_is_noted_as_it_ends(tmp_path):
    with Ledger(tmp_path / "ledger.db", clock=VirtualClock()) as ledger:
        with ledger.handling([("a", 1)]):
            await asyncio.sleep(0)
        with pytest.raises(ValueError, match="no"), ledger.handling([("a", 2)]):
            raise ValueError("no")
        with pytest.raises(asyncio.CancelledError), ledger.handling([("a", 3)]):
            raise asyncio.CancelledError
        told = [(fact.kind, fact.number, fact.at_ns) for fact in ledger.facts()]
    assert told == [
        ("begun", 1, 0),
        ("done", 1, 0),
        ("begun", 2, 0),
        ("failed", 2, 0),
        ("begun", 3, 0),
        ("failed", 3, 0),
    ]

"""The ledger, and its checkers, which are themselves checked: each violation, planted, is found."""

import asyncio
import os
import threading

import pytest
from given_up import DEAD_LETTER, counted_over_a_restart, longest_puts, too_early, too_often
from victim import halves

from forebay import App, Batch
from forebay.testing import Fact, Ledger, VirtualClock, check

MS = 1_000_000


def facts(*lines):
    """Write facts as `life kind key number number ...`, a millisecond apart; what is on one line was noted together."""
    words = [line.split() for line in lines]
    return [
        Fact(at, at * MS, int(life), kind, key, int(number))
        for at, (life, kind, key, *numbers) in enumerate(words)
        for number in numbers
    ]


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
        (facts("1 begun a 1 1", "1 done a 1 1"), "duplicate: a 1 is twice in one batch, life 1"),
        (facts("1 begun a 2 1", "1 done a 1 2"), "order: a 1 begins after 2, life 1"),
        (facts("1 begun a 1 2", "1 failed a 1 2", "1 begun a 2 1"), "order: a 2 begins and 1 is not done, life 1"),
        # Of a batch that was in flight two items go on alone: nobody says that the first of them has ended.
        (
            facts("1 begun a 1 2", "1 done a 1", "1 begun a 3"),
            "exclusion: a 3 begins while its key is in flight, life 1",
        ),
        # A life that goes on while the next one handles its key.
        (
            facts("1 begun a 1", "2 begun a 1", "1 done a 1"),
            "exclusion: a 1 is done in life 1, life 2 had begun its key",
        ),
        (facts("1 begun a 1", "2 begun a 1", "2 done a 1", "1 failed a 1"), "exclusion: a 1 is failed in life 1"),
        (facts("2 begun a 1", "2 done a 1", "1 begun a 2"), "exclusion: a 2 is begun in life 1"),
        # Nobody was told that these are there, but their handler was.
        (facts("1 begun a 2", "1 failed a 2", "1 begun a 1"), "order: a 1 begins after 2, life 1"),
        (facts("1 begun a 2", "2 begun a 1"), "order: a 1 begins after 2, life 2"),
        (facts("1 begun a 1", "1 failed a 1", "1 begun a 2"), "order: a 2 begins and 1 is not done, life 1"),
        # What was forgotten runs again in order, too.
        (
            facts("1 begun a 1 2", "1 done a 1 2", "2 begun a 2", "2 failed a 2", "2 begun a 1"),
            "order: a 1 begins after 2",
        ),
        (facts("1 begun a 1", "1 done a 1", "2 begun a 2", "3 begun a 1"), "order: a 1 begins after 2, life 3"),
        (facts("1 begun a 1", "1 done a 1", "2 begun a 1", "2 failed a 1", "2 begun a 2"), "order: a 2 begins and 1"),
    ],
)
def test_each_violation_is_found_when_planted(planted, found):
    assert any(violation.startswith(found) for violation in check(planted).violations), check(planted)


@pytest.mark.parametrize("end", [["1 failed a 1 2"], []], ids=["failed", "killed"])
def test_order_holds_again_after_a_batch_of_both_ended(end):
    """What had begun together was never looked at again: tried alone, in the wrong order, it was found sound."""
    life = 1 if end else 2
    batch = ["1 acknowledged a 1 2", "1 begun a 1 2", *end]
    alone = [f"{life} begun a 1", f"{life} done a 1", f"{life} begun a 2", f"{life} done a 2"]
    assert check(facts(*batch, *alone)).violations == []
    swapped = facts(*batch, f"{life} begun a 2", f"{life} failed a 2", *alone)
    assert check(swapped).violations == [f"order: a 2 begins and 1 is not done, life {life}"]


@pytest.mark.parametrize(
    "sound",
    [
        # Halves of a batch, each in order, keys side by side.
        facts("1 begun a 1 2 3", "1 failed a 1 2 3", "1 begun a 1 2", "1 begun b 1", "1 done a 1 2", "1 begun a 3"),
        # What was forgotten, failed when it ran again, and is tried once more.
        facts("1 begun a 1 2", "1 done a 1 2", "2 begun a 1 2", "2 failed a 1 2", "2 begun a 1 2", "2 done a 1 2"),
        # The handler of a FIFO queue says that only the first has failed: what is behind it is deleted.
        facts("1 begun a 1 2", "1 failed a 1", "1 done a 2", "1 begun a 1", "1 done a 1"),
        # The caller is told when all is over.
        facts("1 begun a 1 2", "1 done a 1 2", "1 acknowledged a 1 2", "1 begun a 3", "1 done a 3"),
        # Two lives end before one does it.
        facts("1 begun a 1 2", "2 begun a 1 2", "3 begun a 1", "3 done a 1", "3 begun a 2", "3 done a 2"),
    ],
)
def test_what_a_runtime_may_do_is_no_violation(sound):
    assert check(sound).violations == []


def test_a_try_that_ends_after_its_timeout_is_excused_for_all_tries_that_follow():
    """The second try that followed was told as a duplicate: how long the first took was reckoned from the second's beginning."""
    again = ["1 begun a 1", "1 failed a 1"] * 2
    late = facts("1 begun a 1", *["1 other x 1"] * 50, "1 done a 1", *again, "1 begun a 1", "1 done a 1")
    assert check(late, timeout=0.05).violations == []
    assert check(late, timeout=0.06).violations == ["duplicate: a 1 runs again in life 1, which had done it"]


def test_only_what_a_life_that_ended_forgot_counts_as_its_duplicate():
    """A violation of the same life and what a timeout excuses were counted as if the life had ended too early."""
    again = facts("1 begun a 1", "1 done a 1", "1 begun a 1", "1 done a 1")
    assert check(again).duplicates == check(again, timeout=0).duplicates == {}
    # That it fails then and is tried again makes it no second one.
    twice = facts("1 begun a 1", "1 done a 1", "2 begun a 1", "2 failed a 1", "2 begun a 1", "2 done a 1")
    assert check(twice).duplicates == {1: 1}


def test_a_retry_without_end_is_found():
    tried = facts("1 acknowledged a 1", *[f"{life} begun a 1" for life in range(1, 5)], "4 done a 1")
    assert check(tried, attempts=4).violations == []
    assert check(tried, attempts=3).violations == ["attempts: a 1 begins for the 4. time"]


def test_attempts_that_the_end_of_their_life_cut_short_or_may_have_hidden_need_not_count():
    cut = facts("1 begun a 1", "2 begun a 1", "3 begun a 1", "3 failed a 1", "3 begun a 1", "3 done a 1")
    assert check(cut, attempts=2, count_interruptions=False).violations == []
    assert check(cut, attempts=1, count_interruptions=False).violations == ["attempts: a 1 begins for the 2. time"]
    early, late = (["1 begun a 1", "1 failed a 1"] * tries for tries in (1, 2))
    again = ["2 begun a 1", "2 failed a 1"] * 3
    hidden = facts(*early, *["1 other x 1"] * 100, *late, *again)
    for forgotten, most in {0.2: 3, 0.05: 1 + 3, 0.0015: 1 + 1 + 3}.items():
        told = check(hidden, attempts=most - 1, forgotten=forgotten, count_interruptions=False).violations
        assert told[-1] == f"attempts: a 1 begins for the {most}. time"
        assert check(hidden, attempts=most, forgotten=forgotten, count_interruptions=False).violations == []


def test_a_late_end_of_a_life_before_leaves_the_attempts_of_the_life_that_began_again_alone():
    """A life that had been frozen took an attempt off the next one's, which was told as begun too often after a kill."""
    late = facts("1 begun a 1", "2 begun a 1", "1 done a 1", *["1 other x 1"] * 100, "3 begun a 1", "3 done a 1")
    found = check(late, attempts=1, forgotten=0.05, count_interruptions=False).violations
    assert [violation for violation in found if violation.startswith("attempts")] == []


def test_how_much_a_life_may_forget_can_differ_by_life():
    again = facts("1 begun a 1", "1 done a 1", *["1 other x 1"] * 100, "2 begun a 1", "2 done a 1")
    assert check(again, forgotten={1: 0.2, 2: 0.0}).violations == []
    for forgotten in ({1: 0.05, 2: 0.2}, {}):
        [found] = check(again, forgotten=forgotten).violations
        assert found == "duplicate: a 1 runs again, done 0.100 s before the end of life 1"


def test_a_record_with_a_failure_record_is_not_lost():
    assert check(SOUND[:-1], given_up={("a", 2)}).violations == []


def test_a_publication_that_reached_only_some_of_its_subscriptions_is_found_and_one_that_reached_none_is_not():
    asked = facts("1 asked told-all.1 1", "1 asked event-told.1 1", "1 asked told-all.2 2", "1 asked event-told.2 2")
    done = facts("2 done told-all.1 1", "2 done event-told.1 1")
    assert halves([*asked, *done]) == []
    assert halves([*asked, *done[:1]]) == ["half: of publication 1 only {('told-all.1', 1)}"]
    assert halves([*asked, *done[:1]], given_up={("event-told.1", 1)}) == []


def test_what_the_handlers_that_fail_gave_up_too_early_or_tried_too_often_is_found():
    failed = facts(*["1 begun event.1 1", "1 failed event.1 1"] * 2, *["1 other x 1"] * 500)
    given_up = {("event.1", 1): "RetriesExhausted"}
    assert too_early(failed, given_up) == too_often(failed, 0.1) == []
    [early] = too_early(failed[2:], given_up)
    assert early == "early: ('event.1', 1) was given up after 1 failures: RetriesExhausted"
    again = facts("2 begun event.1 1")
    assert too_often([*failed, *again], 1.0) == []
    assert too_often([*failed, *again], 0.0) == ["attempts: event.1 1 begins for the 3. time"]
    assert too_early([], {("k0.1", 1): "RuntimeInterrupted"}) == []


def test_what_is_split_off_alone_is_held_to_its_own_retries():
    """With less than four splits before it a record had tries left that its handler did not allow."""
    split = ["1 begun k0 1 2", "1 failed k0 1 2", *["1 begun k0 1", "1 failed k0 1"] * 3, *["1 other x 1"] * 100]
    assert too_often(facts(*split), {1: 0.05}) == []
    again = facts(*split, "2 begun k0 1", "2 failed k0 1")
    assert too_often(again, {1: 0.05}) == ["attempts: k0 1 begins for the 4. time"]
    assert counted_over_a_restart(again, {("k0", 1): DEAD_LETTER}, {1: 0.05, 2: 0.0}) == {"k": 1}
    assert counted_over_a_restart(again, {("k0", 1): DEAD_LETTER}, {1: 0.2, 2: 0.0}) == {}
    assert counted_over_a_restart(again[:4], {("k0", 1): DEAD_LETTER}, {1: 0.0}) == {}


def test_a_slow_disk_shows_in_the_puts_of_a_life():
    puts = facts("1 asked a 1", *["1 other x 1"] * 9, "1 acknowledged a 1", "1 asked a 2", *["1 other x 1"] * 20)
    assert longest_puts(puts) == {1: 0.02}, "what was in a commit when its life ended counts as well"
    refused = facts("1 asked a 1", *["1 other x 1"] * 9, "1 asked a 2", "1 acknowledged a 2", "2 asked a 3")
    assert longest_puts(refused) == {1: 0.001, 2: 0.0}, "what others were answered after waited for nothing"
    refused = facts("1 asked a 1", "1 refused a 1", *["1 other x 1"] * 20)
    assert longest_puts(refused) == {1: 0.0}, "what was refused was waiting until its life ended"


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
    dropped = ["order: a 3 begins and 2 is not done, life 1", "lost: 1 acknowledged items of a, the first 2"]
    assert check(facts, attempts=asked).violations == [*too_often, *dropped]


def test_what_is_no_fact_is_refused_with_what_is_wanted(tmp_path):
    """A misspelt kind was passed over, an item that is none was told as lost, and a test passed that checked nothing."""
    with Ledger(tmp_path / "ledger.db", own=["started"]) as ledger:
        with pytest.raises(
            ValueError, match="'acknowldged': allowed are asked, acknowledged, begun, done, failed, started,"
        ):
            ledger.note("acknowldged", [("a", 1)])
        for items in (("a", 1), [("a", "1")], ["ab"], [("a", 1), ("a",)]):
            with pytest.raises(
                ValueError, match=r'is not an item: give a list of \(key, number\), such as \[\("ada", 1\)'
            ):
                ledger.note("acknowledged", items)
        assert ledger.facts() == []
        ledger.note("started", [("", 0)])
        assert ledger.count("started") == 1
    with pytest.raises(ValueError, match=r"given_up: \('a', '2'\) is not an item"):
        check(SOUND[:-1], given_up={("a", "2")})


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


@pytest.mark.parametrize("other", [("b", "1"), "record"])
def test_a_handler_that_names_what_it_was_not_given_has_failed(tmp_path, other):
    """It was noted as done, and its retry was told as a duplicate."""
    with Ledger(tmp_path / "ledger.db", clock=VirtualClock()) as ledger:
        with pytest.raises(ValueError, match=repr(other).strip("()")), ledger.handling([("a", 1), ("b", 1)]) as failed:
            failed.add(other)
        assert (ledger.count("failed"), ledger.count("done")) == (2, 0)


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

"""A process under load is killed, stopped, frozen and starved, and started again: nothing acknowledged is lost, order holds, and
what runs twice was in flight or had not been checkpointed.

`make deep` runs more of them: FOREBAY_COUNT says how many cycles, FOREBAY_SEED where chance begins.
"""

import asyncio
import json
import os
import random
import re
import shutil
import signal
import time
from collections import defaultdict
from pathlib import Path

import pytest
from given_up import ALONE, DEAD_LETTER, EXHAUSTED, GivenUp, counted_over_a_restart, longest_puts, too_early, too_often
from victim import halves, is_bad, make

from forebay import App, Batch
from forebay.testing import Ledger, check

COUNT = os.environ.get("FOREBAY_COUNT")
KILLS = int(COUNT or 100)
TERMS = int(COUNT or 20)
STARVED = int(COUNT or 3)
FREEZES = int(COUNT or 1)
SEED = int(os.environ.get("FOREBAY_SEED", "20260824"))
# Progress waits 5 ms for company, then for a commit; the rest is for a machine that has other work to do. Where the disk is so
# slow that a put, which waits for a commit as well, took half of that: for the commit that was under way, and for the next.
CHECKPOINTED_WITHIN = 0.25
PUTS_UNTIL_CHECKPOINTED = 2
# However slow its puts were: an engine that comes to a standstill is not excused for what it forgets.
FORGOTTEN_MOST = 1.0
# A life whose puts were slower may forget nearly all that the longest lives do: it proves nothing.
QUICK_PUT = 0.4
# A process without memory dies slowly: what it did while it died was in no commit.
CHECKPOINTED_WITHIN_STARVED = 0.75
# A handler's end is told with the next turn of its event loop.
HEARD_WITHIN_NS = 100_000_000
# Of a start after a kill; it takes a tenth of a second.
RUNS_WITHIN = 5.0
# The last life of a kill test, and each so manieth before it, outlasts what it may forget by far: what lasts no longer proves
# nothing.
LONG_EVERY = 12


async def drain(nursery, **how):
    """Run what is left, without load; give what was given up, and why."""
    nursery.lives += 1
    ledger = Ledger(nursery.ledger, life=nursery.lives)
    how = {"store": str(nursery.store), "life": nursery.lives, "takes": 0} | how
    app, on_event = make(how, ledger)
    given_up = GivenUp(app, on_event, how)
    async with app:
        ends = time.monotonic() + 60
        while sum(shard["records"] for shard in await app._caller.ask("lag")):
            assert time.monotonic() < ends, "what was left did not drain"
            await asyncio.sleep(0.02)
        # What is behind for good is lost, which the ledger's check tells with more words.
        while ledger.behind() - await given_up.look() and time.monotonic() < ends:
            await asyncio.sleep(0.1)
        # Copies of a publication that nobody was told of are there all the same.
        while halves(nursery.facts(), given_up=await given_up.look()) and time.monotonic() < ends:
            await asyncio.sleep(0.1)
        given_up_untold = [failure["record"] for failure in await app.mappings[0].function.failed()]
    ledger.close()
    assert not given_up_untold, f"no record of this load may be given up where nobody is told: {given_up_untold}"
    return given_up.conditions


def as_told(facts, freezes):
    """Have what a handler had come to an end with just before it was frozen end after that: its app heard of it then."""
    return [
        next(
            (
                fact._replace(at_ns=until_ns)
                for life, since_ns, until_ns in freezes
                if fact.kind == "done" and fact.life == life and 0 <= since_ns - fact.at_ns < HEARD_WITHIN_NS
            ),
            fact,
        )
        for fact in facts
    ]


def had_to_be_remembered(facts, lives, forgotten):
    """Count what was done in these lives so long before their end that it may not run again."""
    ends = {fact.life: fact.at_ns for fact in facts}
    return sum(
        fact.kind == "done" and fact.life in lives and (ends[fact.life] - fact.at_ns) / 1e9 > forgotten[fact.life]
        for fact in facts
    )


def lasting(chance, left):
    """Give for how many seconds after its start a life is left alone, of which so many are left after it.

    It is mostly for so few that it is still about to begin.
    """
    return 0.9 + 0.3 * chance.random() if left % LONG_EVERY == 0 else chance.random() ** 2 * 0.3


def judge(
    nursery,
    *,
    cycles,
    lives_that_end_early,
    given_up=None,
    failing=False,
    timeout=float("inf"),
    forgotten=CHECKPOINTED_WITHIN,
    freezes=(),
):
    """Hold the ledger to the promises, and say what was in it.

    Args:
        nursery: whose ledger.
        cycles: what was counted, for example `{"kills": 100}`.
        lives_that_end_early: lives that may forget what they did last.
        given_up: what was given up, and why.
        failing: whether handlers failed.
        timeout: as for `check`.
        forgotten: seconds before its end within which a life may forget what it did; more where its puts were slow.
        freezes: a life, and from when until when it was frozen.

    """
    given_up, facts = given_up or {}, as_told(nursery.facts(), freezes)
    puts, lives = longest_puts(facts), list(lives_that_end_early)
    forgotten = {
        life: min(FORGOTTEN_MOST, max(forgotten, PUTS_UNTIL_CHECKPOINTED * longest)) for life, longest in puts.items()
    }
    slow = sum(puts.get(life, 0) > QUICK_PUT for life in lives)
    verdict = check(facts, given_up=given_up, timeout=timeout, forgotten=forgotten)
    figures = cycles | {
        "acknowledged": verdict.acknowledged,
        "ran_twice": sum(verdict.duplicates.values()),
        "ms_before_the_end_most": round(verdict.oldest_duplicate * 1000),
        "ms_to_put_most": round(1000 * max((puts[life] for life in lives if life in puts), default=0)),
        # What was recovered first may be kept by nobody any more.
        "had_to_be_remembered": had_to_be_remembered(facts, set(lives[1:] or lives), forgotten),
        "given_up": len(given_up),
    }
    counted = counted_over_a_restart(facts, given_up, forgotten) if failing else {}
    figures |= {"lives_whose_puts_were_slow": slow} if slow else {}
    figures |= {f"{kind}_counted_over_a_restart": count for kind, count in sorted(counted.items())}
    print(f"figures {json.dumps(figures)}")
    verdict.violations.extend(halves(facts, given_up=given_up))
    verdict.violations.extend(too_early(facts, given_up))
    verdict.violations.extend(too_often(facts, forgotten) if failing else ())
    assert verdict.violations == [], f"{verdict.violations[:5]}\n{nursery.said()}"
    # It was alone in three crashes.
    expected = {"RuntimeInterrupted"} | ({*EXHAUSTED, DEAD_LETTER} if failing else set())
    assert set(given_up.values()) <= expected, "what does not fail is not given up"
    assert verdict.acknowledged > 0 and verdict.done + len(given_up) >= verdict.acknowledged
    assert set(verdict.duplicates) <= set(lives), "a life that ended in order forgot what it did"
    # On a disk that stood still it may be that no life proves anything, which the figures tell.
    assert figures["had_to_be_remembered"] or slow or not lives, "no life lasted long enough to forget too much"
    assert counted or slow or not failing, "no life lasted long enough to forget how often it had tried"
    return verdict


LOADS = {
    "streams": {},
    "queues": {"queues": True},
    # Another process puts as well, and owns the store itself for moments in which nobody else does.
    "failing": {"queues": True, "failing": True, "serve": "elect"},
}


def told_a_function(facts):
    return any(fact.kind == "begun" and fact.key.startswith("event-told") for fact in facts)


@pytest.mark.timeout(240 + KILLS)
@pytest.mark.parametrize("load", LOADS)
def test_kills_lose_nothing_acknowledged(nursery, load):
    nth_load, how, failing = list(LOADS).index(load), LOADS[load], load == "failing"
    chance, killed, slowest = random.Random(SEED + nth_load), [], 0.0
    kills = max(1, (KILLS + nth_load) // len(LOADS))
    for nth in range(kills):
        since, child = time.monotonic(), nursery.start(**how)
        life = nursery.lives
        nursery.until(lambda life=life: nursery.count("started", life), "a start")
        slowest = max(slowest, time.monotonic() - since)
        if failing and nth == 0:
            # Killed before, it left a store in which no function was subscribed. The next life began as the other process's
            # client, which subscribes queues only, and what it published then was found to be half there.
            nursery.until(lambda: told_a_function(nursery.facts()), "a copy of a publication at a function")
            client = nursery.start(client=True, pause=0.03)
        time.sleep(lasting(chance, kills - 1 - nth))
        nursery.kill(child)
        assert nursery.wait(child) == -signal.SIGKILL, nursery.said()
        killed.append(life)
    if failing:
        nursery.kill(client)
        nursery.wait(client)
        assert nursery.count("acknowledged", killed[0] + 1), "nothing came by the socket"
    given_up = asyncio.run(drain(nursery, **how))
    cycles = {"kills": len(killed), "ms_until_it_runs_most": round(1000 * slowest)}
    judge(nursery, cycles=cycles, lives_that_end_early=killed, given_up=given_up, failing=failing)
    assert slowest < RUNS_WITHIN, "a start after a kill took too long"
    assert not failing or {"RetryAttemptsExhausted", DEAD_LETTER} <= set(given_up.values())


def forget(nursery, backlog, worked, *, lasts=0.0, **how):
    """Work on so many in a life that is killed, forget what it saved, and drain; give that life, and what was given up."""
    child = nursery.start(enabled=False, **how)
    nursery.until(lambda: nursery.count("acknowledged") > backlog, "a backlog")
    nursery.kill(child, signal.SIGTERM)
    assert nursery.wait(child) == 0, nursery.said()
    never_saved = nursery.store.with_name("never-saved")
    shutil.copytree(nursery.store, never_saved, ignore=shutil.ignore_patterns("*.sock"))

    child = nursery.start(putters=0, **how)
    life = nursery.lives
    nursery.until(lambda: worked(life), "much work")
    time.sleep(lasts)
    nursery.kill(child)
    nursery.wait(child)
    shutil.rmtree(nursery.store)
    never_saved.rename(nursery.store)
    return life, asyncio.run(drain(nursery, **how))


def test_an_engine_that_saves_progress_only_when_it_stops_is_found(nursery):
    """No life lasted as long as what it was allowed to forget: without any checkpoint all kills were found sound."""
    life, _ = forget(nursery, 2_000, lambda life: nursery.count("done", life) > 1_000, takes=0.1)
    found = rf"duplicate: k\S+ \d+ runs again, done \d+\.\d+ s before the end of life {life}"
    with pytest.raises(AssertionError, match=found):
        judge(nursery, cycles={"kills": 1}, lives_that_end_early=[life])


def test_an_engine_that_forgets_at_a_restart_how_often_it_tried_is_found(nursery):
    """What failed had all its attempts within what a life may forget: an engine that counted anew each time was found sound."""

    how = {"failing": True, "bad_record": 50, "batch": 1, "takes": 0.01}

    def worked(life):
        return any(fact.kind == "failed" and is_bad(fact.key, fact.number, how) for fact in nursery.facts())

    life, given_up = forget(nursery, 100, worked, lasts=0.4, **how)
    facts, forgotten = nursery.facts(), {life: CHECKPOINTED_WITHIN}
    assert counted_over_a_restart(facts, given_up, defaultdict(float) | forgotten)
    found = too_often(facts, forgotten)
    assert any(re.fullmatch(rf"attempts: k\S+ \d+ begins for the {ALONE + 1}. time", each) for each in found), found


@pytest.mark.timeout(240 + 5 * TERMS)
@pytest.mark.parametrize("queues", [False, True], ids=["streams", "queues"])
def test_a_process_that_is_told_to_stop_ends_in_time_and_forgets_nothing(nursery, queues):
    chance, grace, slowest = random.Random(SEED + queues), 5, 0.0
    stops = max(1, (TERMS + queues) // 2)
    for _ in range(stops):
        child = nursery.start(grace=grace, takes=0.05, queues=queues)
        life = nursery.lives
        nursery.until(lambda life=life: nursery.count("begun", life) > 20, "some work")
        time.sleep(chance.random() * 0.1)
        asked = time.monotonic()
        nursery.kill(child, signal.SIGTERM)
        assert nursery.wait(child) == 0, nursery.said()
        slowest = max(slowest, time.monotonic() - asked)
        assert slowest < grace + 1
    asyncio.run(drain(nursery, queues=queues))
    cycles = {"stops": stops, "seconds_to_stop_most": round(slowest, 2)}
    judge(nursery, cycles=cycles, lives_that_end_early=[])


def test_a_grace_that_is_too_short_interrupts_and_the_batch_runs_again(nursery):
    child = nursery.start(grace=0.2, takes=30, timeout=60)
    nursery.until(lambda: nursery.count("begun"), "a batch")
    asked = time.monotonic()
    nursery.kill(child, signal.SIGTERM)
    assert nursery.wait(child) == 0, nursery.said()
    assert time.monotonic() - asked < 0.2 + 1
    asyncio.run(drain(nursery))
    judge(nursery, cycles={"stops": 1}, lives_that_end_early=[])


@pytest.mark.timeout(240 + 10 * FREEZES)
def test_a_frozen_owner_keeps_its_store_and_goes_on_when_it_wakes_up(nursery):
    chance, timeout, freezes = random.Random(SEED), 0.5, []
    for _ in range(FREEZES):
        child = nursery.start(timeout=timeout, takes=0.1, queues=True)
        life = nursery.lives
        nursery.until(lambda life=life: nursery.count("begun", life) > 50, "some work")
        time.sleep(chance.random() * 0.2)
        nursery.freeze(child)
        since = time.monotonic_ns()
        rival = nursery.start(serve=True)
        assert nursery.wait(rival) == 1, "a frozen process still owns its store: nobody else may run what it runs"
        assert "StoreLocked" in nursery.said()
        time.sleep(2 * timeout)  # past the deadline of everything in flight
        before = nursery.count("done")
        nursery.kill(child, signal.SIGCONT)
        freezes.append((life, since, time.monotonic_ns()))
        nursery.until(lambda before=before: nursery.count("done") > before + 100, "work after the freeze")
        nursery.kill(child, signal.SIGTERM)
        assert nursery.wait(child) == 0, nursery.said()
    asyncio.run(drain(nursery, queues=True))
    judge(nursery, cycles={"freezes": FREEZES}, lives_that_end_early=[], timeout=timeout, freezes=freezes)


@pytest.mark.timeout(240 + 10 * STARVED)
def test_a_process_that_dies_of_a_lack_of_memory_loses_nothing_acknowledged(nursery):
    endings = []
    for _ in range(STARVED):
        child = nursery.start(memory=8, starved_after=1.5, filling=200_000, most=8, pause=0, putters=8, takes=0.3)
        ends = time.monotonic() + 4
        while alive(child) and time.monotonic() < ends:
            time.sleep(0.02)
        if alive(child):
            nursery.kill(child)
        endings.append(nursery.wait(child))
    print(f"ended by {endings}")
    asyncio.run(drain(nursery))
    deaths = range(1, STARVED + 1)
    starved = sum(ending != -signal.SIGKILL for ending in endings)
    cycles = {"deaths": starved, "killed_by_the_test": STARVED - starved}
    judge(nursery, cycles=cycles, lives_that_end_early=deaths, forgotten=CHECKPOINTED_WITHIN_STARVED)
    assert starved, "it never ran out of memory"


def test_one_poison_among_1600_in_flight_becomes_one_failure_record(nursery):
    wide = {"shards": 16, "lanes": 10}  # with batches of ten: 1,600 records at once
    child = nursery.start(**wide, enabled=False, most=500, keys=10_000)
    nursery.until(lambda: nursery.count("acknowledged") >= 8_000, "a backlog that fills every batch")
    nursery.kill(child, signal.SIGTERM)
    assert nursery.wait(child) == 0, nursery.said()
    child = nursery.start(**wide, putters=0, takes=1e6, timeout=600)
    nursery.until(lambda: nursery.count("begun") >= 1_600, "all lanes at work")
    nursery.kill(child)
    nursery.wait(child)
    flying = [(fact.key, fact.number) for fact in nursery.facts() if fact.kind == "begun"]
    assert len(flying) == 1_600
    poison = list(random.Random(SEED).choice(flying))

    deaths, ends = 0, time.monotonic() + 120
    while True:
        child = nursery.start(**wide, putters=0, takes=0, poison=poison)
        ledger = Ledger(nursery.ledger, life=nursery.lives)
        while alive(child) and ledger.behind() != {tuple(poison)}:
            assert time.monotonic() < ends, f"{deaths} deaths, {len(ledger.behind())} are left\n{nursery.said()}"
            time.sleep(0.05)
        ledger.close()
        if alive(child):
            break
        assert nursery.wait(child) == -signal.SIGSEGV, nursery.said()
        deaths += 1
    nursery.kill(child, signal.SIGTERM)
    assert nursery.wait(child) == 0, nursery.said()

    async def failures():
        app, _ = make({"store": str(nursery.store), "life": nursery.lives, **wide}, ledger)
        async with app:
            return await app.mappings[0].function.failed()

    [failure] = asyncio.run(failures())
    assert failure["record"]["requestContext"]["condition"] == "RuntimeInterrupted"
    assert failure["record"]["KinesisBatchInfo"]["batchSize"] == 1
    print(f"figures {json.dumps({'failure_records': 1, 'deaths': deaths})}")
    verdict = check(nursery.facts(), given_up={tuple(poison)}, timeout=600, attempts=deaths + 2)
    assert [text for text in verdict.violations if not text.startswith("duplicate")] == []


def alive(child):
    return b") Z" not in Path(f"/proc/{child}/stat").read_bytes()


async def test_a_handler_that_runs_out_of_memory_fails_its_attempt_and_nothing_else(tmp_path):
    app, seen = App("memory", store=tmp_path / "data"), []
    app.stream("events", shards=1)

    @app.on_stream("events", batch_size=1, maximum_retry_attempts=1)
    async def greedy(batch: Batch, context):
        if batch[0].json() == 1:
            bytearray(1 << 62)
        seen.append(batch[0].json())

    async with app:
        await app.stream("events").put_many([(str(number), "k") for number in range(3)])
        ends = time.monotonic() + 100
        while len(seen) < 2:
            assert time.monotonic() < ends
            await asyncio.sleep(0.005)
        while not (failures := await greedy.failed()):
            assert time.monotonic() < ends
            await asyncio.sleep(0.005)
    assert seen == [0, 2]
    [failure] = failures
    assert failure["record"]["requestContext"]["approximateInvokeCount"] == 2, failure

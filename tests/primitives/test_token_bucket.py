import asyncio
import json
import math
import threading
from pathlib import Path

import pytest

from forebay import InvalidParameterValue, TokenBucket

CASES = json.loads((Path(__file__).parents[1] / "cases" / "token_bucket.json").read_text())


class Hand:
    """A clock moved by hand; whoever sleeps moves it."""

    def __init__(self):
        self.now = 1000.0

    def time(self):
        return 1.6e9 + self.now

    def monotonic(self):
        return self.now

    async def sleep(self, seconds):
        until = self.now + seconds
        await asyncio.sleep(0)
        self.now = max(self.now, until)


@pytest.fixture
def clock():
    return Hand()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_table(case, clock):
    clock.now = 0.0
    bucket = TokenBucket(case["rate"], case["burst"], clock=clock)
    for step in case["steps"]:
        clock.now = step["at"]
        ask, n = (bucket.try_acquire, step["acquire"]) if "acquire" in step else (bucket.time_until, step["until"])
        if n > case["burst"]:
            with pytest.raises(InvalidParameterValue, match=f"more than the burst of {case['burst']}"):
                ask(n)
        else:
            assert ask(n) == step.get("ok", step.get("seconds"))


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf, 1e-10, 2e9])
def test_a_rate_out_of_range_is_refused(rate):
    with pytest.raises(InvalidParameterValue, match="must be from 1e-9 to 1e9 tokens a second"):
        TokenBucket(rate, 1)


@pytest.mark.parametrize("n", [0, -1, 2**40, 2**70])
def test_a_number_of_tokens_out_of_range_is_refused(n):
    with pytest.raises(InvalidParameterValue, match="a whole number from 1 to 1000000000000"):
        TokenBucket(1, n)
    with pytest.raises(InvalidParameterValue):
        TokenBucket(1, 5).try_acquire(n)


def test_what_is_no_whole_number_is_a_type_error():
    for n in (1.5, "1", None):
        with pytest.raises(TypeError):
            TokenBucket(1, 5).try_acquire(n)


def test_it_runs_on_the_machines_clock_by_itself():
    bucket = TokenBucket(rate=1e9, burst=5)
    assert all(bucket.try_acquire() for _ in range(1000))
    slow = TokenBucket(rate=1e-9, burst=2)
    assert [slow.try_acquire() for _ in range(3)] == [True, True, False]
    assert slow.time_until() == pytest.approx(1e9, rel=1e-6)


async def test_those_who_wait_are_served_in_the_order_of_their_coming(clock):
    bucket = TokenBucket(rate=10, burst=10, clock=clock)
    assert bucket.try_acquire(10)
    served = []

    async def want(name, n):
        await bucket.acquire(n)
        served.append((name, round(clock.now - 1000, 9)))

    async with asyncio.TaskGroup() as group:
        for name, n in [("large", 10), ("small", 1), ("middle", 5)]:
            group.create_task(want(name, n))
    assert served == [("large", 1.0), ("small", 1.1), ("middle", 1.6)]


async def test_nobody_slips_in_before_those_who_wait(clock):
    bucket = TokenBucket(rate=1, burst=5, clock=clock)
    assert bucket.try_acquire(5)
    waiting = asyncio.create_task(bucket.acquire(3))
    await asyncio.sleep(0)
    clock.now += 2
    assert bucket.tokens == 2
    assert not bucket.try_acquire(1), "two tokens are there, but they are being saved up"
    await waiting
    clock.now += 1
    assert bucket.try_acquire(1)


async def test_cancelling_takes_nothing_and_lets_the_next_one_through(clock):
    bucket = TokenBucket(rate=1, burst=5, clock=clock)
    assert bucket.try_acquire(5)
    first, second = (asyncio.create_task(bucket.acquire(n)) for n in (5, 1))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert (clock.now, bucket.tokens) == (1001, 0)
    waiting = asyncio.create_task(bucket.acquire(5))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    clock.now += 5
    assert bucket.try_acquire(5), "nobody is thought to be waiting any more"


async def test_waiting_for_more_than_the_burst_is_refused_at_once(clock):
    with pytest.raises(InvalidParameterValue, match="6 tokens are more than the burst of 5"):
        await TokenBucket(rate=1, burst=5, clock=clock).acquire(6)


async def test_a_burst_made_smaller_ends_a_wait_that_cannot_end(clock):
    bucket = TokenBucket(rate=1, burst=5, clock=clock)
    assert bucket.try_acquire(5)
    waiting = asyncio.create_task(bucket.acquire(4))
    await asyncio.sleep(0)
    bucket.update(burst=3)
    with pytest.raises(InvalidParameterValue, match="4 tokens are more than the burst of 3"):
        await waiting


def test_rate_and_burst_can_change_while_it_runs(clock):
    bucket = TokenBucket(rate=1, burst=5, clock=clock)
    assert bucket.try_acquire(5)
    clock.now += 1
    bucket.update(rate=100)
    clock.now += 0.01
    assert (bucket.rate, bucket.burst, bucket.tokens) == (100, 5, pytest.approx(2))
    with pytest.raises(InvalidParameterValue):
        bucket.update(rate=0)


def test_state_goes_through_json_and_counts_the_time_between(clock):
    before = TokenBucket(rate=2, burst=10, clock=clock)
    assert before.try_acquire(9)
    kept = json.loads(json.dumps(before.state()))
    clock.now += 1.25
    after = TokenBucket(rate=2, burst=10, clock=clock, state=kept)
    assert after.tokens == 3.5
    clock.now -= 3600
    late = TokenBucket(rate=2, burst=10, clock=clock, state=kept)
    assert late.tokens == 1, "a wall clock that went back brings nothing"
    with pytest.raises(InvalidParameterValue, match="not what state"):
        TokenBucket(rate=2, burst=10, clock=clock, state={"tokens": 1})


def test_threads_take_no_token_twice():
    bucket = TokenBucket(rate=1e-9, burst=10_000)
    taken = []

    def take():
        taken.append(sum(bucket.try_acquire() for _ in range(5_000)))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 10_000

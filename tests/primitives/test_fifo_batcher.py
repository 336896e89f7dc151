import gc
import json
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from forebay import FifoBatch, FifoBatcher, InvalidParameterValue, TooManyRequests

CASES = json.loads((Path(__file__).parents[1] / "cases" / "fifo.json").read_text())


class Hand:
    """A clock moved by hand."""

    now = 0.0

    def time(self):
        return 1.6e9 + self.now

    def monotonic(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds


class Player:
    """Plays the steps of the table: see rust/core/tests/queue/fifo_cases.rs."""

    def __init__(self, maximum):
        self.clock = Hand()
        self.batcher = FifoBatcher(maximum_messages=maximum, clock=self.clock)
        self.batches = []
        self.count = 0

    def play(self, step):
        name, *words = step.split()
        return getattr(self, name)(words) or ""

    def put(self, words):
        for word in words:
            group, _, delay = word.partition("+")
            try:
                self.batcher.put(self.count, group, delay=int(delay or 0) / 1000)
            except TooManyRequests:
                return "refused"
            self.count += 1
        return ""

    def at(self, words):
        self.clock.now = int(words[0]) / 1000

    def take(self, words):
        batch = self.batcher.take(int(words[0]))
        if batch is None:
            return "nothing"
        self.batches.append(batch)
        assert [number for ids in batch.groups.values() for number in ids] == batch.ids == list(batch)
        return " ".join(f"{number}{group}" for group, ids in batch.groups.items() for number in ids)

    def settle(self, words):
        nth = 1 if "second" in words else 0
        delay = int(words[words.index("delay") + 1]) / 1000 if "delay" in words else 0.0
        failed = [int(word) for word in words[: words.index("delay") if "delay" in words else None] if word.isdigit()]
        batch = self.batches.pop(nth)
        ids = batch.ids
        done = self.batcher.settle(batch, failed, delay=delay)
        back = [number for number in ids if number not in done]
        parts = [("done", done), ("back", back)]
        return " ".join(f"{title} {' '.join(map(str, numbers))}" for title, numbers in parts if numbers)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_table(case):
    player = Player(case.get("maximum_messages", 1000))
    for step in case["steps"]:
        action, _, expected = step.partition(" -> ")
        assert player.play(action) == expected, step


class AgainstLists(RuleBasedStateMachine):
    """Order in a group and one batch of it at a time, seen from outside."""

    def __init__(self):
        super().__init__()
        self.batcher = FifoBatcher(maximum_messages=50)
        self.open = {}
        self.batches = []
        self.count = 0

    @rule(group=st.sampled_from("abc"))
    def put(self, group):
        if len(self.batcher) == 50:
            with pytest.raises(TooManyRequests, match="maximum_messages=50"):
                self.batcher.put("one too many", group)
            return
        self.batcher.put(f"{group}{self.count}", group)
        self.open.setdefault(group, []).append(f"{group}{self.count}")
        self.count += 1

    @rule(maximum=st.integers(1, 12))
    def take(self, maximum):
        batch = self.batcher.take(maximum)
        flying = {group for other in self.batches for group in other.groups}
        ready = {group for group, ids in self.open.items() if ids} - flying
        if batch is None:
            assert not ready
            return
        assert len(batch) <= maximum
        for group, ids in batch.groups.items():
            assert group not in flying, "two batches of one group are in flight"
            assert self.open[group][: len(ids)] == ids, "out of order"
        assert len(batch) == min(maximum, sum(len(self.open[group]) for group in ready))
        self.batches.append(batch)

    @precondition(lambda self: self.batches)
    @rule(data=st.data())
    def settle(self, data):
        batch = self.batches.pop(data.draw(st.integers(0, len(self.batches) - 1)))
        failed = data.draw(st.sets(st.sampled_from(batch.ids)))
        groups = batch.groups
        done = self.batcher.settle(batch, failed)
        for group, ids in groups.items():
            good = next((n for n, message in enumerate(ids) if message in failed), len(ids))
            assert [message for message in done if message in ids] == ids[:good]
            del self.open[group][:good]

    @invariant()
    def nothing_is_lost(self):
        total = sum(map(len, self.open.values()))
        assert len(self.batcher) == total
        assert self.batcher.in_flight == sum(map(len, self.batches))
        assert self.batcher.visible == total - self.batcher.in_flight
        assert self.batcher.groups == sum(1 for ids in self.open.values() if ids)


TestAgainstLists = AgainstLists.TestCase


def test_a_full_batcher_says_which_limit_and_when_to_come_back():
    batcher = FifoBatcher(maximum_messages=1)
    batcher.put("m", "g")
    with pytest.raises(TooManyRequests, match="the batcher holds maximum_messages=1") as refusal:
        batcher.put("n", "g")
    assert (refusal.value.reason, refusal.value.retry_after) == ("OverLimit", 1.0)


def test_a_batch_that_nobody_settles_comes_back():
    batcher = FifoBatcher()
    batcher.put("first", "g")
    batcher.put("second", "g")
    batch = batcher.take(1)
    assert batcher.take() is None
    del batch
    gc.collect()
    assert batcher.take().ids == ["first", "second"]


def test_a_batch_is_settled_once():
    batcher = FifoBatcher()
    batcher.put("m", "g")
    batch = batcher.take()
    assert not batch.settled
    assert batcher.settle(batch) == ["m"]
    assert batch.settled
    assert repr(batch) == "<FifoBatch settled>"
    for again in (lambda: batcher.settle(batch), lambda: batch.ids, lambda: batch.groups, lambda: len(batch)):
        with pytest.raises(InvalidParameterValue, match="settled"):
            again()


def test_a_refused_settling_changes_nothing():
    batcher, other = FifoBatcher(), FifoBatcher()
    batcher.put("m", "g")
    batch = batcher.take()
    with pytest.raises(InvalidParameterValue, match="failed: 'n' is not in this batch"):
        batcher.settle(batch, ["m", "n"])
    with pytest.raises(InvalidParameterValue, match="another batcher"):
        other.settle(batch)
    with pytest.raises(InvalidParameterValue, match="delay=-1: allowed are 0 to 43200 seconds"):
        batcher.settle(batch, ["m"], delay=-1)
    assert batch.ids == ["m"]
    assert batcher.settle(batch, ["m"]) == []
    assert batcher.take().ids == ["m"]


def test_an_id_that_is_there_twice_fails_twice():
    batcher = FifoBatcher()
    for group in ("g", "h"):
        batcher.put("same", group)
        batcher.put(f"other-{group}", group)
    assert batcher.settle(batcher.take(), ["same"]) == []
    assert len(batcher) == 4


def test_any_hashable_is_an_id_and_nothing_else():
    batcher = FifoBatcher()
    batcher.put(("topic", 3, 42), "g")
    batcher.put(7, "g")
    batch = batcher.take()
    assert batcher.settle(batch, failed={7}) == [("topic", 3, 42)]
    with pytest.raises(TypeError, match="unhashable"):
        batcher.put([], "g")
    assert len(batcher) == 1


@pytest.mark.parametrize("delay", [-0.001, 43_200.001, float("nan"), float("inf"), timedelta(days=1)])
def test_a_delay_out_of_range_is_refused(delay):
    with pytest.raises(InvalidParameterValue, match="allowed are 0 to 43200 seconds"):
        FifoBatcher().put("m", "g", delay=delay)


@pytest.mark.parametrize("number", [0, -1, 1_000_000_001])
def test_numbers_out_of_range_are_refused(number):
    with pytest.raises(InvalidParameterValue, match=f"maximum_messages={number}: allowed are 1 to 1000000000"):
        FifoBatcher(maximum_messages=number)
    with pytest.raises(InvalidParameterValue, match=f"maximum={number}: allowed are 1 to 1000000000"):
        FifoBatcher().take(number)


def test_it_says_when_to_look_again():
    clock = Hand()
    batcher = FifoBatcher(clock=clock)
    assert batcher.time_until_ready() is None
    batcher.put("m", "g", delay=timedelta(seconds=2))
    assert batcher.time_until_ready() == 2.0
    clock.now = 1.5
    assert batcher.time_until_ready() == 0.5
    assert (batcher.visible, batcher.delayed) == (0, 1)
    clock.now = 2.0
    assert batcher.time_until_ready() == 0.0
    assert (batcher.visible, batcher.delayed) == (1, 0)
    batch = batcher.take()
    assert batcher.time_until_ready() is None
    assert repr(batcher) == "<FifoBatcher visible=0 delayed=0 in_flight=1 groups=1>"
    assert repr(batch) == "<FifoBatch {'g': ['m']}>"


def test_it_runs_on_the_machines_clock_by_itself():
    batcher = FifoBatcher()
    batcher.put("later", "g", delay=43_200)
    batcher.put("now", "h")
    batch = batcher.take()
    assert batch.ids == ["now"]
    assert 43_199 < batcher.time_until_ready() <= 43_200


def test_threads_may_share_it():
    batcher = FifoBatcher(maximum_messages=100_000)
    for number in range(8000):
        batcher.put(number, f"g{number % 100}")
    done, faults = [], []

    def work():
        while True:
            batch = batcher.take()
            if batch is None:
                if len(batcher) == 0:
                    return
                continue
            if batch.ids[0] % 5 == 0 and batch.ids[0] not in faults:
                faults.append(batch.ids[0])
                batcher.settle(batch, batch.ids[:1])
            else:
                # In the list before it is settled: nobody can overtake within its group.
                done.extend(batch.ids)
                batcher.settle(batch)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for group in range(100):
        seen = [number for number in done if number % 100 == group]
        assert sorted(set(seen)) == list(range(group, 8000, 100))
        assert seen == sorted(seen)


def test_its_types_can_be_named():
    assert "FifoBatcher" in str(FifoBatcher[str])
    assert "FifoBatch" in str(FifoBatch[str])

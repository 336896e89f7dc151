"""Asynchronous invocations against a model: hypothesis draws what callers, handlers and an operator do, over restarts and kills.

The model knows how often each event still fails, and how often a kill met it. `FOREBAY_COUNT` says how many lives are drawn;
then they are longer, too.
"""

import asyncio
import itertools
import os
import tempfile
from collections import defaultdict
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from killed import kill

from forebay import App
from forebay.testing import VirtualClock

COUNT = os.environ.get("FOREBAY_COUNT")
DELAYS = [1, 2.5]
TAKES = 0.01
# How an attempt ended is with the store after that many seconds: it waits for company.
COMMITTED_WITHIN = 0.006


class Events(RuleBasedStateMachine):
    """One app and one function."""

    @initialize(retries=st.integers(0, 2))
    def begin(self, *, retries):
        self.loop = asyncio.new_event_loop()
        self.clock = VirtualClock()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Path(self.folder.name) / "data"
        self.retries = retries
        self.requests: dict[str, int] = {}
        self.fails: dict[int, int] = {}
        self.attempts: dict[int, list[float]] = defaultdict(list)
        self.lives: dict[int, int] = {}  # begun anew by a redrive
        self.done: set[int] = set()
        self.running: set[int] = set()
        self.ended_at: dict[int, float] = {}
        self.forgotten: set[int] = set()  # by a kill: may run again, done or not
        self.interrupted: dict[int, int] = defaultdict(int)
        # Waits are kept as wall time over a start: one that was set forth meanwhile ends them early.
        self.set_forth: set[int] = set()
        self.early: set[int] = set()
        self.wrong: list[str] = []
        self.start()

    def start(self):
        self.early |= self.set_forth
        self.app = App("model", store=self.store, clock=self.clock, durability="process-crash")

        @self.app.function(maximum_retry_attempts=self.retries, retry_delays=DELAYS)
        async def work(event, context):
            await self.handle(event["number"], context.aws_request_id)

        self.work = work
        self.run(self.app.start())

    def run(self, what):
        return self.loop.run_until_complete(asyncio.wait_for(what, 30))

    async def handle(self, number, request):
        if self.requests.get(request, number) != number:
            self.wrong.append(f"{number} runs under the request of {self.requests[request]}")
        if number in self.running or number in self.done - self.forgotten:
            self.wrong.append(f"{number} runs again")
        self.done.discard(number)
        self.running.add(number)
        self.attempts[number].append(self.clock.monotonic())
        await self.clock.sleep(TAKES)
        self.running.discard(number)
        self.forgotten.discard(number)
        self.ended_at[number] = self.clock.monotonic()
        if self.fails[number] > 0:
            self.fails[number] -= 1
            raise ValueError(str(number))
        self.done.add(number)

    # --- what happens

    @rule(count=st.integers(1, 5), fails=st.sampled_from([0, 0, 0, 1, 2, 3, 99]))
    def invoke(self, count, fails):
        for number in range(len(self.fails), len(self.fails) + count):
            self.fails[number], self.lives[number] = fails, 1
            request = self.run(self.work.invoke_async({"number": number}))
            assert request not in self.requests
            self.requests[request] = number

    @rule(seconds=st.sampled_from([0.005, 0.3, 1, 30, 3600]))
    def wait(self, seconds):
        self.run(self.clock.advance(seconds))

    @rule(seconds=st.sampled_from([-3600, 60, 3600]))
    def set_the_clock(self, seconds):
        self.clock.jump_wall(seconds)
        if seconds > 0:
            self.set_forth |= self.fails.keys()

    @rule()
    def restart(self):
        self.run(self.clock.advance(2 * TAKES))
        if self.running:
            return
        self.run(self.app.stop())
        self.start()

    @rule(seconds=st.sampled_from([0, 0.004, 0.012]))
    def kill(self, seconds):
        self.run(self.clock.advance(seconds))  # a handler takes ten milliseconds
        self.run(kill(self.app, self.store))
        late = self.clock.monotonic() - COMMITTED_WITHIN
        met = self.running | {number for number, at in self.ended_at.items() if at >= late}
        for number in met:
            self.interrupted[number] += 1
        self.forgotten |= met
        self.running.clear()
        self.start()

    @rule(fails=st.integers(0, 2))
    def redrive(self, fails):
        listed = self.listed()
        for number in listed.values():
            self.fails[number] = fails
            self.lives[number] += 1
        assert self.run(self.work.redrive()) == len(listed)

    def listed(self):
        failures = self.run(self.work.failed(1000))
        return {failure["id"]: failure["record"]["requestPayload"]["number"] for failure in failures}

    # --- what must hold

    @invariant()
    def nothing_is_wrong(self):
        assert getattr(self, "wrong", []) == []

    @invariant()
    def attempts_are_bounded(self):
        for number, attempts in getattr(self, "attempts", {}).items():
            assert len(attempts) <= (self.retries + 1) * self.lives[number] + self.interrupted[number]

    @invariant()
    def no_retry_comes_early(self):
        for number, attempts in getattr(self, "attempts", {}).items():
            if self.lives[number] == 1 and not self.interrupted[number] and number not in self.early:
                gaps = [later - before for before, later in itertools.pairwise(attempts)]
                assert all(gap >= wait for gap, wait in zip(gaps, DELAYS, strict=False)), (number, gaps)

    def teardown(self):
        if not hasattr(self, "app"):
            return
        try:
            self.run(self.clock.advance(3600))
            listed = list(self.listed().values())
            assert self.wrong == []
            assert sorted([*self.done, *listed]) == sorted(self.fails), "an event is lost, or both done and given up"
        finally:
            self.run(self.app.stop())
            self.loop.close()
            self.folder.cleanup()


TestEvents = Events.TestCase
TestEvents.settings = settings(
    max_examples=int(COUNT or 30), stateful_step_count=60 if COUNT else 25, deadline=None, print_blob=True
)

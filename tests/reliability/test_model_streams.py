"""Streams against a model of a few lines: hypothesis draws what callers, handlers and an operator do, over kills.

The model knows four things: what was put, in which order for each key, what a handler may do with it, and what a kill may make it
forget.
`FOREBAY_COUNT` says how many lives are drawn; then they are longer, too.
"""

import asyncio
import os
import tempfile
from collections import defaultdict
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from killed import kill

from forebay import App, Batch
from forebay.testing import VirtualClock

KEYS = st.sampled_from("abcdef")
COUNT = os.environ.get("FOREBAY_COUNT")
# What was done is with the store after that many seconds: progress waits for company.
CHECKPOINTED_WITHIN = 0.006


class Streams(RuleBasedStateMachine):
    """One app, one stream, one mapping."""

    @initialize(
        shards=st.integers(1, 3),
        lanes=st.integers(1, 4),
        batch_size=st.integers(1, 8),
        retries=st.integers(0, 3),
        bisect=st.booleans(),
        window=st.sampled_from([0, 0, 2]),
    )
    def begin(self, *, shards, lanes, batch_size, retries, bisect, window):
        self.loop = asyncio.new_event_loop()
        self.clock = VirtualClock()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Path(self.folder.name) / "data"
        self.shards, self.retries, self.bisect, self.batch_size = shards, retries, bisect, batch_size
        self.options = {
            "batch_size": batch_size,
            "parallelization_factor": lanes,
            "maximum_retry_attempts": retries,
            "bisect_batch_on_function_error": bisect,
            "maximum_batching_window": window,
        }
        self.put: dict[str, list[int]] = defaultdict(list)
        self.sequence: dict[int, str] = {}
        self.fates: dict[int, int] = {}  # how often a record still fails
        self.attempts: dict[int, int] = defaultdict(int)
        self.done: dict[str, list[int]] = defaultdict(list)
        self.flying: dict[str, int] = {}
        self.wrong: list[str] = []
        self.done_at: dict[int, float] = {}
        self.forgotten: set[int] = set()
        self.kills = 0
        self.paused = False
        self.start()

    def start(self):
        self.app = App("model", store=self.store, clock=self.clock, durability="process-crash")
        self.stream = self.app.stream("events", shards=self.shards)

        @self.app.on_stream("events", **self.options, report_batch_item_failures=True)
        async def handler(batch: Batch, context):
            await self.handle(batch)

        self.handler = handler
        self.run(self.app.start())

    def run(self, what):
        return self.loop.run_until_complete(asyncio.wait_for(what, 30))

    async def handle(self, batch):
        if len(batch) > self.batch_size:
            self.wrong.append(f"a batch of {len(batch)}")
        numbers = [(record.partition_key, record.json(), record) for record in batch]
        keys = {key for key, _, _ in numbers}
        if busy := keys & self.flying.keys():
            self.wrong.append(f"{busy} are in two batches at once")
        self.flying |= dict.fromkeys(keys, 1)
        try:
            await self.clock.sleep(0.01)
            for key, number, record in numbers:
                self.attempts[number] += 1
                if self.fates[number] > 0:
                    self.fates[number] -= 1
                    batch.fail(record)
                    return
                self.done_at[number] = self.clock.monotonic()
                if number in self.forgotten:
                    self.forgotten.remove(number)
                    continue
                if number in self.done[key]:
                    self.wrong.append(f"{number} is done twice")
                self.done[key].append(number)
        finally:
            for key in keys:
                self.flying.pop(key, None)

    # --- what happens

    @rule(key=KEYS, count=st.integers(1, 6), fails=st.sampled_from([0, 0, 0, 0, 1, 2, 99]))
    def put_some(self, key, count, fails):
        numbers = [len(self.sequence) + place for place in range(count)]
        self.fates |= dict.fromkeys(numbers, 0) | {numbers[0]: fails}
        told = self.run(self.stream.put_many([(str(number), key) for number in numbers]))
        self.put[key] += numbers
        self.sequence |= dict(zip(numbers, told, strict=True))

    @rule(seconds=st.sampled_from([0.01, 0.5, 3, 60]))
    def wait(self, seconds):
        self.run(self.clock.advance(seconds))

    @rule(shards=st.integers(1, 4))
    def reshard(self, shards):
        self.run(self.stream.reshard(shards))

    @rule()
    def pause_or_resume(self):
        mapping = self.app.mappings[0]
        self.run(mapping.resume() if self.paused else mapping.pause())
        self.paused = not self.paused

    @rule(seconds=st.sampled_from([0, 0.004, 0.012]))
    def kill(self, seconds):
        self.run(self.clock.advance(seconds))  # a handler takes ten milliseconds
        self.run(kill(self.app, self.store))
        self.flying.clear()
        late = self.clock.monotonic() - CHECKPOINTED_WITHIN
        self.forgotten |= {number for number, at in self.done_at.items() if at >= late}
        self.kills += 1
        self.start()

    @rule(seconds=st.sampled_from([-3600, 5, 86_400]))
    def jump(self, seconds):
        # Retention goes by the wall clock, so it may not run far ahead.
        if self.clock.time() + seconds < 1_577_836_800 + 86_400:
            self.clock.jump_wall(seconds / 100)

    @rule()
    def restart_the_handlers_luck(self):
        self.fates = {number: min(fails, self.retries + 1) for number, fails in self.fates.items()}

    # --- what must hold

    @invariant()
    def numbers_of_a_key_grow(self):
        for numbers in getattr(self, "put", {}).values():
            told = [int(self.sequence[number]) for number in numbers]
            assert told == sorted(set(told))

    @invariant()
    def nothing_is_wrong(self):
        assert getattr(self, "wrong", []) == []

    @invariant()
    def a_key_is_done_in_order(self):
        for numbers in getattr(self, "done", {}).values():
            assert numbers == sorted(numbers)

    def teardown(self):
        if not hasattr(self, "app"):
            return
        try:
            if self.paused:
                self.run(self.app.mappings[0].resume())
            self.run(self.clock.advance(3 * 3600))
            failures = self.run(self.handler.failed(1000))
            done = {number for numbers in self.done.values() for number in numbers}
            given_up = sum(failure["record"]["KinesisBatchInfo"]["batchSize"] for failure in failures)
            assert self.wrong == []
            assert len(done) + given_up >= len(self.sequence), "a record is neither done nor written down"
            missing = self.sequence.keys() - done
            # The count begins anew when the records before it are done (the checkpoint moves), and for each half of a batch.
            most = (self.retries + 1) * self.batch_size + 64 * self.bisect + self.kills
            assert all(self.attempts[number] <= most for number in missing)
            assert bool(failures) or not missing
        finally:
            self.run(self.app.stop())
            self.loop.close()
            self.folder.cleanup()


TestStreams = Streams.TestCase
TestStreams.settings = settings(
    max_examples=int(COUNT or 40), stateful_step_count=60 if COUNT else 25, deadline=None, print_blob=True
)

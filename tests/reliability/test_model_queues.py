"""Queues against a model: hypothesis draws what senders, receivers and an operator do, over restarts and kills.

The model knows of each message in which queue it may be, until when it is hidden, and its place in its group.
`FOREBAY_COUNT` says how many lives are drawn; then they are longer, too.
"""

import asyncio
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from killed import kill

from forebay import App
from forebay.testing import VirtualClock

COUNT = os.environ.get("FOREBAY_COUNT")
SOURCES = ("plain", "ordered.fifo")
DEAD = {"plain": "plain-dead", "ordered.fifo": "ordered-dead.fifo"}
QUEUES = (*SOURCES, *DEAD.values())
GROUPS = "abc"
RECEIVES = 3
HIDDEN = 30
REMEMBERED = 300  # seconds, for deduplication


@dataclass
class Kept:
    """A message that was sent and not deleted."""

    number: int
    identity: str
    group: str
    places: set[str]
    received: int = 0
    hidden_until: float = -math.inf
    receipt: object = None
    held_in: str = ""
    in_order: bool = True
    """It has never changed its queue: its place in its group is that of its number."""


class Queues(RuleBasedStateMachine):
    """One app with a standard and a FIFO queue, and a dead-letter queue for each."""

    @initialize()
    def begin(self):
        self.loop = asyncio.new_event_loop()
        self.clock = VirtualClock()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Path(self.folder.name) / "data"
        self.numbers, self.kept = 0, {}
        self.sent_at: dict[int, tuple[float, str]] = {}
        self.start()

    def start(self):
        self.app = App("model", store=self.store, clock=self.clock, durability="process-crash")
        for name in SOURCES:
            self.app.queue(DEAD[name])
            self.app.queue(
                name, visibility_timeout=HIDDEN, dead_letter_queue=DEAD[name], maximum_receive_count=RECEIVES
            )
        self.run(self.app.start())

    def run(self, what):
        return self.loop.run_until_complete(asyncio.wait_for(what, 30))

    @property
    def now(self):
        return self.clock.monotonic()

    def held(self):
        """Give what somebody has in his hands and the queue still hides."""
        return [kept for kept in self.kept.values() if kept.receipt is not None and kept.hidden_until > self.now + 0.01]

    # --- what happens

    @rule(name=st.sampled_from(SOURCES), group=st.sampled_from(GROUPS), count=st.integers(1, 5))
    def send(self, name, group, count):
        fifo = name.endswith(".fifo")
        numbers = range(self.numbers, self.numbers + count)
        messages = [
            {"body": str(number)} | ({"group_id": group, "deduplication_id": str(number)} if fifo else {})
            for number in numbers
        ]
        told = self.run(self.app.queue(name).send_many(messages))
        assert len(set(told)) == count
        for number, identity in zip(numbers, told, strict=True):
            self.kept[number] = Kept(number, identity, group if fifo else str(number), {name})
            if fifo:
                self.sent_at[number] = (self.now, identity)
        self.numbers += count

    @precondition(lambda self: self.sent_at)
    @rule(data=st.data())
    def send_again(self, data):
        number = data.draw(st.sampled_from(sorted(self.sent_at)))
        since, identity = self.sent_at[number]
        if abs(self.now - since - REMEMBERED) < 1:
            return
        told = self.run(
            self.app.queue("ordered.fifo").send(str(self.numbers), group_id="again", deduplication_id=str(number))
        )
        if self.now - since < REMEMBERED:
            assert told == identity, "a duplicate within five minutes is not delivered"
            return
        self.kept[self.numbers] = Kept(self.numbers, told, "again", {"ordered.fifo"})
        self.sent_at[number] = (self.now, told)
        self.numbers += 1

    @rule(name=st.sampled_from(QUEUES), maximum=st.integers(1, 10), hidden=st.sampled_from([None, None, 0, 2, 100]))
    def receive(self, name, maximum, hidden):
        messages = self.run(self.app.queue(name).receive(maximum, visibility_timeout=hidden))
        numbers = [int(message.body) for message in messages]
        assert len(set(numbers)) == len(numbers) <= maximum
        held = {kept.number for kept in self.held()}
        busy = {(kept.held_in, kept.group) for kept in self.held() if kept.held_in.endswith(".fifo")}
        for number, message in zip(numbers, messages, strict=True):
            kept = self.kept.get(number)
            assert kept is not None, f"{number} was deleted"
            assert number not in held, f"{number} is hidden"
            assert name in kept.places, f"{number} is in {kept.places}"
            assert (name, kept.group) not in busy, f"{number} overtakes one of its group that is in flight"
            assert message.message_id == kept.identity
        self.check_order(name, numbers)
        until = self.now + (HIDDEN if hidden is None else hidden)
        for number, message in zip(numbers, messages, strict=True):
            kept = self.kept[number]
            kept.places, kept.held_in, kept.received = {name}, name, kept.received + 1
            kept.receipt, kept.hidden_until = message, until
            if name in SOURCES:
                assert kept.received <= RECEIVES, f"{number} was received {kept.received} times"
        self.doom()

    def doom(self):
        """Know that what was received as often as it may be goes to its dead-letter queue, as soon as it is not hidden."""
        for kept in self.kept.values():
            names = kept.places & set(SOURCES)
            if names and kept.received >= RECEIVES:
                kept.places |= {DEAD[name] for name in names}
                kept.in_order = False

    def check_order(self, name, numbers):
        """Hold a FIFO queue to the order within each group: nothing is left out that must stand before."""
        if not name.endswith(".fifo"):
            return
        for group in {self.kept[number].group for number in numbers}:
            due = [
                kept.number
                for kept in self.kept.values()
                if kept.in_order and kept.group == group and name in kept.places
            ]
            given = [number for number in numbers if self.kept[number].group == group and self.kept[number].in_order]
            assert given == sorted(due)[: len(given)]

    @precondition(lambda self: self.held())
    @rule(data=st.data())
    def delete(self, data):
        kept = data.draw(st.sampled_from(self.held()))
        self.run(self.app.queue(kept.held_in).delete(kept.receipt))
        del self.kept[kept.number]

    @precondition(lambda self: self.held())
    @rule(data=st.data(), seconds=st.sampled_from([0, 5, 60]))
    def change_visibility(self, data, seconds):
        kept = data.draw(st.sampled_from(self.held()))
        self.run(self.app.queue(kept.held_in).change_visibility(kept.receipt, seconds))
        kept.hidden_until = self.now + seconds

    @rule(seconds=st.sampled_from([0.7, 3.3, 31.1, 120.9]))
    def wait(self, seconds):
        self.run(self.clock.advance(seconds))

    @rule()
    def restart(self):
        self.run(self.app.stop())
        self.start()

    @rule()
    def kill(self):
        self.run(kill(self.app, self.store))
        self.start()

    @rule(name=st.sampled_from(SOURCES))
    def redrive(self, name):
        self.run(self.app.queue(DEAD[name]).redrive())
        self.run(self.clock.advance(1.3))
        for kept in self.kept.values():
            if DEAD[name] in kept.places:
                kept.places |= {name}
                # Begins anew if it was moved, at the end of its group.
                kept.received, kept.in_order = 0, False

    # --- what must hold in the end

    def teardown(self):
        if not hasattr(self, "app"):
            return
        try:
            self.run(self.clock.advance(3600))
            found = []
            for name in QUEUES:
                while messages := self.run(self.app.queue(name).receive(10)):
                    found += [int(message.body) for message in messages]
                    for message in messages:
                        self.run(self.app.queue(name).delete(message))
            assert sorted(found) == sorted(self.kept), "something is lost, or there twice"
        finally:
            self.run(self.app.stop())
            self.loop.close()
            self.folder.cleanup()


TestQueues = Queues.TestCase
TestQueues.settings = settings(
    max_examples=int(COUNT or 30), stateful_step_count=60 if COUNT else 25, deadline=None, print_blob=True
)

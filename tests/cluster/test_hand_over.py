"""What a process does that lets go of a store: requests are answered, what does not end is left behind, what it says is true."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from forebay._app import shared_store
from forebay._app.shared_store import SharedStore
from forebay.clock import Attempt


class SlowEngine:
    """An engine with a request of an API on its way: the first times that it is told to drain, it cannot yet."""

    role = "owner"

    def __init__(self) -> None:
        self.told: list[str] = []

    def drain(self) -> bool:
        self.told.append("drain")
        return len(self.told) == 3

    def idle(self) -> bool:
        self.told.append("idle")
        return True

    def close(self) -> None:
        self.told.append("close")


class BusyEngine(SlowEngine):
    """An engine with an attempt that does not end, here and in another process."""

    def drain(self) -> bool:
        return True

    def idle(self) -> bool:
        return False

    def environments_at_work(self) -> list[tuple[str, str]]:
        return []

    def waiting(self) -> Any:
        answer = b'[{"member": null, "running": 2}, {"member": "there/1/0", "running": 1}]'
        return SimpleNamespace(request=lambda *_: answer)


def handing_over(engine: SlowEngine, attempts: list[str], member: dict[str, Any]) -> SharedStore:
    """Give the part of an app in a store that it is to hand over."""
    lease = SimpleNamespace(lost=False)

    def interrupt() -> None:
        lease.lost = True
        engine.told.append("interrupt")

    runner = SimpleNamespace(
        loop=asyncio.get_running_loop(),
        lost=asyncio.Event(),
        lease=lease,
        is_asked=False,
        attempts=lambda: [Attempt(name, "1", None, parked=False) for name in attempts],
        interrupt=interrupt,
        refuse_deferred=lambda _: None,
        flush=lambda: engine.told.append("flush"),
        detach=lambda _: engine.told.append("detach"),
    )
    shared = SharedStore(cast("Any", runner), cast("Any", SimpleNamespace(name="shop", place="postgresql://…")))
    told = {name: lambda name=name: engine.told.append(name) for name in ("decline", "accept", "stopped")}
    shared.member = cast("Any", SimpleNamespace(**{"hands_over": True, **told, **member}))
    return shared


def test_an_engine_is_told_to_drain_until_it_does() -> None:
    async def hand_over() -> list[str]:
        engine = SlowEngine()
        await handing_over(engine, [], {}).let_go(cast("Any", engine))
        return engine.told

    told = asyncio.run(hand_over())
    assert told[:7] == ["drain", "drain", "drain", "idle", "flush", "detach", "close"]
    assert told[-1] == "stopped"
    assert "decline" not in told


def test_what_cannot_be_ended_is_told_and_nobody_hears_what_it_returns(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The store stood still on all machines for as long as one thread ran."""
    for name in ("FINISH_SECONDS", "ENDS_SECONDS", "WARNS_SECONDS"):
        monkeypatch.setattr(shared_store, name, 0.05)
    attempts = ["slow"]

    async def hand_over() -> tuple[list[str], bool]:
        engine = BusyEngine()
        shared = handing_over(engine, attempts, {})
        giving = asyncio.create_task(shared.let_go(cast("Any", engine)))
        while "decline" not in engine.told:  # noqa: ASYNC110  it is told by another task
            await asyncio.sleep(0.01)
        is_lost = shared._runner.lease.lost
        attempts.clear()
        await giving
        return engine.told, is_lost

    told, is_lost = asyncio.run(hand_over())
    # The engine hears nothing from the flush on, so nothing is written once the store is given up.
    assert told == ["interrupt", "flush", "detach", "close", "interrupt", "decline", "accept", "stopped"]
    assert is_lost
    (line,) = [
        record.getMessage() for record in caplog.records if "although these have not ended" in record.getMessage()
    ]
    assert line.endswith("slow (1), 1 attempt of process there/1/0")


class LostClient:
    """A client whose connection is lost. What it was given is in the hands of the runner."""

    role = "client"

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def close(self) -> None:
        self._told.append("close")


@pytest.mark.parametrize("begins_more", [False, True])
def test_a_client_says_that_it_has_stopped_when_all_has_ended_and_nothing_can_come(begins_more: bool) -> None:
    """An attempt that is said to have stopped runs elsewhere at once, so it must have ended here."""

    async def let_go() -> list[str]:
        told: list[str] = []
        attempts = [SimpleNamespace(function="f", request_id="r")]
        loop = asyncio.get_running_loop()

        def end() -> None:
            told.append("ended")
            attempts.clear()

        def flush() -> None:
            if begins_more:
                attempts.append(SimpleNamespace(function="f", request_id="late"))

        lease = SimpleNamespace(lost=False)

        def interrupt() -> None:
            lease.lost = True
            loop.call_later(0.05, end)

        runner = SimpleNamespace(
            loop=loop,
            lease=lease,
            interrupt=interrupt,
            attempts=lambda: attempts,
            flush=flush,
            detach=lambda _: None,
        )
        shared = SharedStore(cast("Any", runner), cast("Any", SimpleNamespace(name="shop", place="postgresql://…")))
        shared.member = cast("Any", SimpleNamespace(has_stopped=lambda _: told.append("says so")))
        await shared.let_go(cast("Any", LostClient(told)))
        assert runner.lease.lost
        return told

    assert asyncio.run(let_go()) == ["ended", "close"] + ["says so"] * (not begins_more)

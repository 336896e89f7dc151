"""What the engine has to tell the log: timeouts, what was given up and where it went, dead letters, a full disk, damage.

The engine says what happened (rust/engine/src/observe/operator_events.rs), this says it in words. At most one line a second for each kind and
function. No line has a payload, a key or a message group.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import orjson

from forebay._model.words import counted
from forebay._runtime.sparing import Sparing, more

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

log = logging.getLogger("forebay.runtime")

KEPT_MAX: Final = 10_000
"""Kinds of lines, each of a function or a queue, whose last second is known."""


class Notices:
    """Tells the log what the engine says of itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now_ns: Callable[[], int]) -> None:
        self.destinations: dict[str, str] = {}
        """How those destinations are shown that have a name for the engine alone."""
        self._loop = loop
        self._now_ns = now_ns
        self._sparing: dict[tuple[str, str], Sparing] = {}

    def heard(self, notices: bytes) -> None:
        """Tell of what the engine says: a JSON array."""
        for notice in orjson.loads(notices):
            at = notice["what"], notice["of"]
            sparing = self._sparing.get(at)
            if sparing is None:
                if len(self._sparing) >= KEPT_MAX:  # queues may come and go
                    self.close()
                    self._sparing.clear()
                sparing = self._sparing[at] = Sparing(self._say, self._loop)
            sums = notice.get("sums", {})
            for name, number in (sparing.last or {}).get("sums", {}).items():
                sums[name] += number
            sparing.add(notice, self._now_ns(), notice["count"])

    def close(self) -> None:
        """Tell of what the log was not told of yet."""
        for sparing in self._sparing.values():
            sparing.tell()

    def _say(self, notice: dict[str, Any], others: int) -> None:
        notice["destinations"] = [self._shown(name) for name in notice.get("destinations", ())]
        text = _TEXTS[notice["what"]](notice)
        extra = {"aws_request_id": notice.get("request"), "function_name": _function(notice)}
        # What has sums tells of all of them.
        log.warning("%s%s", text, "" if "sums" in notice else more(others), extra=extra)

    def _shown(self, name: str) -> str:
        return self.destinations.get(name) or name.replace(":", " ", 1)


def _timed_out(notice: dict[str, Any]) -> str:
    if notice["destinations"]:
        return f"destination {notice['destinations'][0]}: a delivery timed out after {notice['seconds']:g} s"
    of = _batch(notice) if "stream" in notice else ""
    if "queue" in notice:
        of = f" at {counted(notice['records'], 'message')} of queue {notice['queue']}"
    return f"function {notice['of']}: attempt {notice['attempt']}{of} timed out after {notice['seconds']:g} s"


def _gave_up(notice: dict[str, Any]) -> str:
    attempts = counted(notice["attempts"], "attempt")
    if "stream" in notice:
        what, id_ = _batch(notice).removeprefix(" at "), notice["first"]
    else:
        what, id_ = "an event", notice["request"]
    where = _where(notice["destinations"], notice["id"])
    return (
        f"function {notice['of']}: gave up {what} after {attempts} ({notice['condition']}), {where}: "
        f"`forebay why {id_}` tells its life"
    )


def _expired(notice: dict[str, Any]) -> str:
    if "queue" in notice:
        dropped = counted(notice["sums"]["messages"], "message")
        return f"queue {notice['of']}: its retention dropped {dropped} that nobody had handled"
    where = _where(notice["destinations"], notice["id"])
    what = _batch(notice).removeprefix(" at ")
    return f"function {notice['of']}: the stream's retention dropped {what} before it was handled, {where}"


def _lost(notice: dict[str, Any]) -> str:
    runs, records = notice["sums"]["runs"], counted(notice["sums"]["records"], "record")
    where = _where(notice["destinations"], notice["id"])
    range_ = f"{notice['stream']} ({notice['shard_id']}, {_range(notice)})"
    what = f"{records} of {range_}" if runs == 1 else f"{records} in {runs:,} runs, the last of them of {range_}"
    end = where if runs == 1 else f"the last {where}; `forebay stream list` says where all are"
    return f"function {notice['of']}: stepped over {what}: lost to damage, the store was salvaged without them; {end}"


def _damaged(notice: dict[str, Any]) -> str:
    return str(notice["text"])


def _dead_letter(notice: dict[str, Any]) -> str:
    return (
        f"queue {notice['of']}: a message was received {counted(notice['received'], 'time')}, and is now in the dead-letter "
        f"queue {notice['to']}: `forebay why {notice['message']}` tells its life"
    )


def _undelivered(notice: dict[str, Any]) -> str:
    return (
        f"function {notice['of']}: its destination {notice['destinations'][0]} was not told of a failure, after "
        f"{counted(notice['tries'], 'try', 'tries')}: listed as {notice['id']}, see `forebay dlq show {notice['id']}`"
    )


def _disk(notice: dict[str, Any]) -> str:
    if notice["error"] is None:
        return "the store takes what is put and sent again"
    return f"what is put and sent is refused, what was accepted goes on: {notice['error']}"


def _interrupted(notice: dict[str, Any]) -> str:
    attempts = notice["attempts"]
    were = "attempt was" if attempts == 1 else "attempts were"
    return (
        f"{attempts:,} {were} in flight when the process before this one died: what they held runs again, each alone; what was "
        "alone in flight at three deaths is given up (RuntimeInterrupted)"
    )


def _where(destinations: list[str], id_: str) -> str:
    if not destinations:
        return f"listed as {id_} in `forebay dlq list`"
    return f"goes to {' and '.join(destinations)}"


def _function(notice: dict[str, Any]) -> str | None:
    is_of_a_function = notice["what"] in {"timed out", "gave up", "undelivered"} or "stream" in notice
    return str(notice["of"]) if is_of_a_function else None


def _batch(notice: dict[str, Any]) -> str:
    lane = f", lane {notice['lane']}" if "lane" in notice else ""
    return f" at a batch of {notice['records']:,} of {notice['stream']} ({notice['shard_id']}{lane}, {_range(notice)})"


def _range(notice: dict[str, Any]) -> str:
    return str(notice["first"] if notice["first"] == notice["last"] else f"{notice['first']} to {notice['last']}")


_TEXTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "timed out": _timed_out,
    "gave up": _gave_up,
    "expired": _expired,
    "lost": _lost,
    "damaged": _damaged,
    "dead letter": _dead_letter,
    "undelivered": _undelivered,
    "disk": _disk,
    "interrupted": _interrupted,
}

"""States of functions while stacks deploy them, by Lambda's names: Pending, Active, Failed, and how the last update went."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from forebay._model.names import LATEST
from forebay._sam import secret
from forebay._stacks.attachments import CannotAttach
from forebay.errors import ForebayError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forebay._stacks.functions import Deployed

KEPT_MAX: Final = 1_000
"""Functions whose last deploy failed that are remembered: the oldest goes where another one comes."""
_CODES: Final = {
    "Runtime.ExitError": "FunctionError.RuntimeExitError",
    "Runtime.InvalidEntrypoint": "FunctionError.InvalidEntryPoint",
    "Runtime.InitError": "FunctionError.InitTimeout",
}
_CODE: Final = "FunctionError"
_NOT_ATTACHED: Final = "InvalidConfiguration"
IDLE: Final = {"State": "Inactive", "StateReason": "The function is idle.", "StateReasonCode": "Idle"}
"""What is said of a function whose attachments nobody has used for long. It serves: its next invocation makes it active."""


class FunctionStates:
    """What is said of functions that are being made or changed. A function that serves has nothing said of it."""

    def __init__(self) -> None:
        self._serving: set[str] = set()
        self._told: dict[str, dict[str, str]] = {}

    def of(self, name: str) -> dict[str, str] | None:
        """Give the states of a function; None: it serves as it was deployed, or it is not a stack's."""
        return self._told.get(name)

    def serve(self, function: Deployed) -> None:
        """Record that a function serves."""
        if function.version == LATEST:
            self._serving.add(function.name)
            self._told.pop(function.name, None)

    def forget(self, name: str) -> None:
        """Record that a function is gone."""
        self._serving.discard(name)
        self._told.pop(name, None)

    @contextmanager
    def changing(self, function: Deployed) -> Iterator[None]:
        """Tell of a change for as long as the block lasts; a failure is told of until the next change."""
        if function.version != LATEST:
            yield
            return
        name = function.name
        is_new = name not in self._serving
        self._tell(name, _under_way(is_new=is_new))
        try:
            yield
        except ForebayError as error:
            code = _NOT_ATTACHED if isinstance(error, CannotAttach) else None
            self._tell(name, _failed(secret.concealed(str(error), function.conceals), code, is_new=is_new))
            raise
        self.serve(function)

    def _tell(self, name: str, states: dict[str, str]) -> None:
        self._told.pop(name, None)
        while len(self._told) >= KEPT_MAX:
            del self._told[next(iter(self._told))]
        self._told[name] = states


def _under_way(*, is_new: bool) -> dict[str, str]:
    if is_new:
        return {
            "State": "Pending",
            "StateReason": "The function is being created.",
            "StateReasonCode": "Creating",
            "LastUpdateStatus": "InProgress",
        }
    return {"LastUpdateStatus": "InProgress", "LastUpdateStatusReason": "The function is being updated."}


def _failed(reason: str, code: str | None, *, is_new: bool) -> dict[str, str]:
    code = code or _CODES.get(reason.split(":", 1)[0], _CODE)
    if is_new:
        return {"State": "Failed", "StateReason": reason, "StateReasonCode": code, "LastUpdateStatus": "Failed"}
    return {"LastUpdateStatus": "Failed", "LastUpdateStatusReason": reason, "LastUpdateStatusReasonCode": code}

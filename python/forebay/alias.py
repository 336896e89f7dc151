"""An alias of a function: a name for one of its versions, or for two that share the invocations."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from forebay._model import checks
from forebay._model.alias import typed
from forebay._runtime.sync_twins import sync_twin
from forebay.errors import ResourceNotFound

if TYPE_CHECKING:
    from datetime import datetime

    from forebay._model.alias import AliasSettings
    from forebay._runtime.caller import Caller
    from forebay.errors import ForebayError
    from forebay.function import Function

CHANGEABLE = ("version", "weights", "provisioned_concurrency")


class Alias:
    """A name for a function's versions. Made by `App.alias`, never by hand.

    Which version an invocation runs is drawn when it is accepted: every attempt of an asynchronous one runs the same.
    """

    def __init__(self, function: Function[..., Any], settings: AliasSettings, caller: Caller) -> None:
        self.function = function
        self.settings = self.declared = settings
        self.refused: ForebayError | None = None
        """Why the running engine has not taken it, if so."""
        self._caller = caller

    def __repr__(self) -> str:
        return f"<forebay alias {self.name!r} of function {self.function.name!r}>"

    def as_declared(self) -> None:
        """Forget what was changed while the app ran."""
        self.settings = self.declared

    @property
    def name(self) -> str:
        """The alias's name."""
        return self.settings.name

    @property
    def arn(self) -> str:
        """The alias's ARN."""
        return f"{self.function.arn}:{self.name}"

    async def invoke(self, payload: Any = None) -> Any:
        """Do as `Function.invoke`, with the version that is drawn."""
        return await self.function.invoke(payload, qualifier=self._qualifier())

    invoke_sync = sync_twin(invoke)

    async def invoke_with_version(self, payload: Any = None) -> tuple[Any, str]:
        """Do as `invoke`, and tell which version ran."""
        return await self.function.invoke_with_version(payload, qualifier=self._qualifier())

    invoke_with_version_sync = sync_twin(invoke_with_version)

    async def invoke_async(
        self,
        payload: Any = None,
        *,
        delay: checks.Seconds | None = None,
        at: float | datetime | None = None,
        deduplication_id: str | None = None,
        deduplication_window: checks.Seconds | None = None,
        keep_result: bool = False,
    ) -> str:
        """Do as `Function.invoke_async`, with the version that is drawn."""
        return await self.function.invoke_async(
            payload,
            qualifier=self._qualifier(),
            delay=delay,
            at=at,
            deduplication_id=deduplication_id,
            deduplication_window=deduplication_window,
            keep_result=keep_result,
        )

    invoke_async_sync = sync_twin(invoke_async)

    async def result(self, request_id: str, *, wait: checks.Seconds = 0) -> Any:
        """Do as `Function.result`."""
        return await self.function.result(request_id, wait=wait)

    result_sync = sync_twin(result)

    async def update(self, /, **changes: Any) -> None:
        """Point somewhere else while the app runs.

        What the app declares applies again when it starts next, or another process takes over.
        What was accepted before runs the version that was drawn for it.

        Args:
            changes: any of `version`, `weights` and `provisioned_concurrency`, as `App.alias` has them; what is left out stays.
                `weights={}` gives all invocations to `version`.

        Raises:
            InvalidParameterValue: an unknown setting, or a value outside its range.
            ResourceNotFound: there is no such version.
            ResourceConflict: a version has provisioned concurrency already.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/lambda/latest/api/API_UpdateAlias.html

        """
        self._take(await self._caller.ask("alias.update", **self._changed(changes)))

    update_sync = sync_twin(update)

    def _changed(self, changes: dict[str, Any]) -> dict[str, Any]:
        checks.known_names(changes, CHANGEABLE)
        return {"function": self.function.name, "name": self._qualifier(), **typed(changes)}

    def _take(self, now: dict[str, Any]) -> None:
        """Take what it is now: another process may have changed it meanwhile."""
        self.settings = dataclasses.replace(self.settings, **{name: now[name] for name in CHANGEABLE})

    def _qualifier(self) -> str:
        if self.refused is not None:
            raise ResourceNotFound(f"Function not found: {self.arn}: the alias was refused: {self.refused}")
        return self.name

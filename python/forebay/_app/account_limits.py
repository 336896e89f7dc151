"""How the limits of an app are changed while it runs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from forebay._model import checks
from forebay._runtime.sync_twins import sync_twin
from forebay._wire import limits as wire_limits

if TYPE_CHECKING:
    from forebay._app.declarations import Declarations
    from forebay._model.settings import AppSettings
    from forebay._runtime.caller import Caller


class ChangesLimits:
    """The part of an app that has limits."""

    _caller: Caller
    _declared: Declarations

    @property
    def settings(self) -> AppSettings:
        """What the app was made with; while it runs, with the limits as they are now."""
        return self._declared.settings

    @settings.setter
    def settings(self, given: AppSettings) -> None:
        """Have an app that does not run made with other settings."""
        self._declared.settings = self._declared.declared = given

    async def update(self, /, **limits: Any) -> None:
        """Change limits while the app runs. What runs over a lowered limit runs on.

        What the app declares applies again when it starts next, or another process takes over.

        Args:
            limits: any of `concurrency`, `unreserved_minimum`, `scaling`, `requests_per_second` and `workflow_limits`, as `App`
                has them.

        Raises:
            InvalidParameterValue: an unknown limit, a value outside its range, or less than functions have reserved.
            AppClosed: the app is not running.

        """
        await self._caller.ask("account.update", **self._limited(limits))
        self._declared.settings = dataclasses.replace(self.settings, **limits)  # others may have changed meanwhile

    update_sync = sync_twin(update)

    def _limited(self, given: dict[str, Any]) -> dict[str, Any]:
        checks.known_names(given, wire_limits.ACCOUNT)
        changed = dataclasses.replace(self.settings, **given)
        return wire_limits.account(changed, given)

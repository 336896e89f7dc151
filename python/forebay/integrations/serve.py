"""Serves the calls of the engine for tasks: the handler of the function that makes them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from forebay._wire.errors import PAST_DEADLINE
from forebay.errors import InvalidParameterValue
from forebay.integrations.maps import READS, WRITES, MapFiles
from forebay.integrations.port import (
    Integration,
    NamesParameters,
    NotAnswered,
    Objects,
    RunsJobs,
    ServiceCall,
    StillRunning,
    Submitted,
    TaskError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

log = logging.getLogger("forebay.integrations")

FUNCTION: Final = "forebay-integrations"
"""The function's name; the engine knows it, too."""
_WAIT_MS: Final = (1, 60_000)
_JOBS: Final = ("sync", "sync2")
"""Patterns of calls that start jobs."""


def declaration(integrations: Iterable[Integration], resources: list[str]) -> dict[str, Any]:
    """Write for the engine what can be called, and with which parameters."""
    parameters: dict[str, list[str]] = {}
    for one in integrations:
        if isinstance(one, NamesParameters):
            parameters |= _checked(one)
    return {"resources": resources, "parameters": parameters}


def _checked(integration: NamesParameters) -> dict[str, list[str]]:
    """Give what an integration says of parameters, which its author wrote by hand."""
    given: Any = integration.parameters
    if not isinstance(given, Mapping):
        raise InvalidParameterValue(
            f"{integration!r}: parameters is {given!r}; it must be a mapping of resources to the names that each takes"
        )
    for resource, names in given.items():
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise InvalidParameterValue(
                f"{integration!r}: parameters[{resource!r}] is {names!r}; it must be a list of names, such as ['Name']"
            )
    return {resource: list(names) for resource, names in given.items()}


class Integrations:
    """The integrations of an app, and what the engine asks of them.

    `results` gives a page of the results of a Map's run: by its number, and where the page before ended.
    """

    def __init__(self, results: Callable[[int, int | None], Awaitable[dict[str, Any]]]) -> None:
        self._results = results
        self._all: list[Integration] = []
        self._files: MapFiles | None = None
        self._unanswered: dict[str, int] = {}
        """How often in a row the question about the job of a call was not answered."""

    def __bool__(self) -> bool:
        return bool(self._all) or self._files is not None

    def add(self, integration: Integration | Objects) -> None:
        """Take one.

        Raises:
            InvalidParameterValue: what can be called so is called by another one already, or it is none.

        """
        if isinstance(integration, Objects):
            if self._files is not None:
                raise InvalidParameterValue(f"{integration!r}: the app already has an object store")
            self._files = MapFiles(integration)
            return
        resources = getattr(integration, "resources", None)
        if resources is None or not callable(getattr(integration, "call", None)):
            raise InvalidParameterValue(
                f"{integration!r}: an integration has `resources` and `call`: see forebay.integrations"
            )
        taken = sorted(set(resources) & set(self.resources))
        if taken:
            raise InvalidParameterValue(f"{integration!r}: {', '.join(taken)} is already called by another integration")
        self._all.append(integration)

    @property
    def resources(self) -> list[str]:
        """Name all that can be called."""
        files = [*READS, *WRITES] if self._files is not None else []
        return [name for one in self._all for name in one.resources] + files

    @property
    def declaration(self) -> dict[str, Any]:
        """Say what can be called, and with which parameters."""
        return declaration(self._all, self.resources)

    def __iter__(self) -> Iterator[Integration]:
        return iter(self._all)

    def has(self, service: str) -> bool:
        """Tell whether a service is called by one of them."""
        return any(name.partition(":")[0] == service for name in self.resources)

    async def handle(self, event: dict[str, Any], _context: Any) -> dict[str, Any]:
        """Make one of the engine's calls.

        Raises:
            NotAnswered: a job was not stopped now. An event that fails is given again; an answer would end it.

        """
        try:
            return await self._answer(event)
        except TaskError as error:
            if "stop" in event:
                raise
            return {"error": error.error, "cause": error.cause}

    async def _answer(self, event: dict[str, Any]) -> dict[str, Any]:
        if "call" in event:
            return await self._call(_call_of(event["call"]))
        if "poll" in event:
            return await self._poll(_call_of(event["poll"]), event["poll"]["job"])
        if "stop" in event:
            call = _call_of(event["stop"])
            self._unanswered.pop(call.id, None)
            return await self._stop(call, event["stop"]["job"])
        if self._files is None:
            raise TaskError("States.Runtime", "the app has no object store any more")
        if "read" in event:
            return await self._files.read(event["read"], event.get("from"))
        run = {"number": event.get("map_run"), "arn": event.get("map_run_arn")}
        return {"output": await self._files.write(event["write"], run, self._results)}

    async def _call(self, call: ServiceCall) -> dict[str, Any]:
        result = await self._submitted(call) if call.pattern in _JOBS else await self._of(call).call(call)
        if isinstance(result, Submitted):
            return {"output": result.output, "job": result.job}
        if call.pattern in _JOBS:
            raise TaskError("States.Runtime", f"{call.service}:{call.action}: the integration has started no job")
        return {"output": result}

    async def _submitted(self, call: ServiceCall) -> Any:
        """Start a job. If its task is given up meanwhile, the engine has the job stopped as soon as this names it."""
        submission = asyncio.ensure_future(self._of(call).call(call))
        try:
            return await asyncio.shield(submission)
        except asyncio.CancelledError as cancelled:
            if PAST_DEADLINE not in cancelled.args:
                submission.cancel()  # the app stops: the call is made again, and may find the job by its id
                raise
            return await submission

    async def _stop(self, call: ServiceCall, job: Any) -> dict[str, Any]:
        """Stop a job. A refusal for good would be the same at each attempt."""
        try:
            await self._jobs_of(call).stop(call, job)
        except NotAnswered:
            raise
        except TaskError as error:
            log.warning(
                "the job %r of %s (%s:%s) was not stopped, and may run on: %s",
                job,
                call.id,
                call.service,
                call.action,
                error,
            )
        return {}

    async def _poll(self, call: ServiceCall, job: Any) -> dict[str, Any]:
        """Ask whether a job has ended. A question without an answer says nothing of the job, which runs on: it is asked again."""
        try:
            result = await self._jobs_of(call).poll(call, job)
        except NotAnswered as error:
            return self._ask_again(call, error)
        except TaskError:
            self._unanswered.pop(call.id, None)
            raise
        except Exception as error:  # noqa: BLE001  of whatever client an integration has
            return self._ask_again(call, error)
        self._unanswered.pop(call.id, None)
        if isinstance(result, StillRunning):
            return _later(result.after)
        return {"output": result}

    def _ask_again(self, call: ServiceCall, error: Exception) -> dict[str, Any]:
        times = self._unanswered[call.id] = self._unanswered.get(call.id, -1) + 1
        later = _later(2.0 ** min(times, 6))
        text = "the question about the job of %s (%s:%s) was not answered, and is asked again after %s s: %s: %s"
        seconds = later["running"] / 1000
        log.warning(text, call.id, call.service, call.action, seconds, type(error).__name__, error)
        return later

    def _of(self, call: ServiceCall) -> Integration:
        patterns = {"request": "", "sync": ".sync", "sync2": ".sync:2", "token": ".waitForTaskToken"}
        wanted = f"{call.service}:{call.action}{patterns[call.pattern]}"
        for one in self._all:
            if any(name == wanted or (name.endswith("*") and wanted.startswith(name[:-1])) for name in one.resources):
                return one
        # A job is asked about again when the app has it back.
        raise NotAnswered("States.Runtime", f"{wanted} is called by no integration of this app any more")

    def _jobs_of(self, call: ServiceCall) -> RunsJobs:
        one = self._of(call)
        if not isinstance(one, RunsJobs):
            raise TaskError("States.Runtime", f"{call.service}:{call.action}: the integration runs no jobs")
        return one


def _later(seconds: float) -> dict[str, Any]:
    """Say when a job is asked about again."""
    least, most = _WAIT_MS
    return {"running": min(most, max(least, round(seconds * 1000)))}


def _call_of(given: dict[str, Any]) -> ServiceCall:
    return ServiceCall(
        service=given["service"],
        action=given["action"],
        pattern=given["pattern"],
        parameters=given.get("parameters") or {},
        id=given["id"],
    )

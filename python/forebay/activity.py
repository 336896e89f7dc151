"""A declared activity: tasks of workflows that workers ask for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from forebay._model import checks
from forebay._model.workflow import ActivitySettings, failure_of
from forebay._runtime.store_resource import StoreResource
from forebay._runtime.sync_twins import sync_twin
from forebay._wire import payload
from forebay.errors import OwnerLost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from forebay._model.checks import Seconds
    from forebay._runtime.caller import Caller

_WAIT_MAX = 60
_PAUSE_SECONDS: Final = 0.2
"""How long a worker waits before it asks again that has lost the owner of the store."""


class ActivityTask:
    """A task that a worker has. Made by `Activity.get_task` and `Activity.tasks`, never by hand.

    Attributes:
        input: what the state gave the task.
        token: what the task's end is told with; also `App.task_success` takes it, from any process.

    """

    def __init__(self, token: str, input: Any, caller: Caller) -> None:  # noqa: A002 - AWS's name
        self.token = token
        self.input = input
        self._caller = caller

    def __repr__(self) -> str:
        return f"<forebay activity task {self.input!r}>"

    async def success(self, output: Any = None) -> None:
        """Tell that the task has succeeded.

        Args:
            output: its result, any JSON value of at most 262,144 bytes.

        Raises:
            InvalidParameterValue: an output that cannot be.
            ResourceNotFound: the task is over: it timed out, was told before, or its execution has ended.
            StoreFull: the disk is full; the task was not told.
            AppClosed: the app is not running.

        """
        await self._caller.ask("task.succeed", token=self.token, output=payload.argument("output", output))

    success_sync = sync_twin(success)

    async def failure(self, error: str | None = None, cause: str | None = None) -> None:
        """Tell that the task has failed.

        Args:
            error: the error's name, at most 256 characters; `Retry` and `Catch` look at it.
            cause: its cause, at most 32,768 characters.

        Raises:
            InvalidParameterValue: an error or a cause that is too long.
            ResourceNotFound: the task is over: it timed out, was told before, or its execution has ended.
            StoreFull: the disk is full; the task was not told.
            AppClosed: the app is not running.

        """
        await self._caller.ask("task.fail", token=self.token, **failure_of(error, cause))

    failure_sync = sync_twin(failure)

    async def heartbeat(self) -> None:
        """Tell that the task goes on: its `HeartbeatSeconds` begin anew.

        Raises:
            ResourceNotFound: the task is over: stop working on it.
            AppClosed: the app is not running.

        """
        await self._caller.ask("task.heartbeat", token=self.token)

    heartbeat_sync = sync_twin(heartbeat)


class Activity(StoreResource[ActivitySettings]):
    """An activity. `App.activity` makes it."""

    async def get_task(self, worker: str | None = None, wait: Seconds = _WAIT_MAX) -> ActivityTask | None:
        """Take the oldest task, or None when there was none in time.

        Args:
            worker: the worker's name, which the history has; 1 to 80 characters.
            wait: seconds to wait for a task, at most 60.

        Raises:
            InvalidParameterValue: an argument out of its range.
            TooManyRequests: 1,000 workers wait already.
            OwnerLost: the process that owned the store died, and may have given this worker a task. Ask again. When it stopped in
                order, its successor is asked, and the wait begins anew.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_GetActivityTask.html

        """
        checks.optional_text("worker", worker)
        seconds = checks.seconds("wait", wait, low=0, high=_WAIT_MAX)
        await self._declared()
        wait_ms = round(seconds * 1000)
        told = await self._caller.ask("activity.get_task", name=self.name, worker=worker, wait_ms=wait_ms)
        return (
            None if told is None else ActivityTask(told["token"], payload.loads(told["input"].encode()), self._caller)
        )

    get_task_sync = sync_twin(get_task)

    async def tasks(self, worker: str | None = None) -> AsyncIterator[ActivityTask]:
        """Yield tasks as they come, without end, also when the app is stopped, killed and started again.

        A task is not given to another worker: tell its end, or let it time out. A worker that is cancelled while it waits may
        still be given one task, for at most 60 s, and so may one whose app is killed. Give such states `TimeoutSeconds`, and
        let `Retry` schedule the task again.

        Args:
            worker: the worker's name, which the history has; 1 to 80 characters.

        Raises:
            InvalidParameterValue: a name that cannot be.
            AppClosed: this process's app is not running.

        """
        while True:
            try:
                task = await self.get_task(worker)
            except OwnerLost:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if task is not None:
                yield task

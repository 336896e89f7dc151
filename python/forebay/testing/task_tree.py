"""Knows which tasks descend from a handler's, so that a clock can wait for a handler together with its child tasks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Task = asyncio.Task[Any]


class TaskTree:
    """The child tasks of every task, recorded by the loop's task factory while it is installed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._children: WeakKeyDictionary[Task, WeakSet[Task]] = WeakKeyDictionary()
        self._before: Callable[..., Any] | None = None

    def install(self) -> None:
        """Begin to record. A factory that is there already goes on making the tasks."""
        self._before = self._loop.get_task_factory()
        self._loop.set_task_factory(self._make)

    def remove(self) -> None:
        """Record no more."""
        self._loop.set_task_factory(self._before)

    def _make(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        task = (
            asyncio.Task(coroutine, loop=loop, **options)
            if self._before is None
            else self._before(loop, coroutine, **options)
        )
        parent = asyncio.current_task(loop)
        if parent is not None:
            self._children.setdefault(parent, WeakSet()).add(task)
        return task

    def of(self, root: Task) -> Iterable[Task]:
        """Give a task and all that descend from it and have not ended."""
        tasks, seen = [root], {root}
        while tasks:
            task = tasks.pop()
            if not task.done():
                yield task
            fresh = set(self._children.get(task, ())) - seen
            seen |= fresh
            tasks.extend(fresh)

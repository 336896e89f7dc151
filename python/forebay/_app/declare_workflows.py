"""The part of an app in which workflows are declared, and tasks that wait for their tokens are told their ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forebay._app import durable
from forebay._model import checks, limits
from forebay._model.asynchronous import AsynchronousSettings
from forebay._model.workflow import failure_of
from forebay._runtime.sync_twins import sync_twin
from forebay._wire import payload
from forebay.errors import ForebayError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from forebay._app.declarations import Declarations
    from forebay._app.run import AppRun
    from forebay._model.checks import Seconds
    from forebay._model.workflow import LogLevel, WorkflowType
    from forebay._runtime.caller import Caller
    from forebay.activity import Activity
    from forebay.integrations import Integration, Objects
    from forebay.workflow import Workflow


class DeclaresWorkflows:
    """What `App` can do with workflows."""

    _declared: Declarations
    _running: AppRun | None
    _caller: Caller

    def workflow(
        self,
        name: str,
        definition: Mapping[str, Any] | str | Path,
        type: WorkflowType = "STANDARD",  # noqa: A002 - AWS's name
        substitutions: Mapping[str, object] | None = None,
        *,
        log_level: LogLevel = "OFF",
        include_execution_data: bool = False,
    ) -> Workflow:
        """Declare a workflow, or give the one that was declared so.

        Executions that run keep the definition that they began with.

        Args:
            name: 1 to 80 characters, none of them blank or one of AWS's special ones.
            definition: a state machine in Amazon's language: a dict, a JSON text, or the path of a file that holds one.
            type: "STANDARD": each step is durable, and happens once. "EXPRESS": an execution runs in memory, at most five
                minutes. It cannot be changed later.
            substitutions: what stands for `${Name}` in the definition: a text, or a function, queue, topic or workflow, which
                stands for its ARN. A name that is not given stands for the function of that name.
            log_level: which events of an Express execution its `history()` has: "ALL", "ERROR", "FATAL" or "OFF".
            include_execution_data: whether those events have inputs and outputs.

        Raises:
            InvalidParameterValue: an argument that cannot be. What is wrong in the definition is told when the app starts.
            ResourceConflict: a workflow of that name is already declared, with other settings.

        Source: https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html

        """
        workflow, new = self._declared.workflow(
            name,
            definition,
            type,
            substitutions or {},
            log_level=log_level,
            include_execution_data=include_execution_data,
        )
        if new and self._running is not None:
            self._running.declare_source(workflow)
        return workflow

    def integrate(self, integration: Integration | Objects) -> None:
        """Let tasks of workflows call services outside of the store, or let distributed Maps read and write files.

        Declare it before the workflows that name it. Integrations that packages offer are taken by themselves; `http`, `aws-sdk`
        and `elasticmapreduce` come with forebay. Give one of those to set it up. The app's function `forebay-integrations` makes
        the calls: it has metrics and logs as any function.

        Args:
            integration: a `forebay.integrations.Http`, `AwsSdk` or `Emr`, an `ObjectStore`, or one of your own.

        Raises:
            InvalidParameterValue: it is none, or another one calls the same.
            ForebayError: the app is running.

        """
        if self._running is not None:
            raise ForebayError("integrate: declare integrations before the app starts; this one is running")
        self._declared.integrate(integration)

    def durable_function(
        self,
        name: str | None = None,
        *,
        timeout: Seconds = 900,
        execution_timeout: Seconds | None = None,
    ) -> Callable[[Callable[..., Any]], Workflow]:
        """Declare a durable function of AWS's SDK, a handler under its `@durable_execution`, and give the workflow that runs it.

        Each start is an execution, and so is each `context.invoke` of its name by another durable function. The handler is run
        again from its beginning after a wait, a callback or a crash, and takes from the store what it has done. It runs in a
        thread of this process, and holds no thread while it waits. Code that has changed so that an operation is not what it was
        ends the execution with a `NonDeterministic` error.

        Args:
            name: 1 to 64 letters, digits, '-' and '_'; None: the handler's own name.
            timeout: seconds that one run of the handler may take, 0.001 to 1,800. It ends no thread: a step that hangs holds its
                execution until `execution_timeout`.
            execution_timeout: seconds that an execution may take with its waits, 1 to 31,622,400; None: a year.

        Raises:
            InvalidParameterValue: an argument that cannot be, a handler that is an `async def` or certainly not under
                `@durable_execution`, or the SDK is not installed.
            ResourceConflict: a function or a workflow of that name is already declared.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/durable-functions.html

        """
        if callable(name):
            checks.refuse("name", name, "write @app.durable_function() with its parentheses")
        longest = None
        if execution_timeout is not None:
            longest = checks.seconds("execution_timeout", execution_timeout, low=1, high=limits.DURABLE_SECONDS_MAX)

        def declare(handler: Callable[..., Any]) -> Workflow:
            hosted = durable.hosted(handler, self._caller)
            function = self._declared.function(hosted, name, timeout, "thread", AsynchronousSettings())
            return self.workflow(function.name, durable.definition(function.arn, longest))

        return declare

    async def durable_callback_success(self, callback_id: str, result: Any = None) -> None:
        """Tell a callback of a durable function its result.

        Args:
            callback_id: the callback's id, as the function gave it away.
            result: a text, or any JSON value, which is given as its JSON; with None or an empty text the handler gets None.

        Raises:
            InvalidParameterValue: no id of a callback, or a result that cannot be.
            ResourceNotFound: the callback is over.
            StoreFull: the disk is full; the callback was not told.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/lambda/latest/api/API_SendDurableExecutionCallbackSuccess.html

        """
        text = result if result is None or isinstance(result, str) else payload.argument("result", result)
        checks.text("callback_id", callback_id)
        await self._caller.ask("durable.callback", callback_id=callback_id, result=text)

    durable_callback_success_sync = sync_twin(durable_callback_success)

    async def durable_callback_failure(self, callback_id: str, error: str, message: str = "") -> None:
        """Tell a callback of a durable function that it has failed.

        Args:
            callback_id: the callback's id, as the function gave it away.
            error: the error's type.
            message: what went wrong.

        Raises:
            InvalidParameterValue: no id of a callback.
            ResourceNotFound: the callback is over.
            StoreFull: the disk is full; the callback was not told.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/lambda/latest/api/API_SendDurableExecutionCallbackFailure.html

        """
        told = {"ErrorType": checks.text("error", error), "ErrorMessage": checks.text("message", message)}
        checks.text("callback_id", callback_id)
        await self._caller.ask("durable.callback", callback_id=callback_id, error=told)

    durable_callback_failure_sync = sync_twin(durable_callback_failure)

    async def durable_callback_heartbeat(self, callback_id: str) -> None:
        """Tell a callback of a durable function that it goes on: its heartbeat timeout begins anew.

        Args:
            callback_id: the callback's id, as the function gave it away.

        Raises:
            InvalidParameterValue: no id of a callback.
            ResourceNotFound: the callback is over.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/lambda/latest/api/API_SendDurableExecutionCallbackHeartbeat.html

        """
        checks.text("callback_id", callback_id)
        await self._caller.ask("durable.callback", callback_id=callback_id, is_heartbeat=True)

    durable_callback_heartbeat_sync = sync_twin(durable_callback_heartbeat)

    def activity(self, name: str) -> Activity:
        """Declare an activity, or give the one that was declared: tasks that workers ask for, in this process or another.

        A workflow names it by its ARN. Declare it before the workflow.

        Args:
            name: 1 to 80 characters, none of them blank or one of AWS's special ones.

        Raises:
            InvalidParameterValue: a name that cannot be.

        Source: https://docs.aws.amazon.com/step-functions/latest/dg/concepts-activities.html

        """
        activity, new = self._declared.activity(name)
        if new and self._running is not None:
            self._running.declare_source(activity)
        return activity

    async def task_success(self, token: str, output: Any = None) -> None:
        """Tell a task that waits for its token that it has succeeded.

        Args:
            token: the task's token, as its state gave it away.
            output: the task's result, any JSON value of at most 262,144 bytes.

        Raises:
            InvalidParameterValue: no token, or an output that cannot be.
            ResourceNotFound: the task is over: it timed out, was told before, or its execution has ended.
            StoreFull: the disk is full; the task was not told.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskSuccess.html

        """
        checks.text("token", token)
        await self._caller.ask("task.succeed", token=token, output=payload.argument("output", output))

    task_success_sync = sync_twin(task_success)

    async def task_failure(self, token: str, error: str | None = None, cause: str | None = None) -> None:
        """Tell a task that waits for its token that it has failed.

        Args:
            token: the task's token, as its state gave it away.
            error: the error's name, at most 256 characters; `Retry` and `Catch` look at it.
            cause: its cause, at most 32,768 characters.

        Raises:
            InvalidParameterValue: no token, or an error or a cause that is too long.
            ResourceNotFound: the task is over: it timed out, was told before, or its execution has ended.
            StoreFull: the disk is full; the task was not told.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskFailure.html

        """
        checks.text("token", token)
        await self._caller.ask("task.fail", token=token, **failure_of(error, cause))

    task_failure_sync = sync_twin(task_failure)

    async def task_heartbeat(self, token: str) -> None:
        """Tell a task that waits for its token that it goes on: its `HeartbeatSeconds` begin anew.

        Args:
            token: the task's token, as its state gave it away.

        Raises:
            InvalidParameterValue: no token.
            ResourceNotFound: the task is over: it timed out, was told before, or its execution has ended.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskHeartbeat.html

        """
        checks.text("token", token)
        await self._caller.ask("task.heartbeat", token=token)

    task_heartbeat_sync = sync_twin(task_heartbeat)

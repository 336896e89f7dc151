"""A declared workflow: a state machine in Amazon's language whose executions are durable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from forebay._model.workflow import WorkflowSettings
from forebay._runtime.store_resource import StoreResource
from forebay._runtime.sync_twins import sync_twin
from forebay._wire import payload
from forebay.errors import ExecutionAlreadyExists, ExecutionFailed, ResourceConflict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from forebay._runtime.caller import Caller

_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionDescription:
    """Where an execution stands.

    Attributes:
        name: its name.
        arn: its ARN.
        status: "RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT" or "ABORTED".
        started: when it began, seconds since 1970.
        stopped: when it ended; None while it runs.
        input: its input.
        output: its output once it has succeeded; None before.
        error: the error with which it failed or was stopped.
        cause: the error's cause.

    """

    name: str
    arn: str
    status: Literal["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]
    started: float
    stopped: float | None
    input: Any
    output: Any
    error: str | None
    cause: str | None


class Workflow(StoreResource[WorkflowSettings]):
    """A workflow. Made by `App.workflow`, never by hand."""

    async def start(self, input: Any = None, name: str | None = None) -> Execution:  # noqa: A002 - AWS's name
        """Start an execution; when this returns, it is durable and goes on after a crash.

        Args:
            input: any JSON value, at most 262,144 bytes; None: {}.
            name: 1 to 80 characters; None: a new UUID. The same name and input again, while it runs, gives the same execution.

        Raises:
            InvalidParameterValue: a name or an input that cannot be, with AWS's text.
            ExecutionAlreadyExists: the name was used for another input, or its execution is over.
            ResourceNotFound: the engine has refused the workflow.
            TooManyRequests: too much waits for the disk; nothing was started.
            StoreFull: the disk is full; nothing was started.
            StoreFailed: a write failed; whether it was started is unknown.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html

        """
        await self._declared()
        text = payload.dumps({} if input is None else input).decode()
        try:
            started = await self._caller.ask("execution.start", workflow=self.name, name=name, input=text)
        except ResourceConflict as error:
            raise ExecutionAlreadyExists(str(error)) from error
        return Execution(self.name, started["name"], started["arn"], self._caller)

    start_sync = sync_twin(start)

    def execution(self, name: str) -> Execution:
        """Give the execution of a name, whether there is one or not."""
        arn = f"{self.arn.replace(':stateMachine:', ':execution:', 1)}:{name}"
        return Execution(self.name, name, arn, self._caller)


class Execution:
    """An execution of a workflow. Made by `Workflow.start` and `Workflow.execution`, never by hand."""

    def __init__(self, workflow: str, name: str, arn: str, caller: Caller) -> None:
        self.workflow = workflow
        self.name = name
        self.arn = arn
        self._caller = caller

    def __repr__(self) -> str:
        return f"<forebay execution {self.name!r} of {self.workflow!r}>"

    async def result(self) -> Any:
        """Wait for the end of the execution, and give its output.

        Raises:
            ExecutionFailed: it failed, took too long or was stopped.
            ResourceNotFound: there is no such execution.
            OwnerLost: the app stopped first; the execution goes on when it starts again.
            AppClosed: the app is not running.

        """
        told = await self._caller.ask("execution.result", workflow=self.workflow, name=self.name)
        if told["status"] != "SUCCEEDED":
            raise ExecutionFailed(self.arn, told["status"], told["error"], told["cause"])
        return payload.loads(told["output"].encode())

    result_sync = sync_twin(result)

    async def describe(self) -> ExecutionDescription:
        """Tell where the execution stands.

        Raises:
            ResourceNotFound: there is no such execution.
            AppClosed: the app is not running.

        """
        return _description(await self._caller.ask("execution.describe", workflow=self.workflow, name=self.name))

    describe_sync = sync_twin(describe)

    async def history(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the events of the execution, as AWS's GetExecutionHistory has them; `timestamp` is in seconds since 1970.

        Raises:
            ResourceNotFound: there is no such execution.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_GetExecutionHistory.html

        """
        after = None
        while True:
            page = await self._caller.ask(
                "execution.history", workflow=self.workflow, name=self.name, limit=_PAGE, after=after
            )
            for event in page["events"]:
                yield event
            after = page["next"]
            if after is None:
                return

    async def stop(self, error: str | None = None, cause: str | None = None) -> None:
        """Stop the execution; one that is over stays as it is. A function that runs for it runs to its end.

        Args:
            error: what its description and history give as the error, at most 256 characters.
            cause: the error's cause, at most 32,768 characters.

        Raises:
            ResourceNotFound: there is no such execution.
            StoreFull: the disk is full; it was not stopped.
            AppClosed: the app is not running.

        """
        await self._caller.ask("execution.stop", workflow=self.workflow, name=self.name, error=error, cause=cause)

    stop_sync = sync_twin(stop)


def _description(told: dict[str, Any]) -> ExecutionDescription:
    output = told.get("output")
    return ExecutionDescription(
        name=told["name"],
        arn=told["arn"],
        status=told["status"],
        started=told["started_ms"] / 1000,
        stopped=None if told["stopped_ms"] is None else told["stopped_ms"] / 1000,
        input=payload.loads(told["input"].encode()),
        output=None if output is None else payload.loads(output.encode()),
        error=told["error"],
        cause=told["cause"],
    )

"""A declared workflow: a state machine in Amazon's language whose executions are durable."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from forebay._model import checks
from forebay._model.workflow import WorkflowSettings, failure_of, no_arns
from forebay._runtime import starters
from forebay._runtime.store_resource import StoreResource
from forebay._runtime.sync_twins import sync_twin
from forebay._wire import payload
from forebay.errors import ExecutionAlreadyExists, ExecutionFailed, InvalidParameterValue, ResourceConflict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from forebay._runtime.caller import Caller
    from forebay.integrations.serve import Integrations

_PAGE = 1000
_LIMIT = "the TimeoutSeconds of its workflow, which of a durable function is its execution_timeout"


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
        redrive_count: how often it was redriven.
        version: the version that it was started by; None: what was declared.
        alias: the alias that it was started by.

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
    redrive_count: int
    version: int | None
    alias: str | None


class Workflow(StoreResource[WorkflowSettings]):
    """A workflow. Made by `App.workflow`, never by hand."""

    integrations: Integrations | None = None
    """What its app calls for tasks, beside the store."""

    async def start(self, input: Any = None, name: str | None = None, *, qualifier: str | None = None) -> Execution:  # noqa: A002 - AWS's name
        """Start an execution; when this returns, it is durable.

        After a crash a Standard execution goes on from its last step. An Express execution that had not ended begins anew, and
        so may one that ended a moment before.

        Args:
            input: any JSON value, at most 262,144 bytes; None: {}.
            name: 1 to 80 characters; None: a new UUID. The same name and input again, while it runs, gives the same execution.
                Names of Express executions need not differ: each start is a new one.
            qualifier: the number of a version, or an alias; None: what is declared.

        Raises:
            InvalidParameterValue: a name or an input that cannot be, with AWS's text.
            ExecutionAlreadyExists: the name was used for another input, or its execution is over.
            ResourceNotFound: the engine has refused the workflow.
            TooManyRequests: too much waits for the disk, 100,000 Express executions are open, or `workflow_limits` allow no
                start now; nothing was started.
            StoreFull: the disk is full; nothing was started.
            StoreFailed: a write failed; whether it was started is unknown.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html

        """
        return await self._start(payload.argument("input", {} if input is None else input), name, qualifier)

    async def _start(self, text: str, name: str | None, qualifier: str | None = None) -> Execution:
        checks.optional_text("name", name)
        await self._declared()
        try:
            fields = {"workflow": self._asked(qualifier), "name": name, "input": text}
            started = payload.loads(await self._caller.start_execution("execution.start", fields))
        except ResourceConflict as error:
            raise ExecutionAlreadyExists(str(error)) from error
        return Execution(self.name, started["name"], started["arn"], self._caller)

    start_sync = sync_twin(start)

    def _asked(self, qualifier: str | None) -> str:
        checks.optional_text("qualifier", qualifier)
        return self.name if qualifier is None else f"{self.name}:{qualifier}"

    async def start_many(self, inputs: Iterable[Any], *, qualifier: str | None = None) -> list[Execution]:
        """Start several executions in one call, each with a new UUID as its name. An input that is refused refuses them all.

        Args:
            inputs: 1 to 10,000 JSON values, at most 262,144 bytes each and 32 MiB together.
            qualifier: the number of a version, or an alias, which chooses for each; None: what is declared.

        Raises:
            InvalidParameterValue: an input that cannot be, or too many of them, also for the whole bucket of `workflow_limits`;
                nothing was started.
            ResourceNotFound: the engine has refused the workflow.
            TooManyRequests: too much waits for the disk, 100,000 Express executions are open, or `workflow_limits` allow not so
                many starts now; nothing was started.
            StoreFull: the disk is full; nothing was started.
            StoreFailed: a write failed; whether they were started is unknown.
            AppClosed: the app is not running.

        """
        if isinstance(inputs, str | bytes | dict):
            checks.refuse_content("inputs", inputs, "allowed is a list, or another iterable, with one input each")
        texts = [payload.argument(f"inputs[{at}]", one) for at, one in enumerate(inputs)]
        await self._declared()
        fields = {"workflow": self._asked(qualifier), "inputs": texts}
        started = payload.loads(await self._caller.start_execution("execution.start_many", fields))
        return [Execution(self.name, one["name"], one["arn"], self._caller) for one in started]

    start_many_sync = sync_twin(start_many)

    async def start_sync_execution(
        self,
        input: Any = None,  # noqa: A002 - AWS's name
        name: str | None = None,
        *,
        qualifier: str | None = None,
    ) -> Any:
        """Run an execution of an Express workflow, and give its output. Nothing of it is written: a crash ends it.

        On a virtual clock it runs while the clock is moved: await this in a task, and `advance()` or `settle()` meanwhile.

        Args:
            input: any JSON value, at most 262,144 bytes; None: {}.
            name: 1 to 80 characters; None: a new UUID.
            qualifier: the number of a version, or an alias; None: what is declared.

        Raises:
            ExecutionFailed: it failed, took too long or was stopped.
            InvalidParameterValue: a name or an input that cannot be, or a Standard workflow.
            ResourceNotFound: the engine has refused the workflow.
            TooManyRequests: 100,000 Express executions are open.
            OwnerLost: the app stopped first; the execution is gone.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartSyncExecution.html

        """
        checks.optional_text("name", name)
        text = payload.argument("input", {} if input is None else input)
        await self._declared()
        fields = {"workflow": self._asked(qualifier), "name": name, "input": text}
        return _output(payload.loads(await self._caller.start_execution("execution.start_sync", fields)))

    start_sync_execution_sync = sync_twin(start_sync_execution)

    async def publish_version(self, description: str = "") -> int:
        """Keep what is declared as a version, and give its number. The same definition again is the same version.

        Args:
            description: what the version is for.

        Raises:
            ResourceNotFound: the engine has refused the workflow.
            ResourceConflict: the workflow has 1,000 versions.
            StoreFailed: a write failed; whether it was published is unknown.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_PublishStateMachineVersion.html

        """
        checks.text("description", description)
        await self._declared()
        version = await self._caller.ask("workflow.publish", name=self.name, description=description)
        return int(version["version"])

    publish_version_sync = sync_twin(publish_version)

    async def versions(self) -> dict[int, str]:
        """Give the versions by their numbers, the latest first, with their descriptions.

        Raises:
            ResourceNotFound: the engine has refused the workflow.
            AppClosed: the app is not running.

        """
        await self._declared()
        told = await self._caller.ask("workflow.versions", name=self.name)
        return {one["version"]: one["description"] for one in told["versions"]}

    versions_sync = sync_twin(versions)

    async def delete_version(self, version: int) -> None:
        """Delete a version. Executions of it that run go on.

        Raises:
            ResourceConflict: an alias leads to it.
            ResourceNotFound: the engine has refused the workflow.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_DeleteStateMachineVersion.html

        """
        await self._declared()
        await self._caller.ask("workflow.delete_version", name=self.name, version=version)

    delete_version_sync = sync_twin(delete_version)

    async def set_alias(self, name: str, routes: Mapping[int, int] | int) -> None:
        """Create an alias, or let it lead elsewhere. `start(qualifier=name)` takes the version that it leads to.

        Args:
            name: 1 to 80 characters, not all of them digits.
            routes: a version; or two of them with their weights, which add up to 100, as `{1: 90, 2: 10}`.

        Raises:
            InvalidParameterValue: a name or weights that cannot be.
            ResourceNotFound: there is no such version.
            ResourceConflict: the workflow has 100 aliases.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_CreateStateMachineAlias.html

        """
        checks.text("name", name)
        await self._declared()
        weights = {routes: 100} if isinstance(routes, int) else routes
        given = [{"version": version, "weight": weight} for version, weight in weights.items()]
        await self._caller.ask("workflow.alias", workflow=self.name, name=name, routes=given)

    set_alias_sync = sync_twin(set_alias)

    async def aliases(self) -> dict[str, dict[int, int]]:
        """Give the aliases by their names, each with the weights of its versions.

        Raises:
            ResourceNotFound: the engine has refused the workflow.
            AppClosed: the app is not running.

        """
        await self._declared()
        told = await self._caller.ask("workflow.versions", name=self.name)
        return {one["name"]: {route["version"]: route["weight"] for route in one["routes"]} for one in told["aliases"]}

    aliases_sync = sync_twin(aliases)

    async def delete_alias(self, name: str) -> None:
        """Delete an alias.

        Raises:
            ResourceNotFound: there is no such alias.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_DeleteStateMachineAlias.html

        """
        checks.text("name", name)
        await self._declared()
        await self._caller.ask("workflow.delete_alias", workflow=self.name, name=name)

    delete_alias_sync = sync_twin(delete_alias)

    def starter(self) -> Callable[[dict[str, Any], Any], Awaitable[None]]:
        """Give a handler for `App.on_queue` and `App.on_stream` that starts an execution for each message or record.

        The input is the record as Lambda's event has it, at most 262,144 bytes. A message's execution has the message's id as its
        name, and a record's has the stream, the shard, the sequence number and a digest: a batch that is tried again starts no
        Standard execution twice. An Express execution may start twice.

        What cannot be started comes back alone, and ends as a dead letter or at the mapping's `on_failure`: the mapping of a
        starter has `report_batch_item_failures`, and that of a stream `bisect_batch_on_function_error`, too.
        """

        async def start(event: dict[str, Any], _context: Any) -> None:
            await starters.start_each(self._start_once, self.name, event["Records"])

        start.__name__ = start.__qualname__ = re.sub(r"[^A-Za-z0-9_-]", "-", f"start-{self.name}")[:64]
        starters.mark(start)
        return start

    async def _start_once(self, text: str, name: str, record: dict[str, Any]) -> None:
        try:
            await self._start(text, name)
        except ExecutionAlreadyExists as error:
            # An earlier attempt at the batch may have started it; or it is somebody else's.
            if not starters.is_same(record, (await self.execution(name).describe()).input):
                raise ExecutionAlreadyExists(f"{error}; its input is another one") from error

    async def delete_state_machine(self) -> None:
        """Delete the workflow with its executions. The code must not declare it any more, or the next start makes a new one.

        Raises:
            ResourceConflict: executions of it run.
            ResourceNotFound: the workflow is already gone.
            StoreFailed: a write failed; whether it was deleted is unknown.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_DeleteStateMachine.html

        """
        await self._declared()
        await self._caller.ask("workflow.delete", name=self.name)

    delete_state_machine_sync = sync_twin(delete_state_machine)

    def execution(self, name: str) -> Execution:
        """Give the execution of a name, whether there is one or not.

        Raises:
            InvalidParameterValue: the name is no text.

        """
        checks.text("name", name)
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

        On a virtual clock it ends while the clock is moved, by `advance()` or `settle()`, and not by this.

        Raises:
            ExecutionFailed: it failed, took too long or was stopped.
            ResourceNotFound: there is no such execution.
            OwnerLost: the app stopped first; the execution goes on when it starts again.
            AppClosed: the app is not running.

        """
        return _output(await self._caller.ask("execution.result", workflow=self.workflow, name=self.name))

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
        """Yield the events of the execution; of an Express execution those that the workflow's `log_level` keeps.

        They are as AWS's GetExecutionHistory has them; `timestamp` is in seconds since 1970. One of the type `EventsLeftOut`
        stands for those that an Express execution has not kept.

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

    async def operations(self) -> list[dict[str, Any]]:
        """Give what the durable function of the execution has done so far; of one that is over, nothing.

        They are as AWS's GetDurableExecutionState has them; times are in milliseconds since 1970.

        Raises:
            ResourceNotFound: there is no such execution.
            AppClosed: the app is not running.

        """
        told = await self._caller.ask("durable.describe", workflow=self.workflow, name=self.name)
        return list(told["operations"])

    operations_sync = sync_twin(operations)

    async def stop(self, error: str | None = None, cause: str | None = None) -> None:
        """Stop the execution; one that is over stays as it is.

        A function that runs for it is stopped as at its timeout: a task is cancelled, a process is killed, and a thread runs to
        its end.

        Args:
            error: what its description and history give as the error, at most 256 characters.
            cause: the error's cause, at most 32,768 characters.

        Raises:
            InvalidParameterValue: an error or a cause that is too long.
            ResourceNotFound: there is no such execution.
            StoreFull: the disk is full; it was not stopped.
            AppClosed: the app is not running.

        """
        await self._caller.ask("execution.stop", workflow=self.workflow, name=self.name, **failure_of(error, cause))

    stop_sync = sync_twin(stop)

    async def redrive(self) -> None:
        """Let a Standard execution that failed go on from where it failed. What succeeded is not run again.

        It has the definition that it began with, and 14 days from its end it cannot be redriven any more.

        Raises:
            ResourceConflict: it runs, has succeeded, or ended too long ago.
            InvalidParameterValue: it is of an Express workflow.
            ResourceNotFound: there is no such execution.
            StoreFull: the disk is full; it stays as it is.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_RedriveExecution.html

        """
        await self._caller.ask("execution.redrive", workflow=self.workflow, name=self.name)

    redrive_sync = sync_twin(redrive)


def refusals(declared: Sequence[object], answers: Sequence[object]) -> list[BaseException]:
    """Give the errors among the answers to declarations; that of a workflow says which one, as AWS's texts do not.

    The first one, which is raised, has the others as notes.
    """
    errors: list[BaseException] = []
    for item, answer in zip(declared, answers, strict=True):
        if isinstance(item, Workflow) and isinstance(answer, InvalidParameterValue):
            hint = no_arns(item.settings.definition, str(answer))
            errors.append(checks.placed(answer, f"workflow {item.name!r}", hint))
        elif isinstance(answer, BaseException):
            errors.append(answer)
    for other in errors[1:]:
        errors[0].add_note(f"and {other}")
    return errors


def _output(told: dict[str, Any]) -> Any:
    if told["status"] == "TIMED_OUT" and told["error"] is None:
        # AWS gives such an end no error; who catches the exception is told which limit it was.
        limit = "five minutes, or the TimeoutSeconds of its workflow" if ":express:" in told["arn"] else _LIMIT
        raise ExecutionFailed(told["arn"], "TIMED_OUT", "States.Timeout", f"it took longer than {limit}")
    if told["status"] != "SUCCEEDED":
        raise ExecutionFailed(told["arn"], told["status"], told["error"], told["cause"])
    return payload.loads(told["output"].encode())


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
        redrive_count=told["redrive_count"],
        version=told.get("version"),
        alias=told.get("alias"),
    )

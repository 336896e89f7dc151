"""What an integration is: how tasks of workflows call services outside of the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Pattern = Literal["request", "sync", "sync2", "token"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCall:
    """A call that a task makes.

    Attributes:
        service: as "elasticmapreduce" or "aws-sdk:dynamodb".
        action: as "addStep", without its pattern.
        pattern: "request": the answer is the result. "sync", "sync2": the end of the job is, which the call has started.
            "token": what is sent for the task's token is.
        parameters: the task's arguments.
        id: names the call. It is the same when the call is made again after a crash: use it as an idempotency token.

    """

    service: str
    action: str
    pattern: Pattern
    parameters: dict[str, Any]
    id: str


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job has begun.

    Attributes:
        output: what the service answered.
        job: what the integration needs to ask for the job's end and to stop it, any JSON value. It is kept over a restart.

    """

    output: Any
    job: Any


@dataclass(frozen=True, slots=True)
class StillRunning:
    """A job has not ended.

    Attributes:
        after: seconds until it is asked about again, 0.001 to 60.

    """

    after: float = 5.0


class TaskError(Exception):
    """A task has failed. `Retry` and `Catch` look at its name.

    Attributes:
        error: the error's name, as "ElasticMapReduce.ClusterNotFoundException".
        cause: its cause.

    """

    def __init__(self, error: str, cause: str = "") -> None:
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause


class NotAnswered(TaskError):
    """A service has not answered, or does not do so now. A question about a job is asked again, and so is a stop."""


class Integration(Protocol):
    """Calls a service for tasks of workflows.

    A package offers one under the entry point group `forebay.workflow.integrations`, by the name of its service; an app takes one
    by `App.integrate`.
    """

    @property
    def resources(self) -> Sequence[str]:
        """Name what can be called: `SERVICE:ACTION` with the action's pattern, as "elasticmapreduce:addStep.sync"; `*` at the end
        stands for the rest.
        """

    async def call(self, call: ServiceCall) -> Any:
        """Make a call and give its result, or `Submitted` where the pattern is "sync" or "sync2".

        It may be made again after a crash: at least once.

        Raises:
            TaskError: the task has failed.

        """


@runtime_checkable
class NamesParameters(Protocol):
    """What an integration has beside that says which parameters its calls take. Others are refused."""

    @property
    def parameters(self) -> Mapping[str, Sequence[str]]:
        """Name the parameters of calls, by `SERVICE:ACTION` without a pattern. Other calls take any."""


@runtime_checkable
class RunsJobs(Protocol):
    """What an integration has beside whose calls start jobs."""

    async def poll(self, call: ServiceCall, job: Any) -> Any:
        """Give the result of a job that has ended, or `StillRunning`.

        Whatever else it raises leaves the question open: it is asked again after a pause, for as long as the task may take.

        Raises:
            TaskError: the job has failed.

        """

    async def stop(self, call: ServiceCall, job: Any) -> None:
        """Stop a job whose task was given up.

        Whatever else it raises leaves the job as it is: this is called again, three times in all.

        Raises:
            TaskError: the job cannot be stopped. That is logged, and not tried again.

        """


@runtime_checkable
class Walks(Protocol):
    """What an object store has beside that goes through a bucket once for all pages of a Map's run."""

    def walk(self, bucket: str, prefix: str, after: str) -> Iterator[dict[str, Any]]:
        """Give files in the order of their keys, as `list` does. It is called, and gone on with, in a thread."""


@runtime_checkable
class Sizes(Protocol):
    """What an object store has beside that knows how large a file is before it is read."""

    async def size(self, bucket: str, key: str) -> int:
        """Give a file's size in bytes.

        Raises:
            FileNotFoundError: there is none.

        """


@runtime_checkable
class Objects(Protocol):
    """Keeps files by bucket and key, for the readers and the writers of distributed Maps."""

    async def get(self, bucket: str, key: str) -> bytes:
        """Give a file's bytes.

        Raises:
            FileNotFoundError: there is none.

        """

    async def put(self, bucket: str, key: str, data: bytes) -> None:
        """Write a file, whole or not at all."""

    async def list(self, bucket: str, prefix: str, after: str, limit: int) -> list[dict[str, Any]]:
        """List files in the order of their keys, as ListObjectsV2 does: `Key`, `Size`, `LastModified`, `Etag`.

        Raises:
            FileNotFoundError: there is no such bucket.

        """

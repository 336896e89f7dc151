"""Settings of an app, a function and a stream: frozen, and valid once they exist."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from forebay._model import checks, limits, names, store_place
from forebay._model.asynchronous import AsynchronousSettings
from forebay._model.concurrency import PROFILES, Scaling, rate, scaling
from forebay._model.environments import Environments
from forebay._model.workflow import NO_LIMITS, WorkflowLimits, workflow_limits

if TYPE_CHECKING:
    from collections.abc import Iterable

Durability = Literal["power-loss", "process-crash", "memory"]
Serve = Literal["elect"] | bool
Isolation = Literal["task", "thread", "process"]


DEFAULT_ENVIRONMENTS: Final = Environments()


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    """What an app is made with."""

    name: str
    store: str
    region: str
    account: str
    concurrency: int
    durability: Durability
    serve: Serve
    unreserved_minimum: int = limits.UNRESERVED_MINIMUM
    scaling: Scaling = PROFILES["2023"]
    requests_per_second: float | None = None
    workflow_limits: WorkflowLimits = NO_LIMITS
    store_app: str | None = None
    """The app whose store it is; None: this one."""
    metrics: bool = True
    """False: count nothing, to measure what counting costs. `App` has no such option: the bench alone sets it."""

    def __post_init__(self) -> None:
        names.app_name(self.name)
        if self.store_app is not None:
            names.app_name(self.store_app, "store_app")
        names.region(self.region)
        names.account(self.account)
        checks.integer("concurrency", self.concurrency, low=1, high=limits.CONCURRENCY_MAX)
        checks.integer("unreserved_minimum", self.unreserved_minimum, low=0, high=limits.CONCURRENCY_MAX)
        object.__setattr__(self, "scaling", scaling(self.scaling))
        rate("requests_per_second", self.requests_per_second)
        object.__setattr__(self, "workflow_limits", workflow_limits(self.workflow_limits))
        checks.one_of("durability", self.durability, ("power-loss", "process-crash", "memory"))
        if self.serve is not True and self.serve is not False and self.serve != "elect":
            checks.refuse("serve", self.serve, "allowed are 'elect', True and False")
        if not isinstance(self.store, str) or not self.store:
            allowed = "a directory, ':memory:', or a URL as text: postgresql://user@host/database"
            checks.refuse("store", self.store, allowed)
        if (refusal := store_place.refusal(self.store)) is not None:
            checks.refuse("store", self.place, refusal)
        object.__setattr__(self, "store", store_place.plain(self.store))
        if store_place.is_on_server(self.store) and self.durability == "memory":
            checks.refuse("durability", self.durability, "of a store on a server: 'power-loss' or 'process-crash'")

    @property
    def is_on_server(self) -> bool:
        """Whether the store is on a PostgreSQL server."""
        return store_place.is_on_server(self.store)

    @property
    def place(self) -> str:
        """Where the store is, for logs and errors: without the password."""
        return store_place.shown(self.store)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSettings:
    """What a function is declared with."""

    name: str
    timeout: float
    isolation: Isolation
    asynchronous: AsynchronousSettings = field(default_factory=AsynchronousSettings)
    memory: int | None = None
    reserved_concurrency: int | None = None
    provisioned_concurrency: int = 0
    rate_limit: float | None = None
    environments: Environments = DEFAULT_ENVIRONMENTS
    command: tuple[str, ...] | None = None
    """What is run instead of a Python handler."""

    def __post_init__(self) -> None:
        names.function_name(self.name)
        if self.reserved_concurrency is not None:
            checks.integer("reserved_concurrency", self.reserved_concurrency, low=0, high=limits.CONCURRENCY_MAX)
        checks.integer("provisioned_concurrency", self.provisioned_concurrency, low=0, high=limits.CONCURRENCY_MAX)
        rate("rate_limit", self.rate_limit)
        self._check_environments()
        timeout = checks.seconds("timeout", self.timeout, low=0.001, high=limits.TIMEOUT_SECONDS_MAX)
        object.__setattr__(self, "timeout", timeout)

    def _check_environments(self) -> None:
        if self.isolation != "process":
            given = (("memory", self.memory, None), ("environments", self.environments, DEFAULT_ENVIRONMENTS))
            for option, value, default in given:
                if value != default:
                    checks.refuse(option, value, "it is a process's; give isolation='process' as well, or leave it out")
            return
        if self.memory is not None:
            low, high = limits.MEMORY_MEBIBYTES_MIN, limits.MEMORY_MEBIBYTES_MAX
            checks.integer("memory", self.memory, low=low, high=high)
        if not isinstance(self.environments, Environments):
            checks.refuse("environments", self.environments, "a forebay.Environments, or None")
        most = self.environments.maximum or limits.ENVIRONMENTS_MAX
        checks.integer("provisioned_concurrency", self.provisioned_concurrency, low=0, high=most)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """What a stream is declared with."""

    name: str
    shards: int = limits.SHARDS_DEFAULT
    retention: float = limits.RETENTION_SECONDS_DEFAULT
    retention_bytes: int | None = None

    def __post_init__(self) -> None:
        names.stream_name(self.name)
        checks.integer("shards", self.shards, low=1, high=limits.SHARDS_MAX)
        object.__setattr__(self, "retention", retention(self.retention))
        if self.retention_bytes is not None:
            retention_bytes(self.retention_bytes)


def command_line(value: Iterable[str]) -> tuple[str, ...]:
    """Check a program and its arguments."""
    parts = () if isinstance(value, str) else tuple(value)
    if not parts or not all(isinstance(part, str) for part in parts):
        checks.refuse("command", value, "a list of texts: the program and its arguments")
    return parts


def retention(value: checks.Seconds) -> float:
    """Check how long a stream keeps its records."""
    low, high = limits.RETENTION_SECONDS_MIN, limits.RETENTION_SECONDS_MAX
    return checks.seconds("retention", value, low=low, high=high)


def retention_bytes(value: int) -> int:
    """Check how many bytes of records a stream keeps."""
    return checks.integer("retention_bytes", value, low=limits.RETENTION_BYTES_MIN, high=2**60)

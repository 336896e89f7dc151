"""The extension module: forebay's core and engine, in Rust. Private; held to the binary by stubtest."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from datetime import timedelta
from os import PathLike
from typing import Any, Generic, Literal, Self, TypeAlias, TypedDict, final

from typing_extensions import Buffer, TypeVar, disjoint_base

from forebay.clock import Clock
from forebay.dbproxy.effect import Effect

__all__ = [
    "Batch",
    "Engine",
    "FifoBatch",
    "FifoBatcher",
    "Histogram",
    "Member",
    "Message",
    "Record",
    "StatementJudge",
    "TokenBucket",
    "__version__",
    "backup_store",
    "check_alias",
    "check_api",
    "check_event_rule",
    "check_filter_policy",
    "check_filters",
    "check_limits",
    "check_queue_filters",
    "check_schema",
    "compare_schemas",
    "debug_build",
    "drain_on_server",
    "end_with_parent",
    "examine_store",
    "failpoints",
    "infer_schema",
    "limits",
    "loads",
    "look_at_server",
    "messages",
    "metrics_catalogue",
    "migrate_store",
    "misfit",
    "move_on_server",
    "non_finite",
    "play_workflow",
    "rates",
    "read_items",
    "read_openapi",
    "salvage_store",
    "split_statements",
    "test_event_pattern",
    "test_state",
    "unmark_store",
    "upcoming",
    "wire_services",
]

__version__: str
debug_build: bool
failpoints: bool
# AWS's limits and ours, by the names in rust/engine/src/base/limits.rs.
limits: dict[str, int]
rates: dict[str, tuple[float, float]]
wire_services: dict[str, bool]  # services of AWS's wire API; whether a method of an API reaches them

# One piece of work, as `Engine.exchange` gives it: (token, handler_id, kind, event, request_id, deadline_ms, traces, qualifier).
#   kind 0  invocation: `event` is the payload, JSON bytes; kind 7: the same of an asynchronous event, or of a workflow's task
#   kind 1  batch of a stream or a queue as Lambda's event dict; kind 2: as a `Batch`
#   kind 3  the attempt `token` is past its deadline: stop it (event is None); it must still be settled when it has ended
#   kind 5  the same, since the app stops or another process is to own the store
#   kind 4  deliver a failure record: `handler_id` names the destination, `event` is the record, JSON bytes
# `handler_id`: of a function or destination; `deadline_ms`: wall time; `traces`, `qualifier` (version, alias): of it, or None.
Work: TypeAlias = tuple[int, int, int, Any, str, int, tuple[str, ...] | None, str | None]

# How an attempt ended: (token, status, body, duration_ns).
#   status 0  returned; `body` is the response as JSON bytes, or None for None
#   status 1  raised; `body` is Lambda's error object, JSON bytes; for kind 4: not confirmed, `body` is the error's text
#   status 2  stopped after its deadline; status 3: never reached the function, and no attempt is used; status 4: interrupted
Outcome: TypeAlias = tuple[int, int, bytes | None, int]

# What became of a ticket: (ticket, ok, result or exception). Ticket 0 is nobody's: the error of a store, or JSON to be logged.
Resolved: TypeAlias = tuple[int, bool, Any]

def end_with_parent(parent: int) -> None:
    """Be killed when the process `parent`, which must be this one's parent, dies. For execution environments."""

def check_alias(name: str, version: str, weights: dict[str, float], provisioned: int) -> list[tuple[str, int]]:
    """Refuse an alias that there cannot be; give its versions and their shares of what is provisioned."""

def check_api(app: str, definition: bytes) -> str:
    """Refuse the definition of an API, JSON, that cannot be served; give the API's id."""

def read_openapi(document: str) -> str:
    """Read an OpenAPI document as what an HTTP API is declared with, JSON; refuse what cannot be, a line for each thing."""

def check_limits(concurrency: int, unreserved_minimum: int, functions: list[tuple[int | None, int]]) -> None:
    """Refuse functions' (reserved, provisioned) concurrency that an account has not, with AWS's text."""

# Refuse filter patterns (JSON) that no mapping on a stream or a queue can have, and settings of `rule.put` that no rule can have.
def check_filters(patterns: list[str]) -> None: ...
def check_queue_filters(patterns: list[str]) -> None: ...
def check_event_rule(settings: bytes) -> None: ...
def examine_store(store: str | PathLike[str]) -> bytes:
    """Check every byte of the store in a directory, also while its owner runs; gives `Report` of the engine's doctor, JSON."""

# Copies a store into a new or empty directory, also while its owner runs; gives `Copied` of the engine's backup, JSON. `progress`
# is called with the bytes that are copied and all bytes; its exception, or a signal's, ends it. The other copies what is whole
# into a new store, as JSON tells (`Salvage` of the engine's doctor).
def backup_store(store: str | PathLike[str], into: str | PathLike[str], progress: _Progress) -> bytes: ...
def salvage_store(store: str | PathLike[str], into: str | PathLike[str]) -> bytes: ...
def check_filter_policy(policy: str, body: bool) -> None:
    """Refuse a filter policy, a JSON text, that no subscription can have; `body`: it looks at the body and not at attributes."""

def test_event_pattern(pattern: str, event: str) -> tuple[bool, list[tuple[str, str, str, str]]]:
    """Test an event, or some of its fields, against a bus rule's pattern, both JSON texts.

    Gives whether it matches, and if not, each field that fails: its path, the pattern's conditions, the event's values as JSON
    (empty if it is absent), and what is wrong, in words. What no event or pattern can be is refused with EventBridge's text.
    """

def upcoming(
    expression: str,
    *,
    rule: bool,
    count: int,
    after_ms: int,
    zone: str = "UTC",
    enabled_ms: int | None = None,
    start_ms: int | None = None,
    end_ms: int | None = None,
) -> list[int]:
    """Check a schedule and give its next due times after `after_ms`, at most `count`, in milliseconds since 1970.

    `rule`: it is read as AWS's rules read it, and not as its Scheduler does. A rate counts from `start_ms`, else `enabled_ms`,
    else `after_ms`. Nothing is due before `start_ms` or after `end_ms`. A mistake is refused with AWS's text.
    """

def play_workflow(
    definition: str,
    machine_type: str,
    services: bytes,
    given: str,
    call: Callable[[str, str, str], tuple[str | None, str | None, str | None, int]],
    items: str | None,
    moment: tuple[int, int],
) -> tuple[str, str | None, str | None, str | None, str, int]:
    """Play an execution; give status, output, error, cause, histories and how many ms it took. Its own history is first.

    `services` are those of `integration.declare`, JSON: what no app starts with that has them is refused.
    `call` takes a state's name, its resource and the arguments; its answer has ms at its end. `moment`: ms since 1970, a seed.
    """

def read_items(form: str, file: bytes, items_max: int | None) -> list[bytes]:
    """Read the items of a distributed Map out of a file, each as JSON; `form` is the JSON of how it is read."""

def test_state(
    request: str, result: str | None, error: str | None, cause: str | None, moment: tuple[int, int]
) -> tuple[str, bool]:
    """Answer TestState at a moment, ms, with a seed; or give what the state calls, and False. Refuse as AWS does."""

def infer_schema(samples: list[str], schema_format: str) -> str:
    """Infer a schema from samples, JSON texts of objects, as AWS does. Those that are events need one source and detail-type."""

def check_schema(content: str, schema_format: str) -> list[str]:
    """Refuse a schema that no registry can have; give the places of its keywords that `misfit` cannot check, as `pattern`."""

def compare_schemas(old: str, old_format: str, new: str, new_format: str) -> list[tuple[str, bool]]:
    """Tell what changed between two schemas, each with whether code that was written for the old one may fail."""

def misfit(event: str, content: str, schema_format: str) -> tuple[str, str] | None:
    """Hold an event against a schema: None if it fits, else the place and what is wrong there."""

def loads(text: bytes | str, /) -> Any:
    """Read JSON, also whole numbers over 64 bits. ValueError: it is none, or a number has over 4,300 digits, as Python allows."""

def non_finite(value: object, text: bytes | None = None, /) -> str | None:
    """Find the first NaN or infinity, such as "NaN at $.a[3]". `text`: what orjson made of it; without null it has none."""

def messages(answer: bytes) -> list[Message]: ...
def metrics_catalogue() -> bytes: ...

_Progress: TypeAlias = Callable[[int, int], object]
# Messages to be sent: body, group, deduplication id, delay in milliseconds, attributes (name, type, value).
_NewMessages: TypeAlias = list[tuple[str, str | None, str | None, int | None, list[tuple[str, str, str]]]]
_Records: TypeAlias = Iterable[tuple[bytes | str, str]]
# A ticket, an int; or the answer, of an engine that waits: JSON, a number of a record or a list of them, a request id.
_Asked: TypeAlias = Any

@final
class Member:
    """One process among those that share a store on a server. The settings are those of an engine."""

    def __new__(cls, settings: bytes) -> Member: ...
    def stopped(self) -> None: ...  # nothing runs any more of the time before the store was lost: it may be taken again
    @property
    def hands_over(self) -> bool: ...  # another process is wanted as the owner of the store that this one owns
    def decline(self) -> None: ...  # what it ran before the store was lost still runs: another is to own the store
    def accept(self) -> None: ...  # that has ended: this one may own the store again
    def has_stopped(self, engine: Engine) -> None: ...  # all that it ran for an owner by this client, which is closed
    def leave(self) -> None: ...

# Of a store on a server: its promises, owner and members, JSON; what an operator wants of a member, False where it is none.
def look_at_server(url: str, app: str | None = None) -> bytes: ...
def move_on_server(url: str, member: str) -> bool: ...
def drain_on_server(url: str, member: str, drained: bool) -> bool: ...

# Gives the app, the records and rows copied now, and those of earlier runs. `progress` is told the sums; its exception stops it.
def migrate_store(
    source: str, target: str, app: str | None, progress: _Progress
) -> tuple[str, int, int, int, int] | None: ...
def unmark_store(store: str, app: str | None) -> str | None: ...  # where a migration had copied it to

@final
class Engine:
    """One process's end of a store: its owner, or a client of the owner."""

    def __new__(cls, settings: bytes, member: Member | None = None) -> Engine: ...
    @property
    def role(self) -> Literal["owner", "client", "standby"]: ...  # standby: its owner is elsewhere, and it refuses all
    def asks(self) -> str | None: ...  # the name of the process that owns the store, where several share it
    @property
    def fencing_token(self) -> int | None: ...  # None: no other process can take the store, or this one runs nothing
    def fileno(self) -> int: ...
    def quiet(self) -> None: ...
    def start(self) -> None: ...
    def drain(self) -> bool: ...  # False: requests of APIs are on their way, so it is to be called again
    def idle(self) -> bool: ...
    def interrupt(self) -> None: ...  # what other processes run for this one, the owner: it will be run again
    def close(self) -> None: ...
    def forked(self) -> None: ...
    def function(self, settings: bytes) -> int: ...
    def waiting(self) -> Engine:
        """Give the same engine with calls that wait: each gives the answer that otherwise comes by `exchange` for its ticket."""
    def put(self, stream: str, key: str, data: bytes | str, trace: str | None = None) -> _Asked: ...
    def put_many(self, stream: str, records: _Records, trace: str | None = None) -> _Asked: ...
    def send(self, queue: str, messages: _NewMessages, parent: str | None, trace: str | None = None) -> _Asked: ...
    def invoke(self, function: str, payload: bytes, trace: str | None = None) -> _Asked: ...
    def invoke_async(self, function: str, payload: bytes, parent: str | None, trace: str | None = None) -> _Asked: ...
    def request(self, verb: str, body: bytes) -> _Asked: ...
    def exchange(self, outcomes: list[Outcome], maximum: int) -> tuple[list[Work], list[Resolved]]: ...
    def environments_at_work(self) -> list[tuple[str, str]]: ...
    def execution_of(self, token: int) -> tuple[str, str | None] | None: ...  # of a workflow's task: its ARN, its state
    def tail(self, request_id: str, text: str) -> bool: ...  # whether the lines of any invocation are wanted
    def turn(self, mono_ns: int, wall_ms: int, entropy: int) -> int | None: ...

# A `Batch` that does not say of what it is holds anything, as far as a type checker knows.
_Item_co = TypeVar("_Item_co", bound=Record | Message, default=Any, covariant=True)

@final
class Batch(Generic[_Item_co]):
    """A batch, undecoded: a lazy sequence of a stream's records, `Batch[Record]`, or of a queue's messages, `Batch[Message]`."""

    @staticmethod
    def _decode(encoded: bytes) -> Batch[Record]: ...
    @staticmethod
    def _of_event(event: bytes) -> Batch[Message]: ...
    def __class_getitem__(cls, key: Any) -> Any: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> _Item_co: ...
    def __iter__(self) -> Iterator[_Item_co]: ...
    def fail(self, item: Record | Message) -> None: ...
    @property
    def failures(self) -> list[str]: ...
    @property
    def stream(self) -> str | None:
        """The stream; None for messages of a queue."""
    @property
    def shard_id(self) -> str | None: ...
    @property
    def queue(self) -> str | None:
        """The queue; None for records of a stream."""
    @property
    def source_arn(self) -> str: ...
    @property
    def window(self) -> dict[str, Any] | None: ...
    @property
    def state(self) -> Any: ...

@final
class Record:
    """One record of a stream."""

    @property
    def data(self) -> bytes: ...
    @property
    def partition_key(self) -> str: ...
    @property
    def sequence_number(self) -> str: ...
    @property
    def approximate_arrival_timestamp(self) -> float: ...
    @property
    def trace_context(self) -> dict[str, str] | None:
        """W3C's headers of where it was put; None if nothing was traced there."""
    def json(self) -> Any:
        """Read the data as JSON; whole numbers keep all their digits. Refuses NaN and Infinity, too, with ValueError."""

@final
class Message:
    """One message of a queue."""

    @property
    def body(self) -> str: ...
    def json(self) -> Any:
        """Read the body as JSON; whole numbers keep all their digits. Refuses NaN and Infinity, too, with ValueError."""
    @property
    def message_id(self) -> str:
        """A UUID, the same over all receives and moves."""
    @property
    def receipt_handle(self) -> str:
        """Names this receive, for `Queue.delete` and `Queue.change_visibility`."""
    @property
    def group_id(self) -> str | None:
        """Message group; None in a standard queue."""
    @property
    def deduplication_id(self) -> str | None:
        """Deduplication id; None in a standard queue."""
    @property
    def sequence_number(self) -> str | None:
        """20 digits that grow from message to message; None in a standard queue."""
    @property
    def receive_count(self) -> int:
        """Times it was received, this one included."""
    @property
    def sent_timestamp(self) -> float:
        """Seconds since 1970."""
    @property
    def dead_letter_source(self) -> str | None:
        """The queue whose dead letter it is; None if it is none."""
    @property
    def trace_context(self) -> dict[str, str] | None:
        """W3C's headers of where it was sent; None if nothing was traced there."""
    @property
    def attributes(self) -> dict[str, str | int | float | bytes]: ...

@final
class Histogram:
    """Any percentile of recorded numbers, within 0.1%, in bounded memory.

    It takes plain numbers without a unit. From 1e-9 to 1e9 a percentile is within 0.1% of the exact one, and a value of up to
    three significant digits comes back as it was recorded. Zero is exact. Values above zero and below 1e-9, or above 1e9, are
    counted in `below` and `above`: among them a percentile is 1e-9, or the greatest value. Count, sum, mean, smallest and
    greatest value are exact everywhere. It grows with the spread of the values, to 1 MB at most. Threads may share it.
    """

    def __new__(cls) -> Histogram: ...
    def record(self, value: float) -> None:
        """Record one value.

        Raises:
            InvalidParameterValue: it is NaN, infinite or below 0.

        """
    def record_many(self, values: Iterable[float] | Buffer) -> None:
        """Record many values: an iterable, or fastest a buffer of 64-bit floats (`array("d")`, a NumPy array).

        Raises:
            InvalidParameterValue: one of them is NaN, infinite or below 0; then none is recorded.

        """
    def percentile(self, percent: float) -> float | None:
        """Give the percentile by nearest rank, or None when nothing was recorded.

        Percentile 0 is the smallest value and 100 the greatest. Decimals after the tenth are rounded.

        Raises:
            InvalidParameterValue: `percent` is not from 0 to 100.

        """
    def percentile_rank(self, above: float, up_to: float) -> float | None:
        """Give the share of values above the one and up to and including the other, in percent; None when there are none."""
    def trimmed_mean(self, lower: float, upper: float) -> float | None:
        """Give the mean of the values between two percentiles; a value on a cut counts in part.

        Raises:
            InvalidParameterValue: the percentiles are not from 0 to 100, the lower one first.

        """
    def winsorized_mean(self, lower: float, upper: float) -> float | None:
        """Give the mean after moving values outside two percentiles to them.

        Raises:
            InvalidParameterValue: the percentiles are not from 0 to 100, the lower one first.

        """
    def interquartile_mean(self) -> float | None:
        """Give the mean of the middle half of the values."""
    def merge(self, other: Histogram) -> None:
        """Add everything another histogram holds."""
    def subtract(self, other: Histogram) -> None:
        """Take away everything another histogram holds; `min` and `max` are then known to 0.1%.

        Raises:
            InvalidParameterValue: the other one holds something that is not here.

        """
    def to_bytes(self) -> bytes:
        """Give the histogram as bytes, in a format that later versions read."""
    @staticmethod
    def from_bytes(data: bytes) -> Histogram:
        """Read what `to_bytes` gave.

        Raises:
            InvalidParameterValue: the bytes are damaged, or of a later version.

        """
    @property
    def count(self) -> int: ...
    @property
    def sum(self) -> float: ...
    @property
    def mean(self) -> float | None:
        """Arithmetic mean."""
    @property
    def min(self) -> float | None:
        """Smallest value."""
    @property
    def max(self) -> float | None:
        """Greatest value."""
    @property
    def zero(self) -> int: ...
    @property
    def below(self) -> int:
        """Number of values above zero and below 1e-9."""
    @property
    def above(self) -> int:
        """Number of values above 1e9."""
    def __len__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...

class BucketState(TypedDict):
    """What a token bucket keeps of itself."""

    tokens: int
    """Whole tokens."""
    billionths: int
    """Billionths of one."""
    time: float
    """When, in seconds since 1970: what has flowed in since then is added on return."""

def split_statements(engine: str, text: str) -> list[str] | None: ...  # None: it cannot be read to its end

@final
class StatementJudge:
    """Judges what statements do to their session: see ``rust/bindings/src/session.rs``."""

    def __new__(cls, engine: str, make: Callable[..., Effect], clean_functions: list[str]) -> Self: ...
    def judge(self, sql: str, context: int = 0, has_arguments: bool = False, rows: str | None = None, /) -> Effect: ...
    def context(self, mode: str | None = None, database: str | None = None, /) -> int: ...
    def database(self, context: int) -> str: ...
    def rebase(self, mode: str, database: str) -> None: ...
    def generation(self) -> int: ...
    def learn(
        self, generation: int, context: int, names: Sequence[str], rows: Sequence[tuple[str, str, str]]
    ) -> None: ...
    def forget(self, context: int | None = None, /) -> None: ...
    def digest(self, sql: str, context: int = 0, /) -> str: ...

@disjoint_base
class TokenBucket:
    """All of `forebay.TokenBucket` that does not wait."""

    def __new__(
        cls, rate: float, burst: int, clock: Clock | None = None, *, state: BucketState | None = None
    ) -> Self: ...
    def try_acquire(self, n: int = 1) -> bool:
        """Take `n` tokens if all of them are there and nobody waits in `acquire`; tell whether they were taken.

        Raises:
            InvalidParameterValue: `n` is not from 1 to `burst`.

        """
    def time_until(self, n: int = 1) -> float:
        """Give the seconds until `n` tokens are there, if nobody else takes any; 0.0 when they are.

        Raises:
            InvalidParameterValue: `n` is not from 1 to `burst`.

        """
    def update(self, *, rate: float | None = None, burst: int | None = None) -> None:
        """Change rate or burst from now on; tokens that are there stay, as far as the new burst holds them."""
    def state(self) -> BucketState:
        """Give the state to keep, a dict that JSON can carry: `TokenBucket(rate, burst, state=…)` goes on from it."""
    @property
    def tokens(self) -> float:
        """Tokens that are there."""
    @property
    def rate(self) -> float:
        """Tokens that flow in each second."""
    @property
    def burst(self) -> int:
        """Most tokens there can be."""
    def _join(self) -> None: ...
    def _leave(self) -> None: ...
    def _take(self, n: int) -> bool: ...

_Id = TypeVar("_Id", bound=Hashable)

@final
class FifoBatcher(Generic[_Id]):
    """Batches of messages whose order inside a group is kept: the rule of a FIFO queue, in front of any broker.

    A batch takes as many messages as possible from one group that has nothing in flight, then fills up from other groups. No
    two batches of one group are ever in flight. Groups are served in turn: with `r` groups ready before it, a group is served
    in the `r + 1`-th batch at the latest. Nothing is scanned: a group of a million messages that is held back hides no other
    and costs nothing.

    It keeps ids only, in memory: 12 bytes and an entry of a dict for a message, about 120 bytes and its name for a group that
    has messages. Threads may share it.

    Args:
        maximum_messages: most messages, waiting and in flight together, from 1 to 1,000,000,000.
        clock: a forebay clock, such as `forebay.testing.VirtualClock`; None for the machine's.

    Raises:
        InvalidParameterValue: `maximum_messages` is out of its range.

    """

    def __new__(cls, *, maximum_messages: int = 1_000_000, clock: Clock | None = None) -> Self: ...
    def put(self, message_id: _Id, group: str, *, delay: float | timedelta | None = None) -> None:
        """Add a message at the end of its group.

        Args:
            message_id: what names the message; an id may be there twice.
            group: its message group.
            delay: how long it cannot be taken, 0 to 43,200 seconds; those behind it in its group wait with it.

        Raises:
            TooManyRequests: there are `maximum_messages` already; nothing was added.
            InvalidParameterValue: `delay` is out of its range.
            TypeError: `message_id` is not hashable.

        """
    def take(self, maximum: int = 10) -> FifoBatch[_Id] | None:
        """Take a batch of up to `maximum` messages; None when no group is ready.

        The batch must be given to `settle`. One that is dropped instead comes back whole.

        Raises:
            InvalidParameterValue: `maximum` is below 1.

        """
    def settle(
        self, batch: FifoBatch[_Id], failed: Iterable[_Id] | None = None, *, delay: float | timedelta | None = None
    ) -> list[_Id]:
        """Settle a batch and give the ids that are done: those to acknowledge to the broker.

        A failed message comes back, and so does every message of its group behind it in the batch, done or not, since it must
        not be done before it. They stand before everything their group received meanwhile. Other groups of the batch are done.

        Args:
            batch: what `take` gave.
            failed: ids that failed; of an id that is in the batch twice, both.
            delay: how long what comes back cannot be taken, 0 to 43,200 seconds. It holds its groups back and no others.

        Raises:
            InvalidParameterValue: the batch is already settled or another batcher's, an id is not in it, or `delay` is out
                of its range. Nothing has changed then.

        """
    def time_until_ready(self) -> float | None:
        """Give the seconds until `take` may give something: 0.0 when it would, None when nothing is waited for but calls."""
    @property
    def visible(self) -> int:
        """Messages that wait and are not delayed, those of groups held back included."""
    @property
    def delayed(self) -> int:
        """Messages that wait for their delay to end."""
    @property
    def in_flight(self) -> int: ...
    @property
    def groups(self) -> int: ...
    @property
    def maximum_messages(self) -> int:
        """Most messages, waiting and in flight together."""
    def __len__(self) -> int:
        """Give the number of messages, waiting and in flight."""
    def __class_getitem__(cls, key: Any) -> Any: ...

@final
class FifoBatch(Generic[_Id]):
    """Messages taken together. Once settled, it is empty of everything but that fact."""

    @property
    def ids(self) -> list[_Id]:
        """Ids in the order in which they must be done; those of a group stand together."""
    @property
    def groups(self) -> dict[str, list[_Id]]:
        """Ids by group, each in order. Groups may be worked on at the same time."""
    @property
    def settled(self) -> bool:
        """Whether it was settled; then `ids` and `groups` raise InvalidParameterValue."""
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[_Id]: ...
    def __class_getitem__(cls, key: Any) -> Any: ...

"""forebay: AWS Lambda's event side in your own process."""

import importlib.util
import typing
import warnings

from forebay import _core
from forebay._core import Batch, FifoBatch, FifoBatcher, Histogram, Message, Record
from forebay.errors import (
    AppClosed,
    AuthenticationFailed,
    BorrowTimeout,
    ClientClosed,
    ClockStalled,
    CommitUnknown,
    ConnectionLost,
    DatabaseError,
    DatabaseUnavailable,
    DBProxyError,
    ExecutionAlreadyExists,
    ExecutionFailed,
    ForebayError,
    FunctionError,
    InvalidParameterValue,
    OwnerLost,
    QueryTimeout,
    RequestTooLarge,
    ResourceConflict,
    ResourceNotFound,
    ResultNotReady,
    StoreCorrupt,
    StoreError,
    StoreFailed,
    StoreFull,
    StoreLocked,
    StoreNewerFormat,
    TooManyClients,
    TooManyRequests,
)

if typing.TYPE_CHECKING:
    from forebay._model.concurrency import Scaling
    from forebay._model.environments import Environments
    from forebay._model.gateway import Cors, FunctionUrl
    from forebay._model.mapping import Backoff
    from forebay._model.workflow import WorkflowLimits
    from forebay._runtime.context import Context
    from forebay.activity import Activity, ActivityTask
    from forebay.alias import Alias
    from forebay.api_destination import ApiDestination
    from forebay.app import App
    from forebay.archive import Archive, Replay, ReplayStatus
    from forebay.bus import Bus, Event
    from forebay.dbproxy import DBProxy, EnvSecret, FileSecret
    from forebay.destinations import JSONLines
    from forebay.function import Function
    from forebay.http_api import HttpApi
    from forebay.mapping import Mapping
    from forebay.queue import Depth, Queue
    from forebay.registry import Registry, SchemaVersion
    from forebay.rest_api import RestApi
    from forebay.stream import Stream
    from forebay.token_bucket import TokenBucket
    from forebay.topic import Topic
    from forebay.websocket_api import Connection, WebSocketApi
    from forebay.workflow import Execution, ExecutionDescription, Workflow

__all__ = [
    "Activity",
    "ActivityTask",
    "Alias",
    "ApiDestination",
    "App",
    "AppClosed",
    "Archive",
    "AuthenticationFailed",
    "Backoff",
    "Batch",
    "BorrowTimeout",
    "Bus",
    "ClientClosed",
    "ClockStalled",
    "CommitUnknown",
    "Connection",
    "ConnectionLost",
    "Context",
    "Cors",
    "DBProxy",
    "DBProxyError",
    "DatabaseError",
    "DatabaseUnavailable",
    "Depth",
    "EnvSecret",
    "Environments",
    "Event",
    "Execution",
    "ExecutionAlreadyExists",
    "ExecutionDescription",
    "ExecutionFailed",
    "FifoBatch",
    "FifoBatcher",
    "FileSecret",
    "ForebayError",
    "Function",
    "FunctionError",
    "FunctionUrl",
    "Histogram",
    "HttpApi",
    "InvalidParameterValue",
    "JSONLines",
    "Mapping",
    "Message",
    "OwnerLost",
    "QueryTimeout",
    "Queue",
    "Record",
    "Registry",
    "Replay",
    "ReplayStatus",
    "RequestTooLarge",
    "ResourceConflict",
    "ResourceNotFound",
    "RestApi",
    "ResultNotReady",
    "Scaling",
    "SchemaVersion",
    "StoreCorrupt",
    "StoreError",
    "StoreFailed",
    "StoreFull",
    "StoreLocked",
    "StoreNewerFormat",
    "Stream",
    "TokenBucket",
    "TooManyClients",
    "TooManyRequests",
    "Topic",
    "WebSocketApi",
    "Workflow",
    "WorkflowLimits",
    "__version__",
]

__version__ = _core.__version__

_LATER = {
    "Activity": "forebay.activity",
    "ActivityTask": "forebay.activity",
    "Alias": "forebay.alias",
    "ApiDestination": "forebay.api_destination",
    "App": "forebay.app",
    "Archive": "forebay.archive",
    "Backoff": "forebay._model.mapping",
    "Bus": "forebay.bus",
    "Connection": "forebay.websocket_api",
    "Context": "forebay._runtime.context",
    "Cors": "forebay._model.gateway",
    "DBProxy": "forebay.dbproxy",
    "Depth": "forebay.queue",
    "EnvSecret": "forebay.dbproxy",
    "Environments": "forebay._model.environments",
    "Event": "forebay.bus",
    "Execution": "forebay.workflow",
    "ExecutionDescription": "forebay.workflow",
    "FileSecret": "forebay.dbproxy",
    "Function": "forebay.function",
    "FunctionUrl": "forebay._model.gateway",
    "HttpApi": "forebay.http_api",
    "JSONLines": "forebay.destinations",
    "Mapping": "forebay.mapping",
    "Queue": "forebay.queue",
    "Registry": "forebay.registry",
    "Replay": "forebay.archive",
    "ReplayStatus": "forebay.archive",
    "RestApi": "forebay.rest_api",
    "Scaling": "forebay._model.concurrency",
    "SchemaVersion": "forebay.registry",
    "Stream": "forebay.stream",
    "TokenBucket": "forebay.token_bucket",
    "Topic": "forebay.topic",
    "WebSocketApi": "forebay.websocket_api",
    "Workflow": "forebay.workflow",
    "WorkflowLimits": "forebay._model.workflow",
}


def __getattr__(name: str) -> object:
    """Import a name when it is asked for. All of them take longer than most commands and the start of a function's process."""
    if name in _LATER:
        found = globals()[name] = getattr(importlib.import_module(_LATER[name]), name)
        return found
    # `forebay.logs` was there after `import forebay` as long as that imported everything.
    if not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}") is not None:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if _core.debug_build:
    warnings.warn(
        "forebay was built without optimisation: it is many times slower; build it with `maturin develop --release`",
        RuntimeWarning,
        stacklevel=2,
    )

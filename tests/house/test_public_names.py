"""The names that code outside may rely on. A change here is a change of the public face: say it in CHANGELOG.md."""

import pkgutil
import types

import forebay

NAMES = [
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
    "Replay",
    "ReplayStatus",
    "Registry",
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
# A module without an underscore may be imported; what is not in these stands in a room whose name begins with one.
MODULES = [
    "activity",
    "alerts",
    "alias",
    "api_destination",
    "app",
    "archive",
    "bus",
    "cli",
    "clock",
    "cloudevents",
    "dbproxy",
    "destinations",
    "errors",
    "function",
    "http_api",
    "integrations",
    "logs",
    "mapping",
    "metrics",
    "powertools",
    "queue",
    "registry",
    "rest_api",
    "stream",
    "testing",
    "token_bucket",
    "topic",
    "websocket_api",
    "workflow",
]


def test_the_public_names_are_these_and_no_others():
    assert sorted(forebay.__all__) == sorted(NAMES)


def test_the_public_modules_are_these_and_no_others():
    found = {module.name for module in pkgutil.iter_modules(forebay.__path__)}
    assert sorted(name for name in found if not name.startswith("_")) == MODULES


def test_every_public_name_can_be_imported():
    assert [name for name in forebay.__all__ if not hasattr(forebay, name)] == []


def test_nothing_public_is_left_out_of_the_list():
    public = {
        name
        for name, value in vars(forebay).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public <= {*forebay.__all__, "annotations"}


def test_every_error_is_public_and_tells_where_it_comes_from():
    errors = [value for value in vars(forebay).values() if isinstance(value, type) and issubclass(value, BaseException)]
    assert [error for error in errors if not issubclass(error, forebay.ForebayError)] == []

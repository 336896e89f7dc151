"""Every error forebay raises, in one tree.

ForebayError
├── InvalidParameterValue (ValueError)   a refused argument: names the option, the value, the allowed range
│   └── RequestTooLarge                  a payload or record over its limit
├── ResourceNotFound (LookupError)       no such stream, queue, function, mapping, failure
├── ResourceConflict                     the name is taken by something with other settings
├── AppClosed                            the app is not running, or was forked
├── FunctionError                        the handler raised, timed out, or gave an answer that cannot be used
├── ResultNotReady (TimeoutError)        the asynchronous invocation has not ended yet
├── TooManyRequests                      a limit was reached: which one, and when to come back
├── StoreError                           the place where events are kept
│   ├── StoreFull                        no room: nothing was accepted, what was accepted is safe
│   ├── StoreFailed                      a write or fsync failed: no further acknowledgement
│   ├── StoreCorrupt                     bytes are not what was written
│   ├── StoreLocked                      another process has the store
│   ├── StoreNewerFormat                 written by a newer forebay
│   └── OwnerLost                        the owning process went away before it answered
│       └── OwnerLeft                    it stopped in order and did not accept the request
├── ClockStalled                         a handler under the virtual clock neither ended nor waited
└── DBProxyError                         the database proxy
├── BorrowTimeout                    no connection became free in time
├── TooManyClients                   the proxy's own limit of client connections
├── DatabaseUnavailable              no server answers, or none is the writer
├── AuthenticationFailed             the server refused the credentials
├── QueryTimeout                     the statement did not end in time; its connection was closed, if it was sent
├── ConnectionLost                   the server went away during a transaction
├── CommitUnknown                    the answer to COMMIT was lost: look before you repeat
├── ClientClosed                     the client connection was closed (idle, too old, or by you)
└── DatabaseError                    the server refused the statement: its own code and text
"""

from __future__ import annotations

from typing import Any


class ForebayError(Exception):
    """Base of every error forebay raises."""


class InvalidParameterValue(ForebayError, ValueError):
    """An argument was refused. The text names the option, the value and the allowed range."""


class RequestTooLarge(InvalidParameterValue):
    """A payload, record or response is over its limit."""


class ResourceNotFound(ForebayError, LookupError):
    """There is no stream, queue, function, mapping or failure of that name."""


class ResourceConflict(ForebayError):
    """The name exists already with other settings."""


class AppClosed(ForebayError):
    """The app is not running: not started, stopped, draining, or carried over a fork."""


class FunctionError(ForebayError):
    """The function ran and failed.

    Attributes:
        payload: Lambda's error object (``errorMessage``, ``errorType``, ``requestId``, ``stackTrace``).
        executed_version: the version that failed, ``$LATEST`` or a number.
        condition: why an asynchronous invocation ended (``RetriesExhausted``, ``EventAgeExceeded`` and so on); None of others.

    """

    def __init__(
        self,
        message: str,
        payload: dict[str, Any] | None = None,
        executed_version: str | None = None,
        condition: str | None = None,
    ) -> None:
        super().__init__(message)
        self.executed_version = executed_version
        self.condition = condition
        self.payload = payload if payload is not None else {"errorMessage": message}


class ResultNotReady(ForebayError, TimeoutError):
    """An asynchronous invocation had not ended when its result was asked for, or within the time that was waited."""


class ExecutionAlreadyExists(ResourceConflict):
    """An execution of that name has another input, or is over."""


class ExecutionFailed(ForebayError):
    """An execution of a workflow did not succeed.

    Attributes:
        status: "FAILED", "TIMED_OUT" or "ABORTED".
        error: the error's name, if it has one.
        cause: the error's cause, if it has one.

    """

    def __init__(self, arn: str, status: str, error: str | None, cause: str | None) -> None:
        details = ": ".join(text for text in (error, cause) if text)
        super().__init__(f"{arn} {status}" + (f" with {details}" if details else ""))
        self.arn = arn
        self.status = status
        self.error = error
        self.cause = cause

    def __reduce__(self) -> tuple[type[ExecutionFailed], tuple[str, str, str | None, str | None]]:
        return type(self), (self.arn, self.status, self.error, self.cause)


class TooManyRequests(ForebayError):
    """A limit was reached.

    Attributes:
        reason: which limit, by AWS's name (``ReservedFunctionConcurrentInvocationLimitExceeded`` and so on).
        retry_after: seconds after which another try makes sense.

    """

    def __init__(self, message: str, reason: str = "", retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


class StoreError(ForebayError):
    """The place where events are kept did not do what was asked."""


class StoreFull(StoreError):
    """The disk is full. Nothing was accepted; what was accepted is safe, and draining goes on."""


class StoreFailed(StoreError):
    """A write or fsync failed, and nothing more is acknowledged until a restart.

    A store on a server also raises it when nobody knows whether it was written, and at the start when no server answers.
    """


class StoreCorrupt(StoreError):
    """Bytes on disk are not what was written. Run ``forebay doctor``."""


class StoreLocked(StoreError):
    """Another process owns the directory, or another program has the store's file locked. Nothing was written."""


class StoreNewerFormat(StoreError):
    """The directory was written by a newer forebay."""


class OwnerLost(StoreError):
    """The process that owns the store went away before it answered: the request may or may not have been accepted."""


class OwnerLeft(OwnerLost):
    """The process that owns the store stopped and did not accept the request; the next owner may be asked."""


class ClockStalled(ForebayError):
    """A handler under the virtual clock neither ended nor waited on forebay within the stall limit."""


class DBProxyError(ForebayError):
    """Base of the database proxy's errors."""


class BorrowTimeout(DBProxyError):
    """No database connection became free within the borrow timeout.

    Attributes:
        waited: seconds waited.
        size: connections to the database at that moment.
        pinned: how many of them were pinned to a client.
        in_transaction: how many of them were in a transaction.

    """

    def __init__(
        self, message: str, *, waited: float = 0.0, size: int = 0, pinned: int = 0, in_transaction: int = 0
    ) -> None:
        super().__init__(message)
        self.waited = waited
        self.size = size
        self.pinned = pinned
        self.in_transaction = in_transaction


class TooManyClients(DBProxyError):
    """The proxy's limit of client connections is reached."""


class DatabaseUnavailable(DBProxyError):
    """No server answers, or none of them is the writer."""


class AuthenticationFailed(DBProxyError):
    """The server refused the credentials."""


class QueryTimeout(DBProxyError):
    """A statement did not end in time. Its connection was closed, if it was sent: no time may have been left at the start."""


class ConnectionLost(DBProxyError):
    """The server went away while a transaction or a pinned session was in progress."""


class CommitUnknown(DBProxyError):
    """The answer to COMMIT was lost: the transaction may or may not be in the database."""


class ClientClosed(DBProxyError):
    """The client connection is closed: idle too long, too old, or closed by its user."""


class DatabaseError(DBProxyError):
    """The server refused the statement.

    Attributes:
        code: the server's own code (SQLSTATE for PostgreSQL, error number for MySQL), as text.

    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code

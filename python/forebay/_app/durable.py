"""Runs AWS's durable functions: hands the SDK's handler what it has done so far, and takes what it does.

The SDK is `aws-durable-execution-sdk-python`. It writes its checkpoints to a client that it may be given: here it is the app
itself, so nothing goes over a network.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from forebay._app import durable_handlers
from forebay.errors import AppClosed, ForebayError, InvalidParameterValue, ResourceNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay._runtime.caller import Caller

NON_DETERMINISTIC = "NonDeterministic"
"""The error of an execution whose code has changed, as the engine names it where it sees that first."""
MISSING = 'the SDK is not installed: pip install "forebay[durable]"'


_HOSTED = "__forebay_durable__"
"""Marks handlers that run a durable function."""

# Kinds of operations that end from outside: by time, by a caller of the callback, by another function.
OUTSIDE = {"WAIT", "CALLBACK", "CHAINED_INVOKE"}


class _Client:
    """What the SDK writes its checkpoints to, for one invocation."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._token: str | None = None
        self._ended: list[str] = []

    def checkpoint(
        self,
        durable_execution_arn: str,  # noqa: ARG002 - the token names it
        checkpoint_token: str,
        updates: list[Any],
        client_token: str | None,
    ) -> Any:
        """Write what the function has done."""
        from aws_durable_execution_sdk_python import exceptions, lambda_service  # noqa: PLC0415 - an extra

        given = [update.to_dict() for update in updates]
        for one in given:
            if one.get("ChainedInvokeOptions", {}).get("TenantId") is not None:
                name = one["ChainedInvokeOptions"]["FunctionName"]
                text = f"tenant_id: tenants are not kept apart; invoke {name!r} without one, and give it in the payload"
                raise exceptions.CheckpointError(text, exceptions.CheckpointErrorCategory.EXECUTION)
        try:
            told = self._caller.ask_sync(
                "durable.checkpoint", token=checkpoint_token, client_token=client_token, updates=given
            )
        except (AppClosed, ResourceNotFound):
            # The execution has ended, or the app has stopped: nobody takes what this run does. Without a token the SDK ends it
            # with one line in the log.
            self._ended.clear()
            return lambda_service.CheckpointOutput(
                checkpoint_token=None, new_execution_state=lambda_service.CheckpointUpdatedExecutionState()
            )
        except InvalidParameterValue as error:
            # It would be refused again and again.
            category = exceptions.CheckpointErrorCategory.EXECUTION
            raise exceptions.CheckpointError(str(error), category) from error
        except ForebayError as error:
            raise exceptions.CheckpointError(str(error)) from error
        self._token = told["token"]
        self._ended += [one["Id"] for one in told["operations"] if _has_ended(one)]
        operations = [lambda_service.Operation.from_json_dict(one) for one in _for_sdk(told["operations"])]
        state = lambda_service.CheckpointUpdatedExecutionState(operations=operations)
        return lambda_service.CheckpointOutput(checkpoint_token=told["token"], new_execution_state=state)

    def get_execution_state(
        self,
        durable_execution_arn: str,  # noqa: ARG002 - the token names it
        checkpoint_token: str,
        next_marker: str,
        max_items: int = 1000,  # noqa: ARG002 - pages have as many
    ) -> Any:
        """Read on in what the function has done."""
        from aws_durable_execution_sdk_python import exceptions, lambda_service  # noqa: PLC0415 - an extra

        try:
            told = self._caller.ask_sync("durable.operations", token=checkpoint_token, **{"from": int(next_marker)})
        except ForebayError as error:
            raise exceptions.GetExecutionStateError(str(error)) from error
        operations = [lambda_service.Operation.from_json_dict(one) for one in _for_sdk(told["operations"])]
        marker = None if told["next"] is None else str(told["next"])
        return lambda_service.StateOutput(operations=operations, next_marker=marker)

    def anew(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """Give the event of another run; None: nothing has ended of which the answer to a checkpoint told.

        The engine tells an end once. A branch that waits for it may have been suspended before the answer came.
        """
        if not self._ended:
            return None
        ended, self._ended = self._ended, []
        told = self._caller.ask_sync("durable.operations", token=self._token, **{"from": 0})
        marker = "" if told["next"] is None else str(told["next"])
        state = {"Operations": told["operations"], "NextMarker": marker}
        return {**event, "CheckpointToken": self._token, "InitialExecutionState": state, "UpdatedOperationIds": ended}


def _for_sdk(operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Count attempts as the SDK expects it: the engine counts the attempt that runs, the SDK those that ended."""
    return [_step_that_runs(one) if (one["Type"], one["Status"]) == ("STEP", "STARTED") else one for one in operations]


def _step_that_runs(operation: dict[str, Any]) -> dict[str, Any]:
    details = operation["StepDetails"]
    return {**operation, "StepDetails": {**details, "Attempt": max(0, details["Attempt"] - 1)}}


def _has_ended(operation: dict[str, Any]) -> bool:
    """Whether it has ended, or may be tried again, by something outside of the handler."""
    if operation["Type"] == "STEP":
        return bool(operation["Status"] == "READY")
    return operation["Type"] in OUTSIDE and operation["Status"] != "STARTED"


def hosted(handler: Callable[..., Any], caller: Caller) -> Callable[[Any, Any], Any]:
    """Give a handler that runs the SDK's with the app as its client.

    Raises:
        InvalidParameterValue: the SDK is not installed, or the handler is none of its own.

    """
    try:
        from aws_durable_execution_sdk_python import exceptions, execution  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InvalidParameterValue(MISSING) from error
    plain, with_client = execution.DurableExecutionInvocationInput, execution.DurableExecutionInvocationInputWithClient
    durable_handlers.check(handler)
    inputs = durable_handlers.inputs(with_client)
    of_sdk = exceptions.NonDeterministicExecutionError
    seen_by_sdk = f"{of_sdk.__module__}.{of_sdk.__qualname__}"

    @functools.wraps(handler)
    def invoked(event: Any, context: Any) -> Any:
        if not isinstance(event, dict) or "DurableExecutionArn" not in event:
            name = context.function_name
            raise InvalidParameterValue(
                f"{name} is a durable function: start it with start() of its workflow, {name!r}, or by context.invoke() of "
                "another durable function. A call of the function cannot run it"
            )
        client = _Client(caller)
        next_event: dict[str, Any] | None = event
        while next_event is not None:
            state = next_event["InitialExecutionState"]
            read = {**next_event, "InitialExecutionState": {**state, "Operations": _for_sdk(state["Operations"])}}
            given = inputs(**vars(plain.from_json_dict(read)), service_client=client)
            answer = durable_handlers.run(handler, given, context)
            waits = isinstance(answer, dict) and answer.get("Status") == "PENDING"
            next_event = client.anew(event) if waits else None
        error = answer.get("Error") if isinstance(answer, dict) else None
        if error and error.get("ErrorType") == seen_by_sdk:
            return {**answer, "Error": {**error, "ErrorType": NON_DETERMINISTIC}}
        return answer

    setattr(invoked, _HOSTED, True)
    return invoked


def is_hosted(handler: Callable[..., Any]) -> bool:
    """Tell whether a handler is one that `hosted` gave."""
    return bool(getattr(handler, _HOSTED, False))


def definition(function_arn: str, execution_timeout: float | None) -> dict[str, Any]:
    """Give the workflow that runs a durable function."""
    state: dict[str, Any] = {
        "Type": "Task",
        "Resource": "arn:aws:states:::forebay:durable",
        "Parameters": {"FunctionName": function_arn, "Payload.$": "$"},
        "End": True,
    }
    # The machine's, not the state's: an execution that takes too long is TIMED_OUT, as on AWS, and not FAILED.
    limit = {} if execution_timeout is None else {"TimeoutSeconds": round(execution_timeout)}
    return {"StartAt": "Run", "States": {"Run": state}, **limit}

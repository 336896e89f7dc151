"""Runs AWS's durable functions: hands the SDK's handler what it has done so far, and takes what it does.

The SDK is `aws-durable-execution-sdk-python`. It writes its checkpoints to a client that it may be given: here it is the app
itself, so nothing goes over a network.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from forebay.errors import ForebayError, InvalidParameterValue, ResourceNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay._runtime.caller import Caller

NON_DETERMINISTIC = "NonDeterministic"
"""The error of an execution whose code has changed, as the engine names it where it sees that first."""
MISSING = 'the SDK is not installed: pip install "forebay[durable]"'


class _Client:
    """What the SDK writes its checkpoints to."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

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
        try:
            told = self._caller.ask_sync(
                "durable.checkpoint", token=checkpoint_token, client_token=client_token, updates=given
            )
        except (InvalidParameterValue, ResourceNotFound) as error:
            # It would be refused again and again.
            category = exceptions.CheckpointErrorCategory.EXECUTION
            raise exceptions.CheckpointError(str(error), category) from error
        except ForebayError as error:
            raise exceptions.CheckpointError(str(error)) from error
        operations = [lambda_service.Operation.from_json_dict(one) for one in told["operations"]]
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
        operations = [lambda_service.Operation.from_json_dict(one) for one in told["operations"]]
        marker = None if told["next"] is None else str(told["next"])
        return lambda_service.StateOutput(operations=operations, next_marker=marker)


def hosted(handler: Callable[..., Any], caller: Caller) -> Callable[[dict[str, Any], Any], Any]:
    """Give a handler that runs the SDK's with the app as its client.

    Raises:
        InvalidParameterValue: the SDK is not installed.

    """
    try:
        from aws_durable_execution_sdk_python import exceptions, execution  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InvalidParameterValue(MISSING) from error
    client = _Client(caller)
    with_client = execution.DurableExecutionInvocationInputWithClient
    of_sdk = exceptions.NonDeterministicExecutionError
    seen_by_sdk = f"{of_sdk.__module__}.{of_sdk.__qualname__}"

    @functools.wraps(handler)
    def invoked(event: dict[str, Any], context: Any) -> Any:
        given = execution.DurableExecutionInvocationInput.from_json_dict(event)
        answer = handler(with_client.from_durable_execution_invocation_input(given, client), context)
        error = answer.get("Error") if isinstance(answer, dict) else None
        if error and error.get("ErrorType") == seen_by_sdk:
            return {**answer, "Error": {**error, "ErrorType": NON_DETERMINISTIC}}
        return answer

    return invoked


def definition(function_arn: str, execution_timeout: float | None) -> dict[str, Any]:
    """Give the workflow that runs a durable function."""
    state: dict[str, Any] = {
        "Type": "Task",
        "Resource": "arn:aws:states:::forebay:durable",
        "Parameters": {"FunctionName": function_arn, "Payload.$": "$"},
        "End": True,
    }
    if execution_timeout is not None:
        state["TimeoutSeconds"] = round(execution_timeout)
    return {"StartAt": "Run", "States": {"Run": state}}

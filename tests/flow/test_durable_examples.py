"""AWS's own examples of durable functions, unmodified, where there is a clone of a repository that has them.

    git clone https://github.com/aws/aws-durable-execution-sdk-python
    FOREBAY_DURABLE_EXAMPLES=aws-durable-execution-sdk-python/packages/aws-durable-execution-sdk-python-examples/src make test

Or one of `aws-durable-execution-sdk-python-testing`, where the folder is `examples/src`. An example that the folder does not
have is left out. The example that AWS ships with its SDK is always run: `test_durable_functions.py`.
"""

import asyncio
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from forebay import ExecutionFailed

EXAMPLES = os.environ.get("FOREBAY_DURABLE_EXAMPLES")
SECONDS = 120
FOUND_LEAST = 7  # of the two repositories, the one with fewer examples


@dataclass(frozen=True)
class Tell:
    """What somebody outside tells a callback: the one of this name, or the first that is open."""

    how: str
    what: str = ""
    name: str | None = None


def success(what, name=None):
    return Tell("success", what, name)


def failure(what, name=None):
    return Tell("failure", what, name)


BEAT = Tell("heartbeat")


@dataclass(frozen=True)
class OneOf:
    """Results that differ: by the version of the example, or by which thread is faster."""

    results: tuple


@dataclass(frozen=True)
class With:
    """Some fields of a result; others are of the moment."""

    fields: dict


@dataclass(frozen=True)
class Text:
    """The beginning of a text, behind which is an id."""

    begin: str


@dataclass(frozen=True)
class Example:
    """What AWS's test of an example gives to it, and what it expects of it.

    `told` is what happens while it runs: seconds that pass, and what its callbacks are told. `functions` are the others of its
    module that it invokes, by the names that it has for them; those in `durable` are durable functions.
    """

    result: Any = None
    error: tuple[str, str] | None = None
    given: Any = None
    told: tuple = ()
    functions: tuple[str, ...] = ()
    durable: tuple[str, ...] = ()


JOHN = {"userId": 123, "name": "John Doe"}
# What AWS's tests of the examples expect of them.
EXPECTED = {
    "hello_world": Example(
        OneOf(("Hello World!", {"statusCode": 200, "body": "Hello from Durable Lambda! (status: 200)"})), given="test"
    ),
    "simple_execution/simple_execution": Example(
        With({"received": '{"foo": "bar"}', "message": "Handler completed successfully"}), given={"foo": "bar"}
    ),
    "handler_error/handler_error": Example(error=("Exception", "Intentional handler failure")),
    "none_results/none_results": Example("result"),
    "no_replay_execution/no_replay_execution": Example({"completed": True}),
    # Steps.
    "step/step": Example(8),
    "step/step_with_name": Example("Result: Step with explicit name"),
    "step/step_no_name": Example("Result: Step without name"),
    "step/step_semantics_at_most_once": Example("Result: AT_MOST_ONCE_PER_RETRY semantics"),
    "step/step_with_exponential_backoff": Example("Result: Step with exponential backoff"),
    "step/step_with_retry": Example("Operation succeeded", given="test"),
    "step/steps_with_retry": Example(
        {"success": True, "item": {"id": "test-item", "data": "item data"}, "pollsRequired": 2},
        given={"name": "test-item"},
    ),
    "step/step_with_custom_serdes": Example(
        {"order_id": "ORD-42", "tags": ["fragile", "gift", "priority"], "has_transient": False}
    ),
    "error_handling/catch_typed_step_error": Example(
        {"handled": True, "caught": "StepError", "error_type": "ValueError", "message": "payment declined"}
    ),
    "serdes_roundtrip/serdes_roundtrip": Example(
        {
            "step_round_tripped": True,
            "child_round_tripped": True,
            "virtual_child_round_tripped": True,
            "large_child_round_tripped": True,
            "wait_for_condition_round_tripped": True,
        }
    ),
    # Waits.
    "wait/wait": Example("Wait completed"),
    "wait/wait_with_name": Example("Wait with name completed"),
    "wait/multiple_wait": Example({"completedWaits": 2, "finalStep": "done"}),
    "wait_for_condition/wait_for_condition": Example(3),
    # Child contexts.
    "block_example/block_example": Example({"nestedStep": "nested step result", "nestedBlock": "nested block result"}),
    "run_in_child_context/run_in_child_context": Example("Child context result: 10"),
    "run_in_child_context/run_in_child_context_large_data": Example(
        With(
            {
                "success": True,
                "dataIntegrityCheck": True,
                "summary": {
                    "totalDataSize": 250,
                    "stepsExecuted": 5,
                    "childContextUsed": True,
                    "waitExecuted": True,
                    "dataPreservedAcrossWait": True,
                },
            }
        )
    ),
    "run_in_child_context/run_in_child_context_step_failure": Example(
        {"success": True, "error": "Step failed in child context"}
    ),
    "logger_example/logger_example": Example("processed-child-processed", given={"id": "test-123"}),
    "logger_example/replay_logging": Example(
        {"result": "done:audited:prepared:widget", "item": "widget"}, given={"item": "widget"}
    ),
    "logger_example/replay_logging_concurrent": Example({"results": ["alpha-done", "bravo-done", "charlie-done"]}),
    "plugin/execution_with_plugin": Example(12),
    "plugin/execution_with_wait_plugin": Example(
        {
            "message": "Plugin wait completed",
            "wait_end_infos": [
                {
                    "operation_type": "WAIT",
                    "name": "plugin-wait",
                    "status": "SUCCEEDED",
                    "is_replayed": False,
                    "has_end_time": True,
                }
            ],
        }
    ),
    "filesystem_serdes/filesystem_serdes_basic": Example(
        {"success": True, "processed_count": 10, "user_ids": list(range(10))}
    ),
    "filesystem_serdes/filesystem_serdes_overflow": Example({"small_status": "ok", "large_record_count": 300}),
    "filesystem_serdes/filesystem_serdes_preview": Example(
        {"order_id": "ORD-12345", "status": "completed", "item_count": 2}
    ),
    # Items.
    "map/map_operations": Example(OneOf(([1, 4, 9, 16, 25], [2, 4, 6, 8, 10]))),
    "map/map_operations_flat": Example([2, 4, 6, 8, 10]),
    "map/map_with_max_concurrency": Example([3 * item for item in range(1, 11)]),
    "map/map_with_item_namer": Example(
        ["processed-order-101-$25", "processed-order-102-$50", "processed-order-103-$75"]
    ),
    "map/map_with_min_successful": Example(
        With({"failure_count": 0, "total_count": 10, "completion_reason": "MIN_SUCCESSFUL_REACHED"})
    ),
    "map/map_with_failure_tolerance": Example(
        {
            "success_count": 7,
            "failure_count": 3,
            "succeeded": [2, 4, 8, 10, 14, 16, 20],
            "failed_count": 3,
            "completion_reason": "ALL_COMPLETED",
        }
    ),
    "map/map_completion": Example(
        With(
            {
                "totalItems": 4,
                "successfulCount": 2,
                "failedCount": 0,
                "hasFailures": False,
                "batchStatus": "BatchItemStatus.SUCCEEDED",
                "completionReason": "CompletionReason.MIN_SUCCESSFUL_REACHED",
            }
        )
    ),
    "map/map_with_should_complete": Example(
        With({"failure_count": 0, "completion_reason": "CUSTOM_COMPLETION_SUCCEEDED"})
    ),
    "map/map_with_custom_serdes": Example(
        {
            "success_count": 3,
            "results": [{"processed": f"item{n}", "index": n - 1, "doubled_id": 2 * n} for n in (1, 2, 3)],
            "processed_names": ["item1", "item2", "item3"],
        }
    ),
    "map/map_with_large_scale": Example(
        With(
            {
                "success": True,
                "summary": {
                    "itemsProcessed": 50,
                    "totalDataSizeMB": 5,
                    "totalDataSizeBytes": 5_120_000,
                    "maxConcurrency": 10,
                    "averageItemSize": 102_400,
                    "allItemsProcessed": True,
                },
            }
        )
    ),
    "map/map_with_batch_serdes": Example({"success_count": 4, "results": [20, 40, 60, 80], "sum": 200}),
    # Branches.
    "parallel/parallel": Example(["task 1 completed", "task 2 completed", "task 3 completed after wait"]),
    "parallel/parallel_flat": Example(["task 1 completed", "task 2 completed", "task 3 completed after wait"]),
    "parallel/parallel_with_wait": Example("Completed waits"),
    "parallel/parallel_with_max_concurrency": Example([f"task {n}" for n in range(1, 6)]),
    "parallel/parallel_with_named_branches": Example(
        ["user-data-loaded", "orders-loaded", "prefs-loaded", "metrics-loaded", "config-loaded"]
    ),
    "parallel/parallel_first_successful": Example(
        OneOf(tuple(f"First successful result: Task {n}" for n in (1, 2, 3)))
    ),
    "parallel/parallel_with_failure_tolerance": Example(
        {
            "success_count": 3,
            "failure_count": 2,
            "succeeded": ["success 1", "success 3", "success 5"],
            "completion_reason": "ALL_COMPLETED",
        }
    ),
    "parallel/parallel_with_should_complete": Example(With({"completion_reason": "CUSTOM_COMPLETION_SUCCEEDED"})),
    "parallel/parallel_with_custom_serdes": Example(
        {
            "success_count": 3,
            "results": [{"task": f"task{n}", "value": 100 * n} for n in (1, 2, 3)],
            "total_value": 600,
        }
    ),
    "parallel/parallel_with_batch_serdes": Example({"success_count": 3, "results": [100, 200, 300], "total": 600}),
    "comprehensive_operations/comprehensive_operations": Example(
        With({"step1": "Step 1 completed successfully", "waitCompleted": True}), given={"message": "test"}
    ),
    "comprehensive_operations/many_operations": Example(
        {
            "topLevelStepCount": 12,
            "childContextCount": 4,
            "childStepCount": 8,
            "totalStepCount": 20,
            "firstStep": 0,
            "lastStep": 11,
            "topLevelStepTotal": 66,
            "childStepTotal": 1204,
        }
    ),
    # Other functions.
    "chained_invoke/invoke_basic": Example(
        {"calculation_result": {"sum": 15, "product": 50, "difference": 5}}, functions=("calculator",)
    ),
    "chained_invoke/map_with_invoke": Example([{"result": 2 * n} for n in range(1, 6)], functions=("doubler",)),
    "chained_invoke/parallel_with_invoke": Example(
        [{"greeting": f"Hello, {name}!"} for name in ("Alice", "Bob", "Charlie")], functions=("greeter",)
    ),
    "chained_invoke/nested_invoke": Example(
        {"final_result": {"result": 30, "steps": ["add_10", "multiply_2"]}},
        functions=("adder", "multiplier"),
        durable=("orchestrator",),
    ),
    # Callbacks.
    "callback/callback": Example(Text("Callback created with ID: ")),
    "callback/callback_with_timeout": Example(Text("Callback created with 60s timeout: ")),
    "callback/callback_simple": Example("successful", told=(success("successful"),)),
    "callback/callback_heartbeat": Example(
        '{"status": "completed"}', told=(BEAT, 5, BEAT, 5, BEAT, 5, BEAT, 5, success('{"status": "completed"}'))
    ),
    "callback/callback_failure": Example(
        error=("CallbackExternalError", "External API failure"),
        given={"shouldCatchError": False},
        told=(failure("External API failure"),),
    ),
    "callback/callback_mixed_ops": Example(
        {"stepResult": JOHN, "callbackResult": '{"processed": true}', "completed": True},
        told=(success('{"processed": true}'),),
    ),
    "callback/callback_serdes": Example(
        {
            "receivedData": {"id": 42, "message": "Hello World", "timestamp": "2025-01-01T00:00:00+00:00"},
            "isDateObject": True,
        },
        told=(success('{"id": 42, "message": "Hello World", "timestamp": "2025-01-01T00:00:00+00:00"}'),),
    ),
    "callback/callback_concurrency": Example(
        {"results": ["first", "second", "third"], "allCompleted": True},
        told=(success("second", "api-call-2"), success("first", "api-call-1"), success("third", "api-call-3")),
    ),
    "wait_for_callback/wait_for_callback": Example(
        "External system result: Hello", given="test", told=(success("Hello"),)
    ),
    "wait_for_callback/wait_for_callback_anonymous": Example(
        {"callbackResult": '{"data": "callback_completed"}', "completed": True},
        told=(success('{"data": "callback_completed"}'),),
    ),
    "wait_for_callback/wait_for_callback_heartbeat": Example(
        {"callbackResult": '{"processed": 1000}', "completed": True},
        given={"input": "test_payload"},
        told=(BEAT, 7, BEAT, success('{"processed": 1000}')),
    ),
    "wait_for_callback/wait_for_callback_child": Example(
        {"parentResult": "parent", "childContextResult": {"childResult": "child", "childProcessed": True}},
        told=(success("parent"), success("child", "child-callback-op create callback id")),
    ),
    "wait_for_callback/wait_for_callback_nested": Example(
        {
            "outerCallback": "outer",
            "nestedResults": {
                "innerCallback": "inner",
                "deepNested": {"nestedCallback": "nested", "deepLevel": "inner-child"},
                "level": "outer-child",
            },
        },
        told=(
            success("outer"),
            success("inner", "inner-callback-op create callback id"),
            success("nested", "nested-callback-op create callback id"),
        ),
    ),
    "wait_for_callback/wait_for_callback_mixed_ops": Example(
        With({"stepResult": JOHN, "callbackResult": "told", "workflowCompleted": True}), told=(success("told"),)
    ),
    "wait_for_callback/wait_for_callback_multiple_invocations": Example(
        {
            "firstCallback": "one",
            "secondCallback": "two",
            "stepResult": {"processed": True, "step": 1},
            "invocationCount": "multiple",
        },
        told=(
            success("one", "first-callback create callback id"),
            success("two", "second-callback create callback id"),
        ),
    ),
    "wait_for_callback/wait_for_callback_serdes": Example(
        {
            "receivedData": {
                "id": 42,
                "message": "Hello Custom Serdes",
                "timestamp": "2025-06-15T12:30:45+00:00",
                "metadata": {"version": "2.0.0", "processed": True},
            },
            "isDateObject": True,
        },
        told=(
            success(
                '{"id": 42, "message": "Hello Custom Serdes", "timestamp": "2025-06-15T12:30:45Z", '
                '"metadata": {"version": "2.0.0", "processed": true}}'
            ),
        ),
    ),
    "wait_for_callback/wait_for_callback_timeout": Example(
        {"success": False, "error": "Callback timed out"}, given={"test": "timeout-scenario"}
    ),
    "wait_for_callback/wait_for_callback_submitter_failure": Example(
        error=("CallbackSubmitterError", "Simulated submitter failure"), given={"shouldFail": True}
    ),
    "wait_for_callback/wait_for_callback_submitter_failure_catchable": Example(
        {"success": False, "error": "Submitter failed"}
    ),
    "with_retry/with_retry_callback": Example(
        {"success": True, "result": "approval granted"},
        told=(
            failure("External system unavailable", "external-call-attempt-1 create callback id"),
            failure("External system timeout", "external-call-attempt-2 create callback id"),
            success("approval granted", "external-call-attempt-3 create callback id"),
        ),
    ),
}


def path_of(name):
    return Path(EXAMPLES) / f"{name}.py"


def fits(result, expected):
    match expected:
        case OneOf(results):
            return result in results
        case With(fields):
            return result == result | fields
        case Text(begin):
            return result.startswith(begin) and len(result) > len(begin)
    return result == expected


def module_of(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def open_callback(clock, execution, name):
    """Give the id of a callback of the execution, when there is one."""
    for _ in range(SECONDS):
        await clock.settle()
        for one in await execution.operations():
            if (one["Type"], one["Status"]) == ("CALLBACK", "STARTED") and name in (None, one["Name"]):
                return one["CallbackDetails"]["CallbackId"]
        await clock.advance(1)
    return pytest.fail(f"no callback {name} in {SECONDS} seconds")


async def tell(app, clock, execution, told):
    for one in told:
        if not isinstance(one, Tell):
            await clock.advance(one)
            continue
        callback = await open_callback(clock, execution, one.name)
        if one.how == "success":
            await app.durable_callback_success(callback, one.what)
        elif one.how == "failure":
            await app.durable_callback_failure(callback, "ExternalError", one.what)
        else:
            await app.durable_callback_heartbeat(callback)


@pytest.mark.skipif(EXAMPLES is None, reason="FOREBAY_DURABLE_EXAMPLES names no clone of AWS's examples")
def test_the_folder_has_examples():
    found = [name for name in EXPECTED if path_of(name).exists()]
    assert len(found) >= FOUND_LEAST, f"FOREBAY_DURABLE_EXAMPLES={EXAMPLES}: AWS's examples are not there"


@pytest.mark.skipif(EXAMPLES is None, reason="FOREBAY_DURABLE_EXAMPLES names no clone of AWS's examples")
@pytest.mark.parametrize("name", [name for name in EXPECTED if EXAMPLES is None or path_of(name).exists()])
async def test_an_example_runs_as_it_is(app, clock, name, tmp_path, monkeypatch):
    monkeypatch.setenv("FILESYSTEM_MOUNT_PATH", str(tmp_path / "mount"))
    module, example = module_of(path_of(name)), EXPECTED[name]
    flow = app.durable_function()(module.handler)
    for function in example.functions:
        handler = getattr(module, f"{function}_handler")
        app.function(function, isolation="thread")(handler)
    for function in example.durable:
        app.durable_function(function)(getattr(module, f"{function}_handler"))
    async with app:
        execution = await flow.start(example.given)
        result = asyncio.ensure_future(execution.result())
        await tell(app, clock, execution, example.told)
        await clock.advance(SECONDS)
        if example.error is None:
            given = await result
            assert fits(given, example.result), given
        else:
            with pytest.raises(ExecutionFailed) as failed:
                await result
            # Since 3.0 the SDK writes the module of a class before its name.
            assert failed.value.error.rpartition(".")[2] == example.error[0]
            assert example.error[1] in failed.value.cause

"""Play a workflow in a test: no app, no store, a clock of its own, and what its tasks answer given."""

from __future__ import annotations

import inspect
import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from forebay._core import play_workflow, test_state
from forebay._model import checks, limits, names
from forebay._model.plural import counted
from forebay._model.workflow import definition_text, no_arns, put_in
from forebay._wire import payload
from forebay.errors import InvalidParameterValue, RequestTooLarge
from forebay.function import Function
from forebay.integrations import Integration, Objects
from forebay.integrations.maps import READS, WRITES
from forebay.integrations.offered import callable_services, check_sdk, unknown_sdk_calls
from forebay.integrations.serve import declaration
from forebay.workflow import Workflow

_STARTED_MS = 1_704_067_200_000  # the first of January 2024
_REGION = "local"
_ACCOUNT = "000000000000"
_DURABLE = "arn:aws:states:::forebay:durable"
"""What the task of a durable function calls."""
_TEXTS = {"context", "variables"}
"""Fields that hold JSON as text."""
_FIELDS = {"stateName", "context", "variables", "mock", "stateConfiguration", "revealSecrets", "roleArn"}
"""Fields of a request to TestState, beside those with a name of their own."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """What a task answers that succeeds.

    Attributes:
        output: its result, any JSON value.
        after: seconds until then.

    """

    output: Any = None
    after: float = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """What a task answers that fails.

    Attributes:
        error: the error's name, which `Retry` and `Catch` look at. "States.HeartbeatTimeout" of a state with `HeartbeatSeconds`
            whose task has a token: no heartbeat comes any more, and it fails as in an app, after them, with "States.Timeout",
            which both names catch.
        cause: its cause.
        after: seconds until then.

    """

    error: str
    cause: str | None = None
    after: float = 0


Answer = Succeeded | Failed
Answers = Answer | Sequence[Answer] | Callable[[Any], Any]
Machine = Workflow | Mapping[str, Any] | str | Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """An execution that was played to its end.

    Attributes:
        status: "SUCCEEDED", "FAILED", "TIMED_OUT" or "ABORTED".
        output: its output; None unless it succeeded.
        error: the error with which it failed.
        cause: the error's cause.
        seconds: how long it took on its own clock.
        history: its events, as AWS's GetExecutionHistory has them.
        child_histories: those of each child execution that its distributed Maps began, and of theirs.

    """

    status: Literal["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]
    output: Any
    error: str | None
    cause: str | None
    seconds: float
    history: tuple[dict[str, Any], ...] = field(repr=False)
    child_histories: tuple[tuple[dict[str, Any], ...], ...] = field(default=(), repr=False)

    @property
    def path(self) -> tuple[str, ...]:
        """The states that were entered, in their order."""
        return tuple(
            event["stateEnteredEventDetails"]["name"] for event in self.history if "stateEnteredEventDetails" in event
        )

    def assert_path(self, *states: str) -> None:
        """Check that these states were entered, in this order and no others.

        Raises:
            AssertionError: others were.
            InvalidParameterValue: what is given are no names.

        """
        if not all(isinstance(state, str) for state in states):
            checks.refuse("states", states, 'give the names one by one, as in assert_path("Charge", "Rest")')
        if self.path != states:
            raise AssertionError(f"the path is {' -> '.join(self.path)}; expected was {' -> '.join(states)}")


class Coverage:
    """Which states, and which ways out of Choice states, the executions of a test run went through.

    A way is counted by the state that it leads to: two rules that lead to the same state are one. Catchers are not counted.
    """

    def __init__(self) -> None:
        self._states: set[str] = set()
        self._ways: set[tuple[str, str]] = set()

    def add(self, played: Played) -> None:
        """Count the states and the ways of an execution, and of its distributed Maps' child executions."""
        for history in (played.history, *played.child_histories):
            self._add(history)

    def _add(self, history: Sequence[Mapping[str, Any]]) -> None:
        exits: dict[int, str] = {}
        for event in history:
            if "stateExitedEventDetails" in event:
                exits[event["id"]] = event["stateExitedEventDetails"]["name"]
            elif "stateEnteredEventDetails" in event:
                name = event["stateEnteredEventDetails"]["name"]
                self._states.add(name)
                before = exits.get(event["previousEventId"])
                if before is not None:
                    self._ways.add((before, name))

    def missed(self, machine: Machine) -> list[str]:
        """Give what no execution went through: states by name, and ways as "Choice -> State"."""
        missed = []
        for name, state in _states(json.loads(_definition(machine)[0])):
            if name not in self._states:
                missed.append(name)
            if state.get("Type") == "Choice":
                following = [rule.get("Next") for rule in state.get("Choices", ())] + [state.get("Default")]
                ways = dict.fromkeys(one for one in following if one)
                missed += [f"{name} -> {one}" for one in ways if (name, one) not in self._ways]
        return missed


def run(
    machine: Machine,
    input: Any = None,  # noqa: A002 - AWS's name
    tasks: Mapping[str, Answers] | None = None,
    *,
    type: Literal["STANDARD", "EXPRESS"] | None = None,  # noqa: A002 - AWS's name
    services: Iterable[Integration | Objects | str] = (),
    items: Sequence[Any] | None = None,
    coverage: Coverage | None = None,
    seed: int = 1,
) -> Played:
    """Play an execution to its end, and give what became of it. Waits take no time.

    Args:
        machine: a workflow of an app, or a definition: a dict, a JSON text, or the path of a file.
        input: any JSON value; None: {}.
        tasks: by the name of the state, what its task answers: one answer for every call, a list with an answer for each call
            (tries again take the next one), or a plain function that is given the arguments and gives the result. What it
            raises fails the task with the exception's name.
        type: the type of the workflow; None: that of `machine`, or "STANDARD".
        services: what tasks may call beside the store, what packages offer, and what the app of `machine` integrates: the
            integrations of the app that will run a definition, and by name what is there in this test alone and has its answers
            in `tasks`, such as "ecs:runTask.sync".
        items: what the `ItemReader` of a distributed Map finds.
        coverage: is told where the execution went.
        seed: of the random numbers: the same seed, the same execution.

    Raises:
        InvalidParameterValue: a definition with which no app starts, also because of a service, an action or a parameter that
            cannot be called; an input that cannot be, a task without an answer, or an execution that never ends.

    """
    text, known_type = _definition(machine)
    if _DURABLE in text:
        raise InvalidParameterValue(
            "machine: a durable function is no machine of states: test it in an app on the virtual clock (forebay_app and "
            "forebay_clock), which its waits follow"
        )
    given = dict(tasks or {})
    checks.one_of("type", type or known_type, ("STANDARD", "EXPRESS"))
    _check_tasks(given, text)
    given_input = _json("input", {} if input is None else input)
    size = len(given_input.encode())
    if size > limits.EXECUTION_INPUT_BYTES_MAX:
        raise RequestTooLarge(f"input has {size:,} bytes: allowed are {limits.EXECUTION_INPUT_BYTES_MAX:,}")
    calls: dict[str, int] = {}

    def call(state: str, resource: str, arguments: str) -> tuple[str | None, str | None, str | None, int]:
        if state not in given:
            raise InvalidParameterValue(f"tasks: state {state!r} calls {resource}, and no answer is given for it")
        at = calls.get(state, 0)
        calls[state] = at + 1
        return _answered(state, given[state], at, arguments)

    try:
        status, output, error, cause, told, took_ms = play_workflow(
            text,
            type or known_type,
            payload.dumps(_callable(machine, text, services)),
            given_input,
            call,
            None if items is None else _json("items", list(items)),
            (_STARTED_MS, seed),
        )
    except InvalidParameterValue as refused:
        refused.args = (f"{refused}{no_arns(text, str(refused))}",)
        raise
    history, *children = (tuple(events) for events in json.loads(told))
    played = Played(
        status=status,  # type: ignore[arg-type]  # one of the four
        output=None if output is None else payload.loads(output.encode()),
        error=error,
        cause=cause,
        seconds=took_ms / 1000,
        history=history,
        child_histories=tuple(children),
    )
    if coverage is not None:
        coverage.add(played)
    return played


def try_state(
    definition: Mapping[str, Any] | str,
    input: Any = None,  # noqa: A002 - AWS's name
    answer: Answer | None = None,
    *,
    inspection_level: Literal["INFO", "DEBUG", "TRACE"] = "INFO",
    **more: Any,
) -> dict[str, Any]:
    """Test one state as AWS's TestState does, and give its answer.

    Args:
        definition: the state, or with `stateName=` the state machine that has it.
        input: the state's input; None: {}.
        answer: what the state's task answers; without it a Task state tells what it calls: `{"resource": ..., "arguments": ...}`.
        inspection_level: how much the answer has of the data on their way.
        **more: other fields of the request by AWS's names: `stateName`, `context`, `variables`, `mock`, `stateConfiguration`,
            `revealSecrets` and `roleArn`. `context` and `variables` may be dicts.

    Raises:
        InvalidParameterValue: an argument that cannot be, or with AWS's code and text.

    Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_TestState.html

    """
    checks.one_of("inspection_level", inspection_level, ("INFO", "DEBUG", "TRACE"))
    unknown = sorted(set(more) - _FIELDS)
    if unknown:
        raise InvalidParameterValue(
            f"try_state: TestState has no field {unknown[0]!r}: allowed are {', '.join(sorted(_FIELDS))}"
        )
    if answer is not None and not isinstance(answer, Succeeded | Failed):
        checks.refuse("answer", answer, "give Succeeded or Failed")
    if answer is not None and "mock" in more:
        raise InvalidParameterValue("try_state: answer and mock both say what the task answers: give one of them")
    request = {
        "roleArn": f"arn:aws:iam::{_ACCOUNT}:role/forebay",
        **{
            name: _json(name, value) if name in _TEXTS and not isinstance(value, str) else value
            for name, value in more.items()
        },
        "definition": put_in(
            definition if isinstance(definition, str) else _json("definition", definition),
            {},
            names.function_arn(_REGION, _ACCOUNT, ""),
        ),
        "input": _json("input", {} if input is None else input),
        "inspectionLevel": inspection_level,
    }
    result = _json("answer", answer.output) if isinstance(answer, Succeeded) else None
    error, cause = (answer.error, answer.cause) if isinstance(answer, Failed) else (None, None)
    told, _ = test_state(payload.dumps(request).decode(), result, error, cause, (_STARTED_MS, secrets.randbits(64)))
    answered: dict[str, Any] = json.loads(told)
    return answered


def read_mocks(path: str | Path, machine: str, case: str) -> dict[str, list[Answer]]:
    """Read the answers of a test case out of a mock file of Step Functions Local, for `run(tasks=...)`.

    Args:
        path: the file, as `SFN_MOCK_CONFIG` names it.
        machine: the state machine's name in it.
        case: the test case's name.

    Raises:
        InvalidParameterValue: the file cannot be read, or has no such case.

    Source: https://docs.aws.amazon.com/step-functions/latest/dg/sfn-local-mock-cfg-file.html

    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        states = _of(_of(content["StateMachines"], "machine", machine)["TestCases"], "case", case)
        responses = content["MockedResponses"]
        return {state: _mocked(_of(responses, "response", name)) for state, name in states.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"no {error} in it" if isinstance(error, KeyError) else str(error)
        checks.refuse("path", str(path), f"a mock file with case {case!r} of machine {machine!r}: {reason}")


def _of(parts: Mapping[str, Any], kind: str, name: str) -> Any:
    """Give a part of a mock file; where there is none, say which ones there are."""
    if name not in parts:
        raise ValueError(f"it has no {kind} {name!r}, but {', '.join(map(repr, parts)) or 'none at all'}")
    return parts[name]


def _mocked(responses: Mapping[str, Any]) -> list[Answer]:
    """Read `{"0": {"Return": ...}, "1-2": {"Throw": {"Error", "Cause"}}}`: by the number of the call."""
    answers: dict[int, Answer] = {}
    for numbers, response in responses.items():
        first, _, last = numbers.partition("-")
        for number in range(int(first), int(last or first) + 1):
            if "Throw" in response:
                answers[number] = Failed(response["Throw"]["Error"], response["Throw"].get("Cause"))
            else:
                answers[number] = Succeeded(response["Return"])
    return [answers[number] for number in sorted(answers)]


def _answered(state: str, given: Answers, at: int, arguments: str) -> tuple[str | None, str | None, str | None, int]:
    answer = given
    if isinstance(given, Sequence):
        if at >= len(given):
            raise InvalidParameterValue(
                f"tasks: state {state!r} is called {at + 1} times, and has {counted(len(given), 'answer')}"
            )
        answer = given[at]
    elif callable(given):
        try:
            answer = Succeeded(given(payload.loads(arguments.encode())))
        except Exception as error:  # noqa: BLE001 - whatever a task raises is how it fails
            answer = Failed(type(error).__name__, str(error))
    if isinstance(answer, Failed):
        return None, answer.error, answer.cause, round(answer.after * 1000)
    if isinstance(answer, Succeeded):
        return _json(f"tasks: the answer of state {state!r}", answer.output), None, None, round(answer.after * 1000)
    raise InvalidParameterValue(
        f"tasks: the answer of state {state!r} is {answer!r}: give Succeeded(…) or Failed(…), a list of them, or a function"
    )


def _check_tasks(tasks: Mapping[str, Answers], definition: str) -> None:
    """Refuse answers that no state could be given, and functions that cannot be called here."""
    for state, answers in tasks.items():
        if isinstance(answers, Function) or inspect.iscoroutinefunction(answers):
            raise InvalidParameterValue(
                f"tasks: state {state!r} has {answers!r}, which runs in an app: give a plain function of one argument, "
                "or Succeeded or Failed"
            )
    try:
        known = dict(_states(json.loads(definition)))
    except (ValueError, AttributeError):
        return  # what is wrong with the definition is told with its place
    for state in tasks:
        if state not in known:
            raise InvalidParameterValue(
                f"tasks: the definition has no state {state!r}: it has {', '.join(map(repr, known))}"
            )


def _json(name: str, value: Any) -> str:
    try:
        return payload.dumps(value).decode()
    except (TypeError, ValueError) as error:
        raise InvalidParameterValue(f"{name}={value!r}: it cannot be written as JSON: {error}") from error


def _definition(machine: Machine) -> tuple[str, Literal["STANDARD", "EXPRESS"]]:
    if isinstance(machine, Workflow):
        return machine.settings.definition, machine.settings.type
    return definition_text(machine, {}, names.function_arn(_REGION, _ACCOUNT, "")), "STANDARD"


def _callable(machine: Machine, text: str, services: Iterable[Integration | Objects | str]) -> dict[str, Any]:
    """Say what tasks may call beside the store, as an app says it to its engine."""
    if isinstance(services, str):
        checks.refuse("services", services, 'give a list, such as ["ecs:runTask.sync"]')
    names = [one.rpartition(":::")[2] for one in services if isinstance(one, str)]
    given = [one for one in services if not isinstance(one, str)]
    for one in given:
        if not isinstance(one, Objects) and not hasattr(one, "resources"):
            checks.refuse("services", one, 'give integrations, and names such as "ecs:runTask.sync"')
    own = machine.integrations if isinstance(machine, Workflow) else None
    integrations = [one for one in given if not isinstance(one, Objects)]
    for one in given:
        names += [*READS, *WRITES] if isinstance(one, Objects) else one.resources
    if own is None:
        check_sdk(text, integrations)
        for unknown in unknown_sdk_calls(text, names):
            raise InvalidParameterValue(f"{unknown['location']}: {unknown['message']}")
    told = callable_services(text) if own is None else own.declaration
    more = declaration(integrations, names)
    return {"resources": told["resources"] + more["resources"], "parameters": told["parameters"] | more["parameters"]}


def _states(flow: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Give the states of a machine, of its branches and of its processors."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for name, state in flow.get("States", {}).items():
        found.append((name, state))
        for branch in [*state.get("Branches", ()), state.get("ItemProcessor"), state.get("Iterator")]:
            if branch:
                found += _states(branch)
    return found

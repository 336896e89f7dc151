"""Tasks and threads run attempts; the runner hands over their ends without a wake-up each."""

import asyncio
import gc
import json
import threading
import weakref

import pytest

from forebay._runtime import answer
from forebay._runtime.context import FunctionFacts
from forebay._runtime.environments import ServedFunction
from forebay._runtime.runner import Runner
from forebay._runtime.tasks import TaskEnvironment
from forebay._runtime.threads import ThreadEnvironment, ThreadPool
from forebay._wire import payload
from forebay.clock import SystemClock
from forebay.errors import OwnerLost

FAR = 10**15


class OutcomeSink(list):
    """Collects what has ended."""

    def __init__(self):
        super().__init__()
        self.changed = asyncio.Event()

    def ended(self, outcome):
        self.append(outcome)
        self.changed.set()

    def execution_of(self, token):
        return f" for execution {token}"

    async def at_least(self, count):
        async with asyncio.timeout(100):
            while len(self) < count:
                self.changed.clear()
                await self.changed.wait()


def served(handler):
    facts = FunctionFacts(function_name="f", function_arn="arn", log_stream_name="log", wall=lambda: 0.0)
    return ServedFunction(handler=handler, facts=facts, wants_batch=False)


def tasks(handler, ends):
    return TaskEnvironment(served(handler), ends, asyncio.get_running_loop(), lambda: 0)


async def passes():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_attempt_runs_in_a_real_task_named_by_its_request():
    ends, names = OutcomeSink(), []

    async def handler(event, context):
        names.append(asyncio.current_task().get_name())
        async with asyncio.timeout(100), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))

    tasks(handler, ends).start((1, 0, answer.EVENT, {}, "request-1", FAR, None, None))
    await passes()
    assert names == ["request-1"]
    assert ends == [(1, answer.RETURNED, None, 0)]


@pytest.mark.parametrize(("status", "reads", "body"), [(0, False, None), (0, True, b'{"a":1}')])
async def test_a_response_is_handed_over_where_somebody_reads_it(status, reads, body):
    ends = OutcomeSink()

    async def handler(event, context):
        return {"a": 1}

    environment = tasks(handler, ends)
    environment._served.reads = reads
    environment.start((1, 0, answer.EVENT, {}, "r", FAR, None, None))
    await passes()
    assert ends == [(1, status, body, 0)]


@pytest.mark.parametrize("begun", [False, True])
async def test_a_stopped_attempt_is_told_of_once_when_it_has_ended(begun):
    ends = OutcomeSink()

    async def handler(event, context):
        await asyncio.sleep(60)

    environment = tasks(handler, ends)
    environment.start((1, 0, answer.EVENT, {}, "r", FAR, None, None))
    if begun:
        await passes()
    environment.stop(1, answer.STOPPED)
    environment.stop(7, answer.STOPPED)  # ended before: nothing to do
    await passes()
    assert ends == [(1, answer.STOPPED, None, 0)]
    assert environment.tokens() == []


async def test_a_late_answer_is_handed_on():
    """The engine knows that it has stopped the attempt. The answer may name a job, which ran on: nobody was told of it."""
    ends, gate = OutcomeSink(), asyncio.Event()

    async def handler(event, context):
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue
        return "late"

    environment = tasks(handler, ends)
    environment.start((1, 0, answer.INVOCATION, b"null", "r", FAR, None, None))
    await passes()
    environment.stop(1, answer.STOPPED)
    await passes()
    assert (ends, environment.tokens()) == ([], [1])
    gate.set()
    await passes()
    assert ends == [(1, answer.RETURNED, b'"late"', 0)]


async def test_a_failure_holds_no_frame_alive():
    ends, held = OutcomeSink(), []

    class Big:
        pass

    async def handler(event, context):
        big = Big()
        held.append(weakref.ref(big))
        raise ValueError("no")

    tasks(handler, ends).start((1, 0, answer.EVENT, {}, "r", FAR, None, None))
    await passes()
    gc.collect()
    assert held[0]() is None
    assert payload.loads(ends[0][2])["errorType"] == "ValueError"


async def test_a_payload_that_is_no_json_fails_the_attempt():
    ends = OutcomeSink()

    async def handler(event, context):
        raise AssertionError

    tasks(handler, ends).start((1, 0, answer.INVOCATION, b"{", "r", FAR, None, None))
    await passes()
    assert payload.loads(ends[0][2])["errorType"] == "Runtime.UnmarshalError"


async def test_threads_are_reused_and_never_more_than_allowed():
    ends, names, gate = OutcomeSink(), set(), threading.Event()
    pool = ThreadPool(3, asyncio.get_running_loop())

    def handler(event, context):
        names.add(threading.current_thread().name)
        gate.wait(100)

    environment = ThreadEnvironment(served(handler), ends, pool, lambda: 0)
    for token in range(20):
        environment.start((token, 0, answer.EVENT, {}, "r", FAR, None, None))
    gate.set()
    await ends.at_least(20)
    assert sorted(token for token, *_ in ends) == list(range(20))
    for token in range(20, 40):
        environment.start((token, 0, answer.EVENT, {}, "r", FAR, None, None))
        await ends.at_least(token + 1)
    assert len(names) <= 3
    pool.close()


async def test_a_thread_cannot_be_stopped_and_its_answer_is_refused():
    ends, gate = OutcomeSink(), threading.Event()
    pool = ThreadPool(1, asyncio.get_running_loop())

    def handler(event, context):
        gate.wait(100)
        return "late"

    environment = ThreadEnvironment(served(handler), ends, pool, lambda: 0)
    environment.start((1, 0, answer.INVOCATION, b"null", "r", FAR, None, None))
    environment.stop(1, answer.STOPPED)
    await asyncio.sleep(0.01)
    assert ends == []
    gate.set()
    await ends.at_least(1)
    assert ends == [(1, answer.STOPPED, None, 0)]
    pool.close()


class Engine:
    """Hands out works once, and remembers what it was given."""

    role = "owner"

    def __init__(self, works):
        self.works = works
        self.exchanges = []

    def tail(self, request_id, text):
        """Nobody wants the lines of an invocation."""
        return False

    def exchange(self, outcomes, maximum):
        self.exchanges.append(outcomes)
        works, self.works = self.works[:maximum], self.works[maximum:]
        return works, []


async def test_what_is_left_behind_tells_nobody_how_it_ends():
    """The next engine counts its tokens anew: the end of a thread of the last one was taken for that of another attempt."""
    ends, goes_on, pool = OutcomeSink(), threading.Event(), ThreadPool(1, asyncio.get_running_loop())
    ended = asyncio.Event()

    def in_thread(event, context):
        goes_on.wait(100)

    async def in_task(event, context):
        await ended.wait()

    threads = ThreadEnvironment(served(in_thread), ends, pool, lambda: 0)
    left = [threads, tasks(in_task, ends)]
    for environment in left:
        environment.start((1, 0, answer.EVENT, {}, "request-1", FAR, None, None))
        environment.leave_behind()
    ended.set()
    goes_on.set()
    following = ThreadEnvironment(served(in_thread), ends, pool, lambda: 0)
    following.start((1, 0, answer.EVENT, {}, "request-2", FAR, None, None))
    await ends.at_least(1)
    await passes()
    assert len(ends) == 1
    pool.close()


async def test_what_is_left_behind_asks_nothing_any_more():
    """A thread that had hung put what the next attempt of its record had put before: `OwnerLost` had kept it from that."""
    loop, ended, refused = asyncio.get_running_loop(), asyncio.Event(), []
    pool = ThreadPool(1, loop)
    goes_on, runner = threading.Event(), Runner(loop, SystemClock(), pool)
    runner.asks_through_loop = True

    def in_thread(event, context):
        goes_on.wait(100)
        for ask in (runner.blocking, lambda begin: runner.ask_now(begin, may_wait=True)):
            try:
                ask(lambda engine: 1)
            except OwnerLost as error:
                refused.append(str(error))
        loop.call_soon_threadsafe(ended.set)

    async def in_task(event, context):
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            with pytest.raises(OwnerLost) as caught:
                runner.ask(lambda engine: 1)
            refused.append(str(caught.value))

    runner.serve(0, ThreadEnvironment(served(in_thread), runner, pool, lambda: 0))
    runner.serve(1, TaskEnvironment(served(in_task), runner, loop, lambda: 0))
    for handler in (0, 1):
        runner._begin((handler, handler, answer.EVENT, {}, "request-1", FAR, None, None))
    await passes()
    [task] = [attempt.task for attempt in runner.attempts() if attempt.task is not None]
    runner.leave_behind()
    assert list(runner.attempts()) == []
    task.cancel()
    goes_on.set()
    await asyncio.wait_for(ended.wait(), 100)
    assert len(refused) == 3
    assert all("left behind" in text for text in refused)
    pool.close()


async def test_a_task_that_was_left_behind_takes_nothing_from_threads():
    """While one lived, whatever a thread asked failed: it has no event loop of which a task could be the current one."""
    loop, ends = asyncio.get_running_loop(), asyncio.Event()
    runner = Runner(loop, SystemClock(), ThreadPool(1, loop))
    runner._engine = runner._waiting = Engine([])

    async def hangs(event, context):
        await ends.wait()

    runner.serve(0, TaskEnvironment(served(hangs), runner, loop, lambda: 0))
    runner._begin((0, 0, answer.EVENT, {}, "request-1", FAR, None, None))
    await passes()
    runner.leave_behind()
    assert len(runner._left) == 1
    assert await asyncio.to_thread(runner.blocking, lambda engine: engine.role) == "owner"
    assert await asyncio.to_thread(lambda: runner.ask_now(lambda engine: engine.role, may_wait=True)) == "owner"
    ends.set()
    await passes()


async def test_all_that_ends_in_one_pass_of_the_loop_goes_out_together():
    loop = asyncio.get_running_loop()
    runner = Runner(loop, SystemClock(), ThreadPool(1, loop))
    engine = Engine([(token, 0, answer.EVENT, {}, "r", FAR, None, None) for token in range(100)])
    runner._engine = engine

    async def handler(event, context):
        await asyncio.sleep(0)

    runner.serve(0, TaskEnvironment(served(handler), runner, loop, lambda: 0))
    runner._pump()
    await passes()
    assert [len(outcomes) for outcomes in engine.exchanges if outcomes] == [100]


async def test_failed_attempts_are_told_of_once_a_second(caplog):
    ends, now = OutcomeSink(), [0]

    async def handler(event, context):
        raise ValueError("bad luck")

    environment = TaskEnvironment(served(handler), ends, asyncio.get_running_loop(), lambda: now[0])
    for second in (0, 0.1, 0.2, 1.5):
        now[0] = int(second * 1e9)
        environment.start((1, 0, answer.EVENT, {}, "r", FAR, None, None))
        await passes()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "function f: an attempt failed: ValueError: bad luck" in told[0]
    assert told[1].endswith("(2 more failures since the last line)")


@pytest.mark.parametrize("kind", [answer.ASYNCHRONOUS, answer.INVOCATION])
async def test_a_failure_is_told_of_with_what_it_ran_for(kind, caplog):
    """Tasks of workflows are asynchronous events for a process; nothing led from the line to their executions."""

    async def handler(event, context):
        raise ValueError("bad luck")

    environment = TaskEnvironment(served(handler), OutcomeSink(), asyncio.get_running_loop(), lambda: 0)
    environment.start((7, 0, kind, b"{}", "r", FAR, None, None))
    await passes()
    [told] = [record.getMessage() for record in caplog.records]
    assert told.endswith(" for execution 7") == (kind == answer.ASYNCHRONOUS)


async def test_a_failure_is_told_of_with_the_line_of_the_handler(caplog):
    """It was a line of Python's own json that whoever wrote the handler had to start from."""
    ends = OutcomeSink()

    async def handler(event, context):
        json.loads("")

    environment = TaskEnvironment(served(handler), ends, asyncio.get_running_loop(), lambda: 0)
    environment.start((1, 0, answer.EVENT, {}, "r", FAR, None, None))
    await passes()
    [told] = [record.getMessage() for record in caplog.records]
    assert "JSONDecodeError" in told and "test_environments.py" in told and told.endswith('json.loads("")'), told


async def test_the_last_failures_are_told_of_although_no_other_follows(caplog):
    """The second attempt of two, and with it why a record was given up, stood in no log: it failed within the same second."""
    ends, now = OutcomeSink(), [0]

    async def handler(event, context):
        raise ValueError(event)

    environment = TaskEnvironment(served(handler), ends, asyncio.get_running_loop(), lambda: now[0])
    for second, error in ((0, "first"), (0.98, "second"), (0.99, "third"), (1.5, "fourth")):
        now[0] = int(second * 1e9)
        environment.start((1, 0, answer.EVENT, error, "r", FAR, None, None))
        await passes()
        if error == "third":
            await asyncio.sleep(0.05)
    environment.close()
    environment.close()
    told = [record.getMessage() for record in caplog.records]
    assert [line.split(": ")[3].split()[0] for line in told] == ["first", "third", "fourth"]
    assert told[1].endswith("(1 more failure since the last line)")
    assert not told[2].endswith("line)")


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
async def test_nothing_that_a_handler_raises_gets_out_of_its_task(error, eager):
    ends = OutcomeSink()

    async def handler(event, context):
        raise error

    facts = served(handler)
    TaskEnvironment(facts, ends, asyncio.get_running_loop(), lambda: 0, eager=eager).start(
        (1, 0, answer.EVENT, {}, "r", FAR, None, None)
    )
    await passes()
    [(_, status, body, _)] = ends
    assert status == answer.RAISED
    assert payload.loads(body)["errorType"] in {"Runtime.ExitError", type(error).__name__}

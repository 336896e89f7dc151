"""The last lines of an invocation, as `LogType=Tail` of Lambda's `Invoke` gives them."""

import base64
import re
import threading

import pytest
import tail_app
from wire_app import served

REPORT = re.compile(
    r"END RequestId: (?P<id>[0-9a-f-]{36})\n"
    r"REPORT RequestId: (?P=id)\tDuration: [0-9]+\.[0-9]{2} ms\tBilled Duration: [0-9]+ ms\t"
    r"Memory Size: (?P<size>[0-9]+) MB\tMax Memory Used: [1-9][0-9]* MB(?P<status>.*)\n"
)


@pytest.fixture
def functions():
    """Serve an app with a function of each kind."""
    with served(tail_app.app) as running:
        yield running.client("lambda")


def tail(functions, name, payload, **more):
    """Invoke; give the lines between START and END, the status behind REPORT, and the answer."""
    told = functions.invoke(FunctionName=name, Payload=payload, LogType="Tail", **more)
    lines = base64.b64decode(told["LogResult"]).decode()
    assert len(lines) <= 4096
    found = REPORT.search(lines)
    assert found, lines
    assert lines.endswith(found[0])
    begin = f"START RequestId: {found['id']} Version: $LATEST\n"
    written = lines[: found.start()]
    return written.removeprefix(begin), found, told


def test_a_task_tells_what_it_logs_and_prints(functions):
    written, found, told = tail(functions, "in_task", b'"a"')
    lines = written.splitlines()
    assert lines[0] == "printed a"
    assert re.fullmatch(rf"\[WARNING\]\t[0-9T:.-]+Z\t{found['id']}\tlogged a", lines[1])
    assert lines[2:] == ["from a thread"]
    assert (found["size"], found["status"], told["Payload"].read()) == ("128", "", b'"a"')


def test_a_thread_tells_what_it_logs_and_prints(functions):
    written, _, _ = tail(functions, "in_thread", b'"a"')
    assert re.fullmatch(r"printed a\n\[WARNING\]\t.*\tlogged a\n", written)


def test_a_process_tells_all_that_it_writes(functions):
    written, found, _ = tail(functions, "in_process", b'"a"')
    lines = written.splitlines()
    assert "printed a" in lines
    assert "an error" in lines
    assert any("logged a" in line for line in lines)
    assert found["size"] == "256"


@pytest.mark.parametrize("name", ["in_task", "in_process"])
def test_an_error_stands_in_the_lines(functions, name):
    written, _, told = tail(functions, name, b'"fail"')
    assert told["FunctionError"] == "Unhandled"
    assert "[ERROR] ValueError: no\nTraceback (most recent call last):\n  File " in written


def test_a_timeout_stands_in_the_lines(functions):
    written, found, _ = tail(functions, "slow", b"1")
    assert written.startswith("begun\n")
    assert "Task timed out after 0.20 seconds" in written
    assert found["status"] == "\tStatus: timeout"


def test_the_last_of_many_lines_is_told(functions):
    written, _, _ = tail(functions, "in_task", b'"long"')
    assert "line 999\nfrom a thread\n" in written
    assert "printed" not in written


def test_whoever_does_not_ask_has_no_lines_and_a_stream_tells_them_at_its_end(functions):
    assert "LogResult" not in functions.invoke(FunctionName="in_task", Payload=b'"a"')
    streamed = functions.invoke_with_response_stream(FunctionName="in_task", Payload=b'"s"', LogType="Tail")
    (end,) = [event["InvokeComplete"] for event in streamed["EventStream"] if "InvokeComplete" in event]
    assert "printed s\n" in base64.b64decode(end["LogResult"]).decode()


def test_invocations_beside_each_other_have_their_own_lines(functions):
    found = {}

    def ask(name):
        found[name] = tail(functions, "in_task", f'"{name}"'.encode())[0]

    threads = [threading.Thread(target=ask, args=(f"n{number}",)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert {name: written.splitlines()[0] for name, written in found.items()} == {
        name: f"printed {name}" for name in found
    }
    assert len(found) == 8

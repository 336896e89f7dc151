"""Every line that a handler logs says which request it belongs to."""

import asyncio
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from forebay import App, InvalidParameterValue, logs

log = logging.getLogger("shop")


@pytest.fixture
def lines():
    """Have lines of this test written as JSON; gives what was written so far."""
    stream = io.StringIO()
    root = logging.getLogger()
    level = root.level
    handler = logs.install(form="json", stream=stream, level="DEBUG")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines() if '"shop"' in line or "attempt" in line]
    root.removeHandler(handler)
    root.setLevel(level)


async def test_lines_of_tasks_and_of_what_they_begin_have_their_request_id(lines):
    app = App("logs", store=":memory:")

    def elsewhere():
        log.info("in a thread")

    async def child():
        await asyncio.sleep(0)
        log.info("in a child")

    @app.function()
    async def handler(event, context):
        log.info("before", extra={"order": event})
        await asyncio.gather(child(), asyncio.to_thread(elsewhere))
        await asyncio.sleep(0.01)
        log.info("after", extra={"id": context.aws_request_id})

    async with app:
        log.info("outside")
        await asyncio.gather(*(handler.invoke(number) for number in range(5)))
        log.info("outside again")
    written = lines()
    outside = [line for line in written if line["message"].startswith("outside")]
    assert len(outside) == 2
    assert not any("requestId" in line or "functionName" in line for line in outside)
    inside = [line for line in written if line not in outside]
    requests = {line["requestId"] for line in inside}
    assert len(inside) == 20
    assert len(requests) == 5
    assert all(line["functionName"] == "handler" for line in inside)
    assert all(line["id"] == line["requestId"] for line in inside if line["message"] == "after")
    assert sorted(line["order"] for line in inside if line["message"] == "before") == [0, 1, 2, 3, 4]


async def test_lines_of_threads_have_their_request_id_and_the_next_attempt_has_another(lines):
    app = App("logs", store=":memory:", concurrency=1)

    @app.function(isolation="thread")
    def handler(event, context):
        log.warning("in %s", threading.current_thread().name, extra={"id": context.aws_request_id})

    async with app:
        for _ in range(3):
            await handler.invoke(None)
    written = lines()
    assert {line["message"] for line in written} == {"in forebay-handler-1"}
    assert len({line["requestId"] for line in written}) == 3
    assert all(line["id"] == line["requestId"] for line in written)


@pytest.mark.parametrize("kind", ["task", "thread"])
async def test_the_line_about_a_failed_attempt_names_its_request(lines, kind):
    app = App("logs", store=":memory:")

    async def in_task(event, context):
        log.info("told")
        raise KeyError("no such order")

    def in_thread(event, context):
        log.info("told")
        raise KeyError("no such order")

    handler = app.function(name="fails", isolation=kind)(in_task if kind == "task" else in_thread)
    async with app:
        with pytest.raises(Exception, match="no such order"):
            await handler.invoke(None)
    told, failed = lines()
    assert failed["requestId"] == told["requestId"]
    assert failed["functionName"] == "fails"
    assert "an attempt failed: KeyError: 'no such order'" in failed["message"]


def test_a_json_line_has_lambdas_fields():
    formatter = logs.JSONFormatter()
    record = logging.makeLogRecord(
        {
            "name": "shop",
            "levelname": "INFO",
            "msg": "%s of %s",
            "args": (1, 2),
            "created": 1_585_000_000.25,
            "msecs": 250,
        }
    )
    record.order, record.odd = {"id": 7}, {1, 2}.__class__
    assert json.loads(formatter.format(record)) == {
        "timestamp": "2020-03-23T21:46:40.250Z",
        "level": "INFO",
        "message": "1 of 2",
        "logger": "shop",
        "order": {"id": 7},
        "odd": "<class 'set'>",
    }


def test_a_json_line_tells_of_an_error_as_lambda_does():
    try:
        int("too\nbad")
    except ValueError:
        record = logging.makeLogRecord(
            {"name": "shop", "levelname": "ERROR", "msg": "failed", "exc_info": sys.exc_info()}
        )
    line = logs.JSONFormatter().format(record)
    told = json.loads(line)
    assert "\n" not in line
    assert (told["errorType"], told["errorMessage"]) == (
        "ValueError",
        "invalid literal for int() with base 10: 'too\\nbad'",
    )
    assert 'int("too\\nbad")' in told["stackTrace"][0]


def test_text_is_for_people():
    record = logging.makeLogRecord({"name": "shop", "levelname": "INFO", "msg": "hello", "created": 0, "msecs": 7})
    formatter = logs.TextFormatter()
    assert formatter.format(record).endswith(".007 INFO    shop: hello")
    record.aws_request_id = "a-request"
    assert formatter.format(record).endswith(".007 INFO    shop [a-request]: hello")


FORGED = "22:17:19.000 WARNING bank: paid twice"
UNSAFE = f"lost\n{FORGED}\r\x1b[2K\x9b31m\x85\u2028\u202e\ud800\tend"
ESCAPED = f"lost\\n{FORGED}\\r\\x1b[2K\\x9b31m\\x85\\u2028\\u202e\\ud800\tend"


def written(record, formatter):
    text = formatter.format(record)
    assert not any(code in text for code in "\r\x1b\x9b\x85\u2028\u202e\ud800\x7f")
    text.encode()
    return text


def test_a_payload_in_a_text_line_ends_no_line_and_steers_no_terminal():
    """A handler that logged a payload let its sender write log lines, and clear the terminal they were read in."""
    record = logging.makeLogRecord({"name": f"shop\n{FORGED}", "levelname": "INFO", "msg": "%s", "args": (UNSAFE,)})
    record.aws_request_id = f"id\n{FORGED}"
    text = written(record, logs.TextFormatter())
    assert text.endswith(f" INFO    shop\\n{FORGED} [id\\n{FORGED}]: {ESCAPED}")
    assert "\n" not in text


@pytest.mark.parametrize("formatted_before", [False, True])
def test_an_error_text_in_a_traceback_looks_like_no_log_line(formatted_before):
    """The text of an exception went into the log as it was, behind a line of its own; so did what another formatter had kept."""

    def fail():
        raise ValueError(UNSAFE)

    try:
        fail()
    except ValueError as error:
        error.add_note(f"noted\n{FORGED}")
        record = logging.makeLogRecord({"name": "shop", "levelname": "ERROR", "msg": "no", "exc_info": sys.exc_info()})
    record.stack_info = f"Stack:\n{FORGED}"
    if formatted_before:
        logging.Formatter().format(record)
    first, *below = written(record, logs.TextFormatter()).split("\n")
    assert first.endswith("ERROR   shop: no")
    assert below[0] == "  | Traceback (most recent call last):"
    assert f"  | {FORGED}" in below
    assert all(line.startswith("  | ") for line in below)


def test_a_json_line_is_one_line_whatever_is_in_it():
    """JSON keeps controls above 0x7e as they are, and half a surrogate pair lost the whole line."""
    record = logging.makeLogRecord({"name": "shop", "levelname": "INFO", "msg": UNSAFE + "\x7f", "big": 2**70})
    line = written(record, logs.JSONFormatter())
    assert len(line.splitlines()) == 1
    assert json.loads(line)["message"] == UNSAFE + "\x7f"
    assert json.loads(line)["big"] == 2**70


@pytest.mark.parametrize("kind", ["task", "thread"])
async def test_the_line_about_a_failed_attempt_is_one_line(caplog, kind):
    """An app with its own logging had the error's text as the payload made it: only `forebay.logs` can escape the rest."""
    app = App("logs", store=":memory:")

    async def in_task(event, context):
        raise ValueError(event)

    def in_thread(event, context):
        raise ValueError(event)

    handler = app.function(name="fails", isolation=kind)(in_task if kind == "task" else in_thread)
    async with app:
        with pytest.raises(Exception, match="paid twice"):
            await handler.invoke(f"x\n{FORGED}\x1b[2K")
    [line] = [record.getMessage() for record in caplog.records if "an attempt failed" in record.getMessage()]
    assert f"ValueError: x\\n{FORGED}\\x1b[2K at File" in line
    assert len(line.splitlines()) == 1


def test_only_a_terminal_gets_text_by_itself(monkeypatch):
    root = logging.getLogger()
    for terminal, kind in ((True, logs.TextFormatter), (False, logs.JSONFormatter)):
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", lambda terminal=terminal: terminal)
        handler = logs.install(stream=stream, level="WARNING")
        try:
            assert isinstance(handler.formatter, kind)
        finally:
            root.removeHandler(handler)


@pytest.mark.parametrize("option", [{"form": "xml"}, {"level": "LOUD"}, {"level": "info"}])
def test_other_forms_and_levels_are_refused(option):
    with pytest.raises(InvalidParameterValue):
        logs.install(**option)


async def test_a_service_that_embeds_an_app_keeps_its_logging():
    root = logging.getLogger()
    before = (list(root.handlers), root.level, logging.getLogRecordFactory())
    async with App("embedded", store=":memory:"):
        pass
    assert (root.handlers, root.level, logging.getLogRecordFactory()) == before
    assert logging.getLogger("forebay").handlers == []


APP = """
import logging, forebay
app = forebay.App("shop", store="data")

@app.function()
async def handler(event, context):
    logging.getLogger("shop").info("handled %s", event)
"""


def test_forebay_run_writes_json_where_nobody_looks_on(tmp_path):
    (tmp_path / "shop.py").write_text(APP)
    command = [sys.executable, "-W", "ignore", "-m", "forebay.cli"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with (tmp_path / "log").open("w") as log_file:
        service = subprocess.Popen(
            [*command, "run", "shop:app", "--metrics-port", "0"], cwd=tmp_path, stderr=log_file, env=environment
        )
        ends = time.monotonic() + 100
        while "runs on " not in (tmp_path / "log").read_text():
            assert time.monotonic() < ends
            time.sleep(0.02)
        subprocess.run([*command, "invoke", "handler", "7"], cwd=tmp_path, check=True, capture_output=True)
        service.send_signal(signal.SIGTERM)
        assert service.wait(100) == 0
    written = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {"timestamp", "level", "message", "logger"} <= set(written[0])
    [handled] = [line for line in written if line["message"] == "handled 7"]
    assert len(handled["requestId"]) == 36
    assert handled["functionName"] == "handler"


def test_a_line_is_not_lost_for_a_great_number(lines):
    """A whole number beyond 64 bits in `extra` was an error of the logging module, and the line was gone."""
    log.info("counted", extra={"count": 2**64, "what": {1}})
    [line] = lines()
    assert (line["message"], line["count"], line["what"]) == ("counted", 2**64, "{1}")


PROCESSES = """
import ctypes, logging, os, pathlib, forebay
app = forebay.App("shop", store="data")

@app.function(timeout=30, memory=256)
def ship(event, context):
    logging.getLogger("shop").info("ships %s", event)
    if event == "exit":
        os._exit(3)
    if event == "memory":
        held = [b"x" * 10_000_000 for _ in range(100)]
    if event == "raise":
        raise ValueError("no paper")
    return [pathlib.Path("/proc/self/cmdline").read_text().rstrip("\\0"), context.aws_request_id]
"""


def served(tmp_path, program, events, *options):
    """Serve an app, invoke it, and stop it; give what was invoked and the lines of the log."""
    (tmp_path / "shop.py").write_text(program)
    command = [sys.executable, "-W", "ignore", "-m", "forebay.cli"]
    with (tmp_path / "log").open("w") as log_file:
        service = subprocess.Popen(
            [*command, "run", "shop:app", "--metrics-port", "0", *options],
            cwd=tmp_path,
            stderr=subprocess.STDOUT,
            stdout=log_file,
            env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONWARNINGS": "ignore::RuntimeWarning"},
        )
        ends = time.monotonic() + 100
        while "runs on " not in (tmp_path / "log").read_text():
            assert time.monotonic() < ends
            time.sleep(0.02)
        words = [[*command, "invoke", "ship", json.dumps(event), "--output", "json"] for event in events]
        answers = [
            subprocess.run(each, cwd=tmp_path, check=False, capture_output=True, text=True).stdout for each in words
        ]
        service.send_signal(signal.SIGTERM)
        assert service.wait(100) == 0
    return [json.loads(answer) for answer in answers], (tmp_path / "log").read_text().splitlines()


def test_a_handler_in_a_process_logs_as_one_in_a_thread_and_its_end_is_told_with_request_and_reason(tmp_path):
    """Its INFO lines were never written; names before its lines and forebay's own remarks were not JSON; no line said memory."""
    answers, lines = served(tmp_path, PROCESSES, ["a book", "exit", "memory", "raise"])
    [title, request], exited, killed, _ = answers
    assert title == "forebay: shop.ship", "it was the interpreter's whole command line, 600 characters long"
    written = [json.loads(line) for line in lines]
    [shipped] = [line for line in written if line["message"] == "ships a book"]
    assert (shipped["level"], shipped["requestId"], shipped["functionName"]) == ("INFO", request, "ship")
    ends = [line for line in written if "an execution environment ended" in line["message"]]
    for end, error in zip(ends, (exited, killed), strict=True):
        request = error["errorMessage"].split()[1]
        assert (end["requestId"], end["functionName"]) == (request, "ship")
        assert f"ended during request {request}: " in end["message"]
    assert ends[0]["message"].endswith("Runtime exited with error: exit status 3")
    assert re.search("memory.* than memory=256$", ends[1]["message"])
    assert killed["errorMessage"].endswith("signal: killed"), "Lambda's own words"
    assert any("an attempt failed: ValueError: no paper" in line["message"] for line in written)


def test_text_lines_of_a_process_name_their_request_once(tmp_path):
    [[_, request]], lines = served(tmp_path, PROCESSES, ["a book"], "--log-format", "text")
    [shipped] = [line for line in lines if "ships a book" in line]
    assert shipped.startswith(f"ship {request} ")
    assert shipped.endswith("INFO    shop: ships a book")


async def test_a_process_takes_over_the_levels_of_the_process_that_runs_the_app(import_app, monkeypatch):
    root, deep = logging.getLogger(), logging.getLogger("shop.deep")
    monkeypatch.setattr(root, "level", logging.ERROR)
    monkeypatch.setattr(deep, "level", logging.DEBUG)
    module = import_app("process_isolation")
    async with module.app:
        told = await module.logs.invoke()
    assert told == {"root": logging.ERROR, "deep": logging.DEBUG, "handlers": 1}

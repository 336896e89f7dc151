"""The `forebay` command, as a user types it: real processes, real stores."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.metadata import version as installed

import pytest
from cli_commands import asked, forebay
from ports import free_port

from forebay.cli import root

APP = """
import asyncio, json, os, sys
import forebay

app = forebay.App("shop", store="data")
orders = app.stream("orders", shards=2)


@app.on_stream("orders", batch_size=1, maximum_retry_attempts=0, retry_backoff=forebay.Backoff(base=0.01, cap=0.01))
@app.function(timeout=30)
async def handle(batch: forebay.Batch, context):
    for record in batch:
        body = record.json()
        if body.get("bad"):
            raise ValueError("a bad one")
        if body.get("slow"):
            print("slow begins", flush=True)
            await asyncio.sleep(body["slow"])
        print("handled", body["id"], flush=True)


@app.function()
async def add(event, context):
    return {"sum": event["a"] + event["b"]}


@app.function(maximum_retry_attempts=0)
async def bill(event, context):
    if event.get("bad"):
        raise ValueError("a bad one")
    print("billed", event["id"], flush=True)
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "shop.py").write_text(APP)
    return tmp_path


class Service:
    """`forebay run` in the background."""

    def __init__(self, place, *options):
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "forebay.cli",
            "run",
            "shop:app",
            "--metrics-port",
            "0",
            *options,
        ]
        with (place / "stderr").open("w") as stderr:
            self.process = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=stderr, text=True)
        self.place = place
        self.wait_for_log("runs on ")

    def wait_for_log(self, text):
        ends = time.monotonic() + 100
        while text not in (self.place / "stderr").read_text():
            assert self.process.poll() is None and time.monotonic() < ends, (self.place / "stderr").read_text()
            time.sleep(0.01)

    def wait_for(self, text):
        for line in self.process.stdout:
            if text in line:
                return
        raise AssertionError(text)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.stdout.close()
        assert self.process.wait(100) == 0 or error[0], (self.place / "stderr").read_text()


@pytest.fixture
def service(place):
    with Service(place) as running:
        yield running


def test_records_put_by_the_command_reach_the_handler_of_the_running_app(place, service):
    lines = "".join(json.dumps({"id": number, "who": f"w{number}"}) + "\n" for number in range(5))
    put = asked(place, "stream", "put", "orders", "--key", "who", stdin=lines)
    assert put["records"] == 5
    for _ in range(5):
        service.wait_for("handled")
    [stream] = asked(place, "stream", "list")
    assert (stream["name"], stream["open_shards"], stream["records"]) == ("orders", 2, 5)
    [mapping] = asked(place, "mapping", "list")
    assert (mapping["stream"], mapping["function"], mapping["state"], mapping["declared"]) == (
        "orders",
        "handle",
        "Enabled",
        True,
    )
    assert {row["shard_id"][-1] for row in asked(place, "lag")["streams"]} == {"0", "1"}


def test_csv_becomes_json_and_is_told_by_the_files_name(place, service):
    (place / "orders.csv").write_text('id,who\n1,"a, b"\n2,c\n')
    forebay(place, "stream", "put", "orders", "orders.csv", "--key", "who")
    records = [
        json.loads(line)
        for line in forebay(
            place, "stream", "tail", "orders", "--position", "TRIM_HORIZON", "--no-follow", "--output", "json"
        ).stdout.splitlines()
    ]
    assert sorted((record["partition_key"], json.loads(record["data"])) for record in records) == [
        ("a, b", {"id": "1", "who": "a, b"}),
        ("c", {"id": "2", "who": "c"}),
    ]


def test_tail_follows(place, service):
    command = [sys.executable, "-W", "ignore", "-m", "forebay.cli", "stream", "tail", "orders", "--limit", "1"]
    command += ["--position", "TRIM_HORIZON"]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, text=True) as tail:
        forebay(place, "stream", "put", "orders", "--partition-key", "k", stdin='{"id": 7}\n')
        line = tail.stdout.readline()
        assert '{"id": 7}' in line and "  k  " in line
        assert tail.wait(100) == 0


def test_invoke_prints_the_response_or_the_error_object(place, service):
    assert asked(place, "invoke", "add", '{"a": 1, "b": 2}') == {"sum": 3}
    assert json.loads(forebay(place, "invoke", "add", "-", stdin='{"a": 1, "b": 2}').stdout) == {"sum": 3}
    failed = json.loads(forebay(place, "invoke", "add", "{}", status=1).stdout)
    assert (failed["errorType"], failed["errorMessage"]) == ("KeyError", "'a'")
    assert "JSON text" in forebay(place, "invoke", "add", "{", status=1).stderr
    assert "no function 'nobody'" in forebay(place, "invoke", "nobody", status=1).stderr.replace('"', "'")


def test_a_mapping_is_held_moved_and_changed(place, service):
    bound = ("orders", "handle")
    assert asked(place, "mapping", "pause", *bound)["state"] == "Disabled"
    assert asked(place, "mapping", "resume", *bound)["state"] == "Enabled"
    changed = asked(place, "mapping", "update", *bound, "batch_size=7", 'retry_backoff={"base":1,"cap":2,"jitter":0}')
    assert (changed["batch_size"], changed["retry_backoff"]) == (7, {"base_ms": 1000, "cap_ms": 2000, "jitter": 0})
    forebay(place, "stream", "put", "orders", "--partition-key", "k", stdin='{"id": 1}\n')
    service.wait_for("handled 1")
    for place_of_seek in (["--position", "TRIM_HORIZON"], ["--timestamp", "2020-01-01T00:00:00+00:00"]):
        forebay(place, "mapping", "seek", *bound, *place_of_seek)
        service.wait_for("handled 1")
    assert "batch_size: 7" in forebay(place, "mapping", "describe", *bound).stdout


def test_functions_are_listed_and_limited_while_they_run(place, service):
    before = {function["name"]: function for function in asked(place, "function", "list")}["handle"]
    assert (before["reserved_concurrency"], before["provisioned_ready"], before["rate_limit"]) == (None, 0, None)
    limits = ("reserved_concurrency=3", "provisioned_concurrency=2", "rate_limit=50")
    changed = asked(place, "function", "update", "handle", *limits)
    assert (changed["reserved_concurrency"], changed["provisioned_ready"], changed["rate_limit"]) == (3, 2, 50)
    assert asked(place, "function", "update", "handle", "rate_limit=null")["rate_limit"] is None
    assert "places in use, 3 claimed" in forebay(place, "function", "list").stdout
    refused = forebay(place, "function", "update", "handle", "reserved_concurrency=901", status=1)
    assert "below its minimum value of [100]" in refused.stderr


def test_failures_are_listed_and_redriven(place, service):
    lines = '{"id": 1, "bad": true}\n{"id": 2}\n'
    put = forebay(place, "stream", "put", "orders", "--partition-key", "k", stdin=lines).stdout
    service.wait_for("handled 2")
    ends = time.monotonic() + 100
    while not (failures := asked(place, "dlq", "list")["failures"]):
        assert time.monotonic() < ends
    [failure] = failures
    assert failure["record"]["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert asked(place, "dlq", "redrive", "--function", "handle") == {"redriven": 1}
    assert "handle" in forebay(place, "dlq", "list", "--stream", "orders").stdout
    number = failure["record"]["KinesisBatchInfo"]["startSequenceNumber"]
    text = forebay(place, "why", number).stdout
    assert "put stream=orders" in text and "failed function=handle attempt=1" in text and "a bad one" in text
    assert "error=ValueError: a bad one (" in text and "shop.py:15)" in text
    assert "now: given up in lane 0 of handle (orders, shardId-" in text
    [handled] = re.findall("^from .* to (.*) in shardId-", put, re.MULTILINE)
    assert "now: handled in lane 0 of handle" in forebay(place, "why", handled).stdout
    assert f"now: listed as {failure['id']}" in text


def test_the_commands_work_while_no_app_runs(place):
    with Service(place):
        pass
    assert asked(place, "stream", "put", "orders", "--partition-key", "k", stdin='{"id": 1}\n')["records"] == 1
    assert asked(place, "stream", "describe", "orders")["records"] == 1
    assert asked(place, "stream", "alter", "orders", "--shards", "3", "--retention", "1h")["open_shards"] == 3
    assert asked(place, "stream", "describe", "orders")["retention_ms"] == 3_600_000
    assert "such as 30s or 1h" in forebay(place, "stream", "alter", "orders", "--retention", "1y", status=1).stderr
    assert "no app runs" in forebay(place, "invoke", "add", "{}", status=1).stderr
    # An empty table said that nobody was behind, while a record waited.
    assert f"no app runs on {place / 'data'}: start it" in forebay(place, "lag", "--output", "json", status=1).stderr
    assert "read by function" in forebay(place, "stream", "delete", "orders", "--yes", status=1).stderr
    asked(place, "mapping", "delete", "orders", "handle", "--yes")
    asked(place, "stream", "delete", "orders", "--yes")
    assert asked(place, "stream", "list", "--store", "data") == []
    assert forebay(place, "stream", "list").stdout == "(none)\n"


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["stream", "list"], 1, "there is no store in "),
        (["run", "shop"], 2, "MODULE:APP"),
        (["run", "nothere:app"], 1, "there is no module 'nothere'"),
        (["run", "shop:application"], 1, "there is app"),
        (["stream", "put", "orders"], 2, "--key FIELD and --partition-key TEXT"),
        (["mapping", "seek", "a", "b"], 2, "exactly one of"),
        (["stream", "alter", "a"], 2, "at least one of"),
        (["mapping", "update", "a", "b", "batch_size"], 1, "NAME=VALUE"),
        (["mapping", "update", "a", "b", "colour=1"], 1, "batch_size"),
        (["mapping", "update", "a", "b", "batch_size=x"], 1, "JSON text"),
        (["mapping", "seek", "a", "b", "--timestamp", "yesterday"], 1, "ISO 8601"),
        (["function", "update", "a", "rate_limit"], 1, "LIMIT=VALUE"),
        (["function", "update", "a", "colour=1"], 1, "provisioned_concurrency, rate_limit, reserved_concurrency"),
        (["function", "update", "a", "rate_limit=fast"], 1, "a number or null"),
    ],
)
def test_mistakes_are_told_without_a_traceback(place, arguments, status, text):
    (place / "input").touch()
    done = forebay(place, *arguments, status=status, stdin="")
    assert text in done.stderr


@pytest.mark.parametrize(
    ("lines", "form", "text"),
    [
        ('{"id": 1, "who": "a"}\n{"id": 2}\n', "jsonl", "line 2: no field 'who'"),
        ('{"who": "a"}\n{"who"\n', "jsonl", "line 2: not JSON"),
        ("[1]\n", "jsonl", "line 1: no field 'who'"),
        ("id,who\n1\n", "csv", "line 2: not as many fields"),
        ('id,who\n1,"a\n', "csv", "not CSV"),
    ],
)
def test_a_line_that_is_no_record_is_named(place, lines, form, text):
    with Service(place):
        done = forebay(place, "stream", "put", "orders", "--key", "who", "--format", form, stdin=lines, status=1)
    assert text in done.stderr


def test_the_version_is_told_with_what_the_extension_was_built_with(place):
    told = forebay(place, "--version").stdout
    assert told == f"{installed('forebay')} (test build: assertions, failpoints)\n"
    assert forebay(place, "version").stdout == told
    assert asked(place, "version") == {"version": installed("forebay"), "assertions": True, "failpoints": True}


@pytest.mark.parametrize(
    ("assertions", "failpoints", "build"),
    [
        (False, False, "release build"),
        (True, False, "test build: assertions"),
        (False, True, "test build: failpoints"),
    ],
)
def test_a_release_build_is_told_from_every_other_one(monkeypatch, assertions, failpoints, build):
    monkeypatch.setattr(root, "debug_build", assertions)
    monkeypatch.setattr(root, "failpoints", failpoints)
    assert root.build() == f"{installed('forebay')} ({build})"


@pytest.mark.parametrize("variable", [False, True], ids=["option", "variable"])
def test_a_port_that_is_in_use_is_named(place, monkeypatch, variable):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        option = [] if variable else ["--metrics-port", str(port)]
        monkeypatch.setenv("FOREBAY_METRICS_PORT", str(port) if variable else "0")
        done = forebay(place, "run", "shop:app", *option, status=1)
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr
    assert "choose another port" in done.stderr


def test_an_error_in_the_users_module_shows_its_own_traceback(place):
    (place / "broken.py").write_text("import forebay\nimport not_there_at_all\n")
    command = [sys.executable, "-W", "ignore", "-m", "forebay.cli", "run", "broken:app"]
    done = subprocess.run(command, cwd=place, capture_output=True, check=False, text=True, timeout=200)
    assert done.returncode == 1
    assert "not_there_at_all" in done.stderr and "broken.py" in done.stderr


def test_metrics_and_health_are_served(place):
    port = free_port()
    with Service(place, "--metrics-port", str(port)):
        forebay(place, "stream", "put", "orders", "--partition-key", "k", stdin='{"id": 1}\n')
        base = f"http://127.0.0.1:{port}"
        for page, text in (("metrics", "forebay_"), ("healthz", ""), ("readyz", "")):
            with urllib.request.urlopen(f"{base}/{page}", timeout=100) as answer:  # noqa: S310  our own address
                assert answer.status == 200 and text in answer.read().decode()


def test_sigterm_drains_and_exits_with_0(place):
    with Service(place) as service:
        forebay(place, "stream", "put", "orders", "--partition-key", "k", stdin='{"id": 1, "slow": 1}\n')
        service.wait_for("slow begins")
        service.process.send_signal(signal.SIGTERM)
        service.wait_for("handled 1")
        assert service.process.wait(100) == 0


def test_a_second_signal_stops_at_once(place):
    with Service(place) as service:
        forebay(place, "stream", "put", "orders", "--partition-key", "k", stdin='{"id": 1, "slow": 25}\n')
        service.wait_for("slow begins")
        service.process.send_signal(signal.SIGTERM)
        service.wait_for_log("draining")
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(100) == 0


def given_up(place, count):
    ends = time.monotonic() + 100
    while len(listed := asked(place, "dlq", "list")["failures"]) < count:
        assert time.monotonic() < ends, listed
        time.sleep(0.05)
    return listed


def test_a_great_number_keeps_its_digits_in_everything_that_is_printed(place, service):
    great = 2**64 + 1
    assert f'"sum": {great + 1}' in forebay(place, "invoke", "add", f'{{"a": {great}, "b": 1}}').stdout
    assert asked(place, "invoke", "add", f'{{"a": {great}, "b": 1}}') == {"sum": great + 1}
    assert "JSON text" in forebay(place, "invoke", "add", '{"a": NaN, "b": 1}', status=1).stderr
    request = asked(place, "invoke", "--async", "bill", f'{{"id": {great}, "bad": true}}')["request_id"]
    [failure] = given_up(place, 1)
    assert failure["record"]["requestPayload"] == {"id": great, "bad": True}
    assert str(great) in forebay(place, "dlq", "show", failure["id"]).stdout
    [row] = asked(place, "why", request)["kept"]
    assert row["record"]["requestPayload"]["id"] == great
    forebay(place, "stream", "put", "orders", "--key", "id", stdin=f'{{"id": {great}}}\n')
    service.wait_for(f"handled {great}")


def test_an_event_is_accepted_given_up_shown_edited_and_run_again(place, service):
    request = asked(place, "invoke", "--async", "bill", '{"id": 7, "bad": true}')["request_id"]
    [failure] = given_up(place, 1)
    assert failure["record"]["requestContext"]["requestId"] == request
    assert "RetriesExhausted" in forebay(place, "dlq", "list").stdout

    shown = asked(place, "dlq", "show", failure["id"])
    assert shown["payload"] == {"id": 7, "bad": True}
    life = asked(place, "why", request)
    assert [fact["what"] for fact in life["facts"]] == ["accepted", "started", "ended"]
    assert [row["where"] for row in life["kept"]] == ["failed"]
    text = forebay(place, "why", request).stdout
    assert f"forebay dlq redrive {failure['id']}" in text and "a bad one" in text

    assert asked(place, "dlq", "redrive", failure["id"], "--dry-run") == [shown]
    (place / "edited.json").write_text('{"id": 8}\n')
    assert asked(place, "dlq", "redrive", failure["id"], "--edit", "edited.json") == {"redriven": 1}
    service.wait_for("billed 8")
    assert asked(place, "dlq", "list") == {"failures": [], "next": None, "queues": []}
    assert "redriven" in [fact["what"] for fact in asked(place, "why", request)["facts"]]
    # A misspelt name was answered as if its failures had been accepted.
    nothing = forebay(place, "dlq", "redrive", "--function", "bil").stdout
    assert nothing == "nothing of bil is listed that can run again: `forebay dlq list` shows what is\n"


def test_all_of_a_function_is_run_again_at_a_rate_with_a_bar_for_people_and_json_for_programs(place, service):
    for number in range(3):
        forebay(place, "invoke", "--async", "bill", json.dumps({"id": number, "bad": True}))
    given_up(place, 3)
    begun = time.monotonic()
    done = forebay(place, "dlq", "redrive", "--function", "bill", "--rate", "2", "--output", "json")
    assert json.loads(done.stdout) == {"redriven": 3}
    assert time.monotonic() - begun >= 1
    given_up(place, 3)


def test_what_makes_no_sense_is_refused(place, service):
    assert "give IDs, or --function, or --queue" in forebay(place, "dlq", "redrive", status=2).stderr
    both = forebay(place, "dlq", "redrive", "1-0-1", "1-0-2", "--edit", "shop.py", status=2).stderr
    assert "name the one event or message" in both
    assert "no failure" in forebay(place, "dlq", "show", "1-0-999", status=1).stderr
    told = forebay(place, "why", "seven", status=1).stderr
    assert "is not a request id, message id or sequence number" in told
    assert "no workflow here has an execution of that name either" in told
    told = forebay(place, "why", "6f9619ff-8b86-4011-b42d-00c04fc964ff", status=1).stderr
    assert "nothing is known" in told and "whose signature was refused is in `--aws-access-log` alone" in told
    assert "JSON text" in forebay(place, "invoke", "--async", "bill", "{", status=1).stderr
    assert "there is no function" in forebay(place, "invoke", "--async", "nobody", status=1).stderr
    assert "add it" in forebay(place, "invoke", "bill", "--delay", "1", status=2).stderr
    assert "not both" in forebay(place, "invoke", "--async", "bill", "--delay", "1", "--at", "1", status=1).stderr
    assert "at='soon'" in forebay(place, "invoke", "--async", "bill", "--at", "soon", status=1).stderr


def test_an_event_is_accepted_once_for_its_id_and_leaves_its_result(place, service):
    once = ["invoke", "--async", "bill", '{"id": 7, "bad": false}', "--deduplication-id", "7", "--keep-result"]
    request = asked(place, *once, "--deduplication-window", "60", "--at", "2020-01-01T00:00:00+00:00")["request_id"]
    assert asked(place, *once, "--delay", "3600")["request_id"] == request
    for _ in range(100):
        life = asked(place, "why", request)
        if any(row["where"] == "result" for row in life["kept"]):
            break
        time.sleep(0.05)
    assert [row["condition"] for row in life["kept"] if row["where"] == "result"] == ["Success"]
    assert "result: Success of bill at" in forebay(place, "why", request).stdout


def test_the_doctor_tells_a_whole_store_from_a_damaged_one_and_saves_what_is_whole(place):
    with Service(place):
        lines = "".join(json.dumps({"id": number}) + "\n" for number in range(50))
        forebay(place, "stream", "put", "orders", "--partition-key", "k", stdin=lines)
        report = asked(place, "doctor", "data")
        assert (report["whole"], report["records"], report["damage"]) == (True, 50, [])
    assert "is whole" in forebay(place, "doctor").stdout, "without a name it is the store of the other commands"
    assert "saved does not exist" in forebay(place, "doctor", "--store", "saved", status=2).stderr
    log = place / "data" / "forebay.db-wal"
    body = bytearray(log.read_bytes())
    body[body.index(b'{"id": 7}') + 7] ^= 1
    log.write_bytes(body)
    report = asked(place, "doctor", "data", status=1)
    assert not report["whole"]
    assert report["findings"] == len(report["damage"]) > 0
    assert any("acknowledged commits are missing" in finding for finding in report["damage"])
    assert "--salvage" in forebay(place, "doctor", "data", status=1).stdout
    saved = asked(place, "doctor", "data", "--salvage", "saved", status=1)
    limits = report.pop("memory_limits")
    assert report.pop("access_keys") is None
    assert saved["report"] == report
    assert f"is kept by {limits['kept_by']}: {limits['why']}" in forebay(place, "doctor", "saved").stdout
    assert asked(place, "doctor", "saved")["whole"] and asked(place, "doctor", "--store", "saved")["whole"]
    again = forebay(place, "doctor", "data", "--salvage", "saved", status=1).stderr
    assert again == "Error: saved already holds a store: salvage into a new directory\n"
    assert [stream["name"] for stream in asked(place, "stream", "list", "--store", "saved")] == ["orders"]
    assert f"{place / 'nowhere'} does not exist" in forebay(place, "doctor", "nowhere", status=2).stderr


def test_what_each_command_prints_for_programs_is_json(place, service):
    bound = ("orders", "handle")
    lines = '{"id": 1}\n{"id": 2, "slow": 20}\n{"id": 3}\n'
    asked(place, "stream", "put", "orders", "--partition-key", "k", stdin=lines)
    service.wait_for("slow begins")
    lag = asked(place, "lag")["streams"]
    assert {(row["stream"], row["function"]) for row in lag} == {bound}
    assert sum(row["records"] for row in lag) == 2
    described = asked(place, "mapping", "describe", *bound)
    running = [lane["batch"] for shard in described["shards"] for lane in shard["lanes"] if lane["state"] == "running"]
    assert asked(place, "mapping", "skip", *bound, *running)["function"] == "handle"
    assert asked(place, "mapping", "seek", *bound, "--position", "LATEST")["state"] == "Enabled"
    tailed = forebay(
        place, "stream", "tail", "orders", "--position", "TRIM_HORIZON", "--limit", "3", "--output", "json"
    )
    assert [json.loads(line)["partition_key"] for line in tailed.stdout.splitlines()] == ["k", "k", "k"]
    assert asked(place, "mapping", "delete", *bound, "--yes") == {"deleted": {"stream": "orders", "function": "handle"}}
    # Nobody waits for the slow one: its mapping is gone.
    service.process.send_signal(signal.SIGTERM)
    service.wait_for_log("draining")
    service.process.send_signal(signal.SIGTERM)


def test_run_takes_the_token_of_its_metrics_from_a_file_or_the_environment(place, monkeypatch):
    port = free_port()

    def status(token):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=100) as answer:  # noqa: S310  http, as written above
                return answer.status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    monkeypatch.setenv("FOREBAY_METRICS_TOKEN", "out-of-the-environment")
    with Service(place, "--metrics-port", str(port)):
        assert (status("out-of-the-environment"), status("out-of-the-file-at-hand")) == (200, 401)
    (place / "token").write_text("out-of-the-file-at-hand\n")
    with Service(place, "--metrics-port", str(port), "--metrics-token-file", "token"):
        assert (status("out-of-the-environment"), status("out-of-the-file-at-hand")) == (401, 200)
    assert "out-of-the" not in (place / "stderr").read_text()
    refused = forebay(place, "run", "shop:app", "--metrics-token-file", "shop.py", status=1)
    assert "metrics_token (not shown)" in refused.stderr


@pytest.mark.parametrize("arguments", [["--store", "data", "stream", "list"], ["stream", "--store", "data", "list"]])
def test_an_option_before_the_command_is_told_where_it_stands(tmp_path, arguments):
    # It was "No such option '--store'." alone, of an option that every command has.
    assert "forebay stream list --store DIRECTORY" in forebay(tmp_path, *arguments, status=2).stderr


def test_a_misspelt_option_is_not_told_to_stand_elsewhere(tmp_path):
    for arguments in (["--verson"], ["stream", "list", "--sore", "data"]):
        assert "stand after" not in forebay(tmp_path, *arguments, status=2).stderr

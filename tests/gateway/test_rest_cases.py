"""Every case of `../shared/cases/gateway`: control calls through `rest.call`, requests against an app that listens.

A case that cannot be played is named in `SKIPPED` with its reason.
"""

import ast
import asyncio
import base64
import importlib.util
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import boto3
import pytest
from botocore import xform_name
from ports import free_port
from recorded_answers import Mismatch, Names, compare, headers_of

from forebay import App

CASES = Path(__file__).parents[3] / "shared" / "cases" / "gateway"
ACCOUNT = "111122223333"
KEPT = "!#$%&'()*+,/:;=?@[]~"
STEP = re.compile(r"\{\{(\d+)\.([^{}]*)\}\}")

# Calls that forebay does not have: their steps are passed over, and so is what was recorded of them.
PASSED_OVER = {
    "lambda.AddPermission": "there are no permissions here: a URL with AuthType NONE is open to everybody",
    "lambda.CreateFunction": "functions are declared by the app",
    "lambda.GetFunction": "functions are declared by the app",
    "lambda.PublishVersion": "versions are published by the app",
    "lambda.CreateAlias": "aliases are declared by the app",
    "logs.CreateLogGroup": "there is no CloudWatch Logs here",
    "logs.DescribeLogGroups": "there is no CloudWatch Logs here",
    "logs.FilterLogEvents": "there is no CloudWatch Logs here",
}
# Services whose calls are made over the wire API.
WIRE = ("sqs", "sns", "kinesis", "events", "stepfunctions")
ECHO = "the case asks the echo server that recorded it, and no API of forebay"
TLS = "it was recorded over TLS, whose cipher AWS names in a header"
ECHOED = {"args", "data", "domain", "headers", "json", "method", "origin", "path"}
"""What the echo server tells of a request."""
SKIPPED = {
    "test_apigateway_http.py::test_http_integration_with_lambda[HTTP_PROXY]": TLS,
    "test_lambda.py::TestLambdaURL::test_lambda_url_echo_http_fixture_default": ECHO,
    "test_lambda.py::TestLambdaURL::test_lambda_url_form_payload": ECHO,
    "test_lambda.py::TestLambdaPermissions::test_lambda_permission_url_invocation": PASSED_OVER["lambda.AddPermission"],
}


# What an integration or a step may name.
SERVED = {*WIRE, "apigateway", "lambda", "logs", "states"}
NAMED = re.compile(r"arn:aws:apigateway:[\w-]+:(?:[\w-]+\.)?([a-z][\w-]*):(?:path|action)/")


def lacking(case):
    """Give the services of AWS that a case needs and that forebay does not have, as docs/rest-apis.md says."""
    called = {step["call"].split(".")[0] for step in case["steps"] if "call" in step}
    asked = set(NAMED.findall(json.dumps(case["steps"]))) if case["data_plane"] else set()
    return sorted((called | asked) - SERVED)


def cases():
    for path in sorted(CASES.glob("*.json")):
        if path.name != "sample-events.json":
            for case in json.loads(path.read_text())["cases"]:
                yield pytest.param(case, id=f"{path.stem}:{case['id'].split('::', 1)[1]}")


class Answer:
    """What an HTTP step was answered, as the cases name its parts."""

    def __init__(self, status, headers, body):
        self.status_code, self.pairs, self.content = status, headers, body

    def part(self, path):
        if path == "status_code":
            return self.status_code
        if path == "ok":
            return self.status_code < 400
        if path in ("content", "text"):
            return self.content.decode("utf-8", "replace")
        if path.startswith("headers"):
            name = path[len("headers[") : -1].lower()
            values = [value for known, value in self.pairs if known.lower() == name]
            return ", ".join(values) if values else None
        try:
            value = json.loads(self.content) if self.content else ""
        except ValueError:
            value = self.content.decode("utf-8", "replace")
        return walk(value, path.removeprefix("json")) if path.startswith("json") else None


def walk(value, path):
    """The part of a value that `.items[0].name` or `[message]` names."""
    for name in re.findall(r"\[([^\]]*)\]|\.?([^.\[\]]+)", path):
        key = name[0] or name[1]
        if not isinstance(value, dict | list):
            return None
        value = value[int(key)] if isinstance(value, list) else value.get(key)
    return value


def recorded_headers(wanted):
    """Headers as they were recorded; a name in place of a value stands for any."""
    named = {name: f"<{name}>" if value == name else value for name, value in headers_of(wanted.items()).items()}
    return {name: value for name, value in named.items() if name != "connection"}


def shown(value):
    """Write what boto3 gives as a recording has it."""
    if isinstance(value, dict):
        return {key: shown(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shown(one) for one in value]
    return str(value) if isinstance(value, bytes) else value


class Echo(BaseHTTPRequestHandler):
    """The server of a step with `server: echo`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        where = urlsplit(self.path)
        try:
            data = json.loads(body) if body else ""
        except ValueError:
            data = body.decode("utf-8", "replace")
        status = re.fullmatch(r"/status/(\d{3})", where.path)
        told = {
            "args": dict(parse_qsl(where.query)),
            "data": data,
            "domain": self.headers["host"],
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "method": self.command,
            "origin": self.client_address[0],
            "path": where.path,
            "json": data,
        }
        text = json.dumps(told).encode()
        self.send_response(int(status[1]) if status else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


def as_recorded(value, wanted):
    """Leave out what a recording left out: what the echo server of the cases adds, and how an empty body is written."""
    if wanted == "b''" and value == "":
        return wanted
    if not isinstance(value, dict) or not isinstance(wanted, dict):
        return value
    if value.keys() >= ECHOED:
        headers = wanted.get("headers", {})
        kept = {name: one for name, one in value["headers"].items() if not name.startswith("x-") or name in headers}
        value = {name: one for name, one in value.items() if name != "json" or name in wanted} | {"headers": kept}
    return {name: as_recorded(one, wanted.get(name)) for name, one in value.items()}


def refused(service, told):
    """A refusal as boto3 shows it."""
    code, text = told["error"], told["body"]["message"]
    answer = {"Error": {"Code": code, "Message": text}}
    if service != "lambda":
        return {**answer, "message": text}
    name = "Message" if code == "ResourceNotFoundException" else "message"
    return {**answer, name: text, "Type": "User"}


class Play:
    """A case under way."""

    def __init__(self, app, case, client, wire):
        self.app, self.case, self.client, self.wire = app, case, client, wire
        self.messages = []
        self.answers, self.names, self.servers = {}, Names(), []
        self.functions, self.passed_over = {}, set()

    async def call(self, operation, params):
        return await self.app._caller.ask("rest.call", operation=operation, params=params)

    async def wired(self, service, operation, params):
        """Make a call of another service over the wire API."""
        client = boto3.client(
            service,
            endpoint_url=f"http://127.0.0.1:{self.wire}",
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",  # noqa: S106
        )
        try:
            answer = shown(await asyncio.to_thread(getattr(client, xform_name(operation)), **params))
            return {**answer, "ResponseMetadata": {"HTTPStatusCode": answer["ResponseMetadata"]["HTTPStatusCode"]}}
        finally:
            client.close()

    async def filled(self, value):
        """Put what earlier steps answered where a step names it."""
        if isinstance(value, dict):
            if set(value) == {"$bytes"}:
                return value["$bytes"].encode()
            if set(value) == {"$base64"}:
                return base64.b64decode(value["$base64"])
            return {await self.filled(key): await self.filled(one) for key, one in value.items()}
        if isinstance(value, list):
            return [await self.filled(one) for one in value]
        if not isinstance(value, str):
            return value
        value = re.sub(r"https://(\{\{\d+\.host\}\})", r"http://\1", value)
        for step, path in STEP.findall(value):
            value = value.replace(f"{{{{{step}.{path}}}}}", str(await self.named(int(step), path)))
        return value

    async def named(self, step, path):
        answer = self.answers[step]
        if path.startswith("resource:"):
            told = await self.call("GetResources", {"restApiId": answer["id"], "limit": 500})
            return next(one["id"] for one in told["body"]["items"] if one["path"] == path.removeprefix("resource:"))
        return answer.part(path) if isinstance(answer, Answer) else walk(answer, path)

    async def step(self, step):
        if "call" in step:
            service, operation = step["call"].split(".")
            if step["call"] in PASSED_OVER:
                await self.pass_over(operation, step)
                return
            if service in WIRE:
                self.answers[step["n"]] = await self.wired(service, operation, await self.filled(step["params"]))
                return
            told = await self.call(operation, await self.filled(step["params"]))
            meta = {"HTTPStatusCode": told["status"]}
            answer = told["body"] if "error" not in told else refused(service, told)
            self.answers[step["n"]] = {**answer, "ResponseMetadata": meta}
            assert ("error" in told) == step.get("refused", "error" in told), f"step {step['n']}: {told}"
        elif "server" in step:
            server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
            Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            self.servers.append(server)
            self.answers[step["n"]] = {"host": f"127.0.0.1:{server.server_port}"}
        elif "http" in step:
            self.answers[step["n"]] = await self.request(await self.filled(step))
        else:
            self.answers[step["n"]] = {}

    async def pass_over(self, operation, step):
        """Do what another service's call is needed for, without it."""
        params = await self.filled(step["params"])
        self.passed_over.add(step["n"])
        self.answers[step["n"]] = {"logGroups": [{"arn": "log-group:of-the-case"}], "Version": "1", "events": []}
        function = self.functions.get(params.get("FunctionName"))
        if operation == "PublishVersion":
            function.publish_version()
        elif operation == "CreateAlias":
            self.app.alias(params["Name"], function, str(params["FunctionVersion"]))

    async def request(self, step):
        where = urlsplit(step["url"])
        given = {name: str(value) for name, value in (step.get("headers") or {}).items()}
        named = {name.lower() for name in given}
        usual = {"Accept": "*/*", "Accept-Encoding": "gzip, deflate", "User-Agent": "python-requests"}
        headers = {name: value for name, value in usual.items() if name.lower() not in named} | given
        data = step.get("data") or b""
        if step.get("json") is not None:
            data = json.dumps(step["json"])
            headers |= {} if "content-type" in named else {"Content-Type": "application/json"}
        data = data.encode() if isinstance(data, str) else data
        query = "&".join(part for part in (where.query, urlencode(step.get("params") or {}, doseq=True)) if part)
        # As the client did with which they were recorded.
        path = quote("/" + where.path.lstrip("/") + (f"?{query}" if query else ""), safe=KEPT)
        answer = await self.client.ask(step["http"], path, headers, data, host=where.netloc)
        return Answer(answer.status, answer.headers, answer.body)

    def value(self, source):  # noqa: PLR0911 - one line for each form of the corpus
        """What an expectation's `from` names."""
        if isinstance(source, dict):
            return {key: self.value(one) for key, one in source.items()}
        if isinstance(source, list):
            if len(source) == 1 and "[0]" in str(source[0]):
                whole = source[0].split("[0]", 1)[0]
                return self.value(whole)
            return [self.value(one) for one in source]
        if source == "$messages":
            return self.messages
        if match := re.fullmatch(r"\$(\d+)(?:[.](.*))?", source):
            answer, path = self.answers[int(match[1])], match[2] or ""
            if isinstance(answer, Answer):
                return answer.part(path)
            return walk(answer, path) if path else answer
        if match := STEP.fullmatch(source):
            return walk(self.answers[int(match[1])], match[2])
        return source

    def all_headers(self, after):
        """The headers of the last request until a step; how long a connection lives is between two neighbours."""
        answers = [one for step, one in self.answers.items() if step <= after and isinstance(one, Answer)]
        return {name: value for name, value in headers_of(answers[-1].pairs).items() if name != "connection"}

    def is_passed_over(self, source):
        return any(int(step) in self.passed_over for step in re.findall(r"\$(\d+)", json.dumps(source)))

    def check(self):
        for expected in self.case["expect"]:
            if self.is_passed_over(expected["from"]) or expected["from"] == []:
                continue
            value, wanted = self.value(expected["from"]), expected["recorded"]
            if isinstance(value, dict) and value.get("headers") == {} and wanted.get("headers"):
                value = {**value, "headers": self.all_headers(expected["after"])}
                wanted = {**wanted, "headers": recorded_headers(wanted["headers"])}
            if isinstance(wanted, dict) and "ResponseMetadata" in wanted:
                meta = {"HTTPStatusCode": wanted["ResponseMetadata"].get("HTTPStatusCode")}
                wanted = {**wanted, "ResponseMetadata": meta}
                if "message" not in wanted:
                    value = {key: one for key, one in value.items() if key != "message"}
            value = as_recorded(value, wanted)
            try:
                compare(value, wanted, self.names)
            except Mismatch as wrong:
                raise Mismatch(f"{expected['key']} ({expected['from']}): {wrong}") from None
        for asserted in self.case["asserted"]:
            if not self.is_passed_over(asserted["of"]):
                self.check_asserted(asserted)

    def check_asserted(self, asserted):
        of = asserted["of"]
        # `items[0]` of a loop is each of them: one that is so is enough.
        match = re.fullmatch(r"(\$\d+[^\[]*)\[0\](.*)", of)
        whole = self.value(match[1]) if match else None
        values = [walk(one, match[2]) for one in whole] if isinstance(whole, list) else [self.value(of)]
        wanted = asserted.get("equals")
        if isinstance(wanted, dict) and set(wanted) == {"$bytes"}:
            wanted = wanted["$bytes"]

        def is_so(value):
            if "equals" in asserted:
                return value == wanted
            if "contains" in asserted:
                return asserted["contains"] in value
            if "matches" in asserted:
                return re.match(asserted["matches"], value) is not None
            return value.startswith(asserted["startswith"])

        assert any(is_so(value) for value in values), f"{asserted}: {values}"


def handlers():
    spec = importlib.util.spec_from_file_location("case_handlers", CASES / "handlers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def declare(app, step, module):
    """Declare the function of a step."""
    code = step["code"]
    if code == "returns":
        given = ast.literal_eval(step["returns"])

        def handler(event, context):
            return given
    else:
        handler = getattr(module, code, lambda event, context: None)
    return app.function(name=step["function"], isolation="thread")(handler)


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not here")
@pytest.mark.parametrize("case", list(cases()))
async def test_aws_answered_the_same(case, clients):
    if case["id"] in SKIPPED:
        pytest.skip(SKIPPED[case["id"]])
    if services := lacking(case):
        pytest.skip(f"forebay has no {', '.join(services)}")
    app = App("cases", store=":memory:", account=ACCOUNT, region="us-east-1")
    module = handlers()
    functions = {step["function"]: declare(app, step, module) for step in case["steps"] if "function" in step}
    written = json.dumps(case)
    queues = sorted(set(re.findall(r":sqs:path/\d+/([\w-]+)", written)))
    for name in queues:
        app.queue(name)
    wire = free_port() if any(step.get("call", "").split(".")[0] in WIRE for step in case["steps"]) or queues else 0
    client = await clients(app, aws_port=wire)
    play = Play(app, case, client, wire)
    play.functions = functions
    try:
        for step in case["steps"]:
            await asyncio.wait_for(play.step(step), 60)
        if "$messages" in written:
            asked = {"QueueUrl": f"http://127.0.0.1:{wire}/{ACCOUNT}/{queues[0]}", "MaxNumberOfMessages": 10}
            play.messages = (await play.wired("sqs", "ReceiveMessage", asked))["Messages"]
        play.check()
    finally:
        for server in play.servers:
            server.shutdown()
            server.server_close()

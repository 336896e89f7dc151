"""Every case of `../shared/cases/gateway`: control calls through `rest.call`, requests against an app that listens.

A case that cannot be played is named in `SKIPPED` with its reason.
"""

import asyncio
import base64
import importlib.util
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qsl, urlsplit

import pytest
from recorded import Mismatch, Names, compare

from forebay import App

CASES = Path(__file__).parents[3] / "shared" / "cases" / "gateway"
ACCOUNT = "111122223333"
STEP = re.compile(r"\{\{(\d+)\.([^{}]*)\}\}")

CANNOT = {
    "calls": "control calls of other services that are made with AWS's SDKs, not with forebay's",
}
SKIPPED: dict[str, str] = {}


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
        value = json.loads(self.content or b"null")
        return walk(value, path.removeprefix("json")) if path.startswith("json") else None


def walk(value, path):
    """The part of a value that `.items[0].name` or `[message]` names."""
    for name in re.findall(r"\[([^\]]*)\]|\.?([^.\[\]]+)", path):
        key = name[0] or name[1]
        if isinstance(value, list):
            value = value[int(key)]
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


class Echo(BaseHTTPRequestHandler):
    """The server of a step with `server: echo`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):  # noqa: N802 - the base class calls it so
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


class Play:
    """A case under way."""

    def __init__(self, app, case, client):
        self.app, self.case, self.client = app, case, client
        self.answers, self.names, self.servers = {}, Names(), []

    async def call(self, operation, params):
        return await self.app._caller.ask("rest.call", operation=operation, params=params)

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
            if service == "logs":
                self.answers[step["n"]] = {"logGroups": [{"arn": "log-group:of-the-case"}]}
                return
            if service != "apigateway":
                pytest.skip(CANNOT["calls"])
            told = await self.call(operation, await self.filled(step["params"]))
            meta = {"HTTPStatusCode": told["status"]}
            if "error" in told:
                text = told["body"]["message"]
                answer = {"Error": {"Code": told["error"], "Message": text}, "message": text}
            else:
                answer = dict(told["body"])
            self.answers[step["n"]] = {**answer, "ResponseMetadata": meta}
            assert ("error" in told) == step.get("refused", "error" in told), f"step {step['n']}: {told}"
        elif "server" in step:
            server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
            Thread(target=server.serve_forever, daemon=True).start()
            self.servers.append(server)
            self.answers[step["n"]] = {"host": f"127.0.0.1:{server.server_port}"}
        elif "http" in step:
            self.answers[step["n"]] = await self.request(await self.filled(step))
        else:
            self.answers[step["n"]] = {}

    async def request(self, step):
        where = urlsplit(step["url"])
        headers = {"accept": "*/*", "accept-encoding": "gzip, deflate", "user-agent": "python-requests"}
        headers |= {name: str(value) for name, value in (step.get("headers") or {}).items()}
        data = step.get("data") or b""
        if step.get("json") is not None:
            data = json.dumps(step["json"])
            headers.setdefault("content-type", "application/json")
        data = data.encode() if isinstance(data, str) else data
        path = (where.path or "/") + (f"?{where.query}" if where.query else "")
        answer = await self.client.ask(step["http"], path, headers, data, host=where.netloc)
        return Answer(answer.status, answer.headers, answer.body)

    def value(self, source):
        """What an expectation's `from` names."""
        if isinstance(source, dict):
            return {key: self.value(one) for key, one in source.items()}
        if isinstance(source, list):
            if len(source) == 1 and "[0]" in str(source[0]):
                whole = source[0].split("[0]", 1)[0]
                return self.value(whole)
            return [self.value(one) for one in source]
        if match := re.fullmatch(r"\$(\d+)(?:[.](.*))?", source):
            answer, path = self.answers[int(match[1])], match[2] or ""
            if isinstance(answer, Answer):
                return answer.part(path)
            return walk(answer, path) if path else answer
        if match := STEP.fullmatch(source):
            return walk(self.answers[int(match[1])], match[2])
        return source

    def check(self):
        for expected in self.case["expect"]:
            value, wanted = self.value(expected["from"]), expected["recorded"]
            if isinstance(wanted, dict) and "ResponseMetadata" in wanted:
                meta = {"HTTPStatusCode": wanted["ResponseMetadata"].get("HTTPStatusCode")}
                wanted = {**wanted, "ResponseMetadata": meta}
                if "message" not in wanted:
                    value = {key: one for key, one in value.items() if key != "message"}
            try:
                compare(value, wanted, self.names)
            except Mismatch as wrong:
                raise Mismatch(f"{expected['key']} ({expected['from']}): {wrong}") from None
        for asserted in self.case["asserted"]:
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
        given = eval(step["returns"], {"__builtins__": {}}, {})  # literals of the corpus

        def handler(event, context):
            return given
    else:
        handler = getattr(module, code, lambda event, context: None)
    app.function(handler, name=step["function"])


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not here")
@pytest.mark.parametrize("case", list(cases()))
async def test_aws_answered_the_same(case, tmp_path, clients):
    if case["id"] in SKIPPED:
        pytest.skip(SKIPPED[case["id"]])
    app = App("cases", store=tmp_path, account_id=ACCOUNT, region="us-east-1")
    module = handlers()
    for step in case["steps"]:
        if "function" in step:
            declare(app, step, module)
    client = await clients(app)
    play = Play(app, case, client)
    try:
        for step in case["steps"]:
            await asyncio.wait_for(play.step(step), 60)
        play.check()
    finally:
        for server in play.servers:
            server.shutdown()
            server.server_close()

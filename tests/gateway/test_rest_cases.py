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
from urllib.parse import parse_qsl, urlsplit

import pytest
from recorded_answers import Mismatch, Names, compare

from forebay import App

CASES = Path(__file__).parents[3] / "shared" / "cases" / "gateway"
ACCOUNT = "111122223333"
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
SERVICES = "an integration with a service of AWS other than a function is refused, which docs/rest-apis.md says"
SPELLED = "HTTP/1 headers reach forebay in small letters, which docs/rest-apis.md says: a name's own spelling is lost"
ECHO = "the case asks the echo server that recorded it, and no API of forebay"
TLS = "it was recorded over TLS, whose cipher AWS names in a header"
HEADERS = "it has every header of a connection to AWS"
ECHOED = {"args", "data", "domain", "headers", "json", "method", "origin", "path"}
"""What the echo server tells of a request."""
SKIPPED = {
    "test_apigateway_http.py::test_http_integration_with_lambda[HTTP_PROXY]": TLS,
    "test_apigateway_lambda.py::test_aws_proxy_response_payload_format_validation": HEADERS,
    "test_lambda.py::TestLambdaURL::test_lambda_url_echo_http_fixture_default": ECHO,
    "test_lambda.py::TestLambdaURL::test_lambda_url_form_payload": ECHO,
    "test_apigateway_lambda.py::test_lambda_aws_proxy_integration": SPELLED,
    "test_apigateway_lambda.py::test_lambda_aws_proxy_integration_request_data_mapping": SPELLED,
    "test_apigateway_lambda.py::test_lambda_aws_integration_with_request_template": (
        "its uri was shortened when it was recorded: it is none that AWS takes"
    ),
    "test_apigateway_http.py::test_http_integration_invoke_status_code_passthrough[HTTP]": (
        "the URL of the function is reached by its name, which only AWS's servers of names know"
    ),
    "test_apigateway_dynamodb.py::test_rest_api_to_dynamodb_integration[PutItem]": SERVICES,
    "test_apigateway_kinesis.py::test_apigateway_to_kinesis[PutRecords]": SERVICES,
    "test_apigateway_s3.py::test_apigateway_s3_method_mapping": SERVICES,
    "test_apigateway_sqs.py::test_sqs_aws_integration": SERVICES,
    "test_apigateway_sqs.py::test_sqs_aws_integration_with_message_attribute[MessageAttribute]": SERVICES,
    "test_apigateway_sqs.py::test_sqs_aws_integration_with_message_attribute[MessageAttributes]": SERVICES,
    "test_apigateway_sqs.py::test_sqs_request_and_response_xml_templates_integration": SERVICES,
    "test_apigateway_stepfunctions.py::TestApigatewayStepfunctions::"
    "test_apigateway_with_step_function_integration[StartExecution]": SERVICES,
    "test_lambda.py::TestLambdaPermissions::test_lambda_permission_url_invocation": PASSED_OVER["lambda.AddPermission"],
}


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
        value = json.loads(self.content) if self.content else ""
        return walk(value, path.removeprefix("json")) if path.startswith("json") else None


def walk(value, path):
    """The part of a value that `.items[0].name` or `[message]` names."""
    for name in re.findall(r"\[([^\]]*)\]|\.?([^.\[\]]+)", path):
        key = name[0] or name[1]
        if not isinstance(value, dict | list):
            return None
        value = value[int(key)] if isinstance(value, list) else value.get(key)
    return value


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

    def __init__(self, app, case, client):
        self.app, self.case, self.client = app, case, client
        self.answers, self.names, self.servers = {}, Names(), []
        self.functions, self.passed_over = {}, set()

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
            if step["call"] in PASSED_OVER:
                await self.pass_over(operation, step)
                return
            told = await self.call(operation, await self.filled(step["params"]))
            meta = {"HTTPStatusCode": told["status"]}
            answer = told["body"] if "error" not in told else refused(service, told)
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

    def value(self, source):  # noqa: PLR0911 - one line for each form of the corpus
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

    def is_passed_over(self, source):
        return any(int(step) in self.passed_over for step in re.findall(r"\$(\d+)", json.dumps(source)))

    def check(self):
        for expected in self.case["expect"]:
            if self.is_passed_over(expected["from"]) or expected["from"] == []:
                continue
            value, wanted = self.value(expected["from"]), expected["recorded"]
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
    app = App("cases", store=":memory:", account=ACCOUNT, region="us-east-1")
    module = handlers()
    functions = {step["function"]: declare(app, step, module) for step in case["steps"] if "function" in step}
    client = await clients(app)
    play = Play(app, case, client)
    play.functions = functions
    try:
        for step in case["steps"]:
            await asyncio.wait_for(play.step(step), 60)
        play.check()
    finally:
        for server in play.servers:
            server.shutdown()
            server.server_close()

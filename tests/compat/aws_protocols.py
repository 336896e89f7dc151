"""botocore's own protocol tests, from a server's side: requests are read, and answers are written for botocore's parsers.

They come with botocore's source distribution, the one of the botocore that is installed.
"""

import base64
import contextlib
import json
import math
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import botocore
import pytest
from botocore.awsrequest import HeadersDict
from botocore.model import NoShapeFoundError, OperationModel, ServiceModel
from botocore.parsers import PROTOCOL_PARSERS
from botocore.utils import parse_timestamp

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "target" / "compat" / "botocore"
PROTOCOLS = ("json", "query", "rest-json", "rest-xml", "smithy-rpc-v2-cbor")
"""All but `ec2`, which no service here speaks."""

REASONS = {
    "the case has no body: how a client compresses one is left to it": {
        "input/json": (
            "SDKAppliedContentEncoding_awsJson1_1",
            "SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsJson1_1",
        ),
        "input/json_1_0": (
            "SDKAppliedContentEncoding_awsJson1_0",
            "SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsJson1_0",
        ),
        "input/query": ("SDKAppliedContentEncoding_awsQuery", "SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsQuery"),
        "input/rest-json": ("SDKAppliedContentEncoding_restJson1", "SDKAppendedGzipAfterProvidedEncoding_restJson1"),
        "input/rest-xml": ("SDKAppliedContentEncoding_restXml", "SDKAppendedGzipAfterProvidedEncoding_restXml"),
    },
    "the client adds a member of its own: a token, or the content's type": {
        "input/query": ("QueryProtocolIdempotencyTokenAutoFill",),
        "input/rest-json": ("RestJsonQueryIdempotencyTokenAutoFill",),
        "input/rest-xml": ("QueryIdempotencyTokenAutoFill",),
        "legacy/input/json": ("Idempotency token auto fill 1",),
        "legacy/input/query": ("Idempotency token auto fill 1",),
        "legacy/input/rest-json": ("Idempotency token auto fill 1", "Content-Type and JSON body 7"),
        "legacy/input/rest-xml": ("Idempotency token auto fill 1",),
    },
    "nothing, or nothing of its own, is sent for what is empty": {
        "input/query": ("QueryEmptyQueryMaps",),
        "input/rest-json": (
            "RestJsonHttpPrefixHeadersAreNotPresent",
            "RestJsonNullAndEmptyHeaders",
            "RestJsonOmitsEmptyListQueryValues",
        ),
        "input/rest-xml": ("HttpPrefixHeadersAreNotPresent", "NullAndEmptyHeaders"),
        "legacy/input/rest-json": ("List in header 1",),
        "legacy/input/rest-xml": ("List in header 1",),
    },
    "a body of {} is an empty structure, and no absent one": {
        "input/rest-json": ("RestJsonHttpWithEmptyStructurePayload", "RestJsonHttpWithHeadersButNoPayload"),
        "legacy/input/rest-json": ("Content-Type and JSON body 2", "Content-Type and JSON body 4"),
    },
    "Smithy's case for servers, RestXmlServersPutAllQueryParamsInMap, has the map of a query string hold all of it": {
        "input/rest-json": ("RestJsonQueryParamsStringListMap", "RestJsonQueryPrecedence"),
        "input/rest-xml": (
            "AllQueryStringTypes",
            "RestXmlQueryStringEscaping",
            "RestXmlSupportsNaNFloatQueryValues",
            "RestXmlSupportsInfinityFloatQueryValues",
            "RestXmlSupportsNegativeInfinityFloatQueryValues",
            "RestXmlZeroAndFalseQueryValues",
            "RestXmlQueryParamsStringListMap",
            "RestXmlQueryPrecedence",
        ),
    },
    "the path before the operation's is that of the client's endpoint": {"input/rest-json": ("RestJsonHostWithPath",)},
    "no model has this form any more: where a member stands is said at its shape, or the payload at the operation": {
        "legacy/input/rest-json": ("Blob payload 0", "Structure payload 0", "String payload 0"),
        "legacy/input/rest-xml": ("Header maps 0",),
        "legacy/output/rest-xml": (
            "Scalar members 0",
            "Scalar members 1",
            "Scalar members in headers 0",
            "Modeled exceptions 0",
        ),
    },
    "a member that holds JSON is text here": {
        "legacy/input/rest-json": ("JSON value trait 0",),
        "legacy/input/rest-xml": ("JSON value trait 0",),
        "legacy/output/rest-json": ("JSON value trait 0",),
        "legacy/output/rest-xml": ("JSON value trait 0",),
    },
    "a stream of events is no whole answer": {
        "legacy/output/json": ("RPC JSON Event Stream 0",),
        "legacy/output/rest-xml": ("REST XML Event Stream 0", "REST XML Event Stream 1", "REST XML Event Stream 2"),
    },
    "it says what a client puts up with, and no server answers so": {
        "legacy/output/json": ("Lists 1",),
        "legacy/output/rest-json": ("Tagged Unions 2",),
        "legacy/output/rest-xml": ("Unions 2",),
    },
    "names of headers have no case here, and a content's type is one of all headers": {
        "legacy/output/rest-json": ("Supports header maps 0",),
        "output/rest-json": ("HttpPrefixHeadersResponse",),
    },
    "botocore passes over it as well, since its parser reads it otherwise; Smithy's own case is passed": {
        "output/query": ("QueryXmlLists",),
        "output/rest-json": (
            "RestJsonHttpPayloadTraitsWithNoBlobBody",
            "RestJsonHttpPayloadWithUnsetUnion",
            "RestJsonInputAndOutputWithQuotedStringHeaders",
            "RestJsonInputAndOutputWithTimestampHeaders",
            "MediaTypeHeaderOutputBase64",
        ),
        "output/rest-xml": (
            "BodyWithXmlName",
            "HttpPayloadTraitsWithNoBlobBody",
            "RestXmlHttpPayloadWithUnsetUnion",
            "InputAndOutputWithTimestampHeaders",
            "XmlLists",
        ),
    },
}
"""Cases that are passed over, by why and where they are."""

EXCEPTIONS = {f"{place}: {name}" for places in REASONS.values() for place, names in places.items() for name in names}

pytestmark = pytest.mark.timeout(900)  # the first time, Rust's test is built


@pytest.fixture(scope="module")
def folder(record_testsuite_property):
    """Give the folder of the cases."""
    version = botocore.__version__
    record_testsuite_property("botocore", version)
    cases = FOLDER / f"botocore-{version}" / "tests" / "unit" / "protocols"
    if not cases.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "botocore"]
        subprocess.run([*command, "-d", str(FOLDER), f"botocore=={version}"], check=True)
        with tarfile.open(FOLDER / f"botocore-{version}.tar.gz") as packed:
            inside = [each for each in packed if "/tests/unit/protocols/" in each.name]
            packed.extractall(FOLDER, inside, filter="data")
    return cases


@pytest.fixture(scope="module")
def cases(folder):
    """Give every case of our protocols: its name, its suite and itself."""
    found = []
    for path in sorted(folder.glob("**/*.json")):
        suites = json.loads(path.read_text())
        for suite in suites if isinstance(suites, list) else ():
            if suite["metadata"]["protocol"] in PROTOCOLS:
                place = path.relative_to(folder).with_suffix("")
                for number, case in enumerate(suite["cases"]):
                    # Older cases have no ids, and one id is there twice.
                    name = f"{place}: {case.get('id') or suite['description'] + ' ' + str(number)}"
                    taken = sum(name == other or other.startswith(f"{name} (") for other, _, _ in found)
                    found.append((f"{name} ({taken})" if taken else name, suite, case))
    return found


@pytest.fixture(scope="module")
def played(cases, tmp_path_factory):
    """Give what our codecs make of each case, by its name."""
    folder = tmp_path_factory.mktemp("botocore")
    asked, told = folder / "cases", folder / "played"
    asked.write_text("".join(json.dumps(request_of(suite, case)) + "\n" for _, suite, case in cases))
    variables = {
        "FOREBAY_BOTOCORE_CASES": str(asked),
        "FOREBAY_BOTOCORE_PLAYED": str(told),
        "PYO3_PYTHON": sys.executable,
    }
    # As `make test` builds it: another choice of crates compiles each dependency anew.
    features = ["--features", "forebay-bindings/failpoints"]
    command = ["cargo", "test", "--locked", "--profile", "ci", "--workspace", *features]
    done = subprocess.run(
        [*command, "--test", "botocore", "--", "--ignored"],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in told.read_text().splitlines()]
    return {name: line for (name, _, _), line in zip(cases, lines, strict=True)}


def request_of(suite, case):
    """Give what the codecs are asked: to read a request, or to write an answer."""
    given, metadata = case["given"], suite["metadata"]
    protocol = metadata["protocol"]
    if "response" in case and protocol == "query" and "output" in given:
        given = given | {"output": given["output"] | {"resultWrapper": f"{given['name']}Result"}}
    name = given.get("name", "OperationName")
    model = {"metadata": metadata, "operations": {name: given}, "shapes": suite.get("shapes", {})}
    asked = {"protocol": protocol, "model": model, "operation": name}
    if "serialized" in case:
        sent = case["serialized"]
        body = sent.get("body", "")
        return asked | {
            "direction": "input",
            "method": sent.get("method", given.get("http", {}).get("method", "POST")),
            "uri": sent.get("uri", "/"),
            "headers": sent.get("headers", {}),
            "body": body if protocol == "smithy-rpc-v2-cbor" else base64.b64encode(body.encode()).decode(),
        }
    asked |= {"direction": "output", "result": case.get("result", case.get("error"))}
    if "error" in case:
        asked |= {"error": error_shape(suite, case), "message": case.get("errorMessage", "")}
    return asked


def error_shape(suite, case):
    """Name the shape of the error that a case is about."""
    code = case["errorCode"]
    for each in case["given"].get("errors", ()):
        shape = suite["shapes"][each["shape"]]
        if code in {each["shape"], shape.get("error", {}).get("code")}:
            return each["shape"]
    return code


def parsed(suite, case, answer):
    """Give what botocore's parser makes of an answer, as botocore's own test compares it."""
    protocol, name = suite["metadata"]["protocol"], case["given"].get("name", "OperationName")
    model = ServiceModel(suite | {"operations": {name: case}})
    operation = OperationModel(case["given"], model)
    response = {
        "status_code": answer["status"],
        "headers": HeadersDict(answer["headers"]),
        "body": base64.b64decode(answer["body"]),
        "context": {"operation_name": name},
    }
    shape = operation.output_shape
    if protocol == "query" and shape is not None and "error" not in case:
        shape.serialization["resultWrapper"] = f"{name}Result"
    parser = PROTOCOL_PARSERS[protocol](timestamp_parser=lambda value: parse_timestamp(value).timestamp())
    found = parser.parse(response, shape)
    if "error" in case:
        with contextlib.suppress(NoShapeFoundError):  # it is none of the operation's own
            found |= parser.parse(response, model.shape_for_error_code(found["Error"]["Code"]))
        found["Error"] = {name: found["Error"].get(name, "") for name in ("Code", "Message")}
    found.pop("ResponseMetadata", None)
    return found


def plain(value):
    """Give a value in which bytes are text, numbers are floating and what is None is not there."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return round(float(value), 3)
    return value


def told(wrong, cases):
    """Fail with what is wrong, and with the exceptions that are none any more."""
    lines = [f"{name}: {text}" for name, text in wrong.items() if name not in EXCEPTIONS]
    kinds = {name for name, _, _ in cases}
    lines += [f"{name}: it passes, and is named as an exception" for name in EXCEPTIONS if name in kinds - set(wrong)]
    assert not lines, f"{len(kinds)} cases, {len(lines)} wrong\n" + "\n".join(lines)


def test_requests_are_read_as_their_clients_meant_them(cases, played, record_testsuite_property):
    requests = [each for each in cases if "serialized" in each[2]]
    wrong = {}
    for name, _, case in requests:
        wanted, found = plain(case.get("params", {})), plain(played[name].get("input"))
        if found != wanted:
            wrong[name] = f"\n  read {found or played[name]}\n  want {wanted}"
    record_testsuite_property("requests", len(requests))
    told(wrong, requests)


def test_answers_are_read_by_botocore_as_they_were_meant(cases, played, record_testsuite_property):
    answers = [each for each in cases if "response" in each[2]]
    wrong = {}
    for name, suite, case in answers:
        wanted = case.get("result", case.get("error"))
        if "error" in case:
            wanted = wanted | {"Error": {"Code": case.get("errorCode", ""), "Message": case.get("errorMessage", "")}}
        try:
            found = plain(parsed(suite, case, played[name]))
        except Exception as error:  # noqa: BLE001  the parser's own: which one it is, is told
            found = repr(error)
        if found != plain(wanted):
            wrong[name] = f"\n  read {found} of {played[name]}\n  want {plain(wanted)}"
    record_testsuite_property("answers", len(answers))
    told(wrong, answers)

"""Clients of the Lambda Runtime API, good and bad: `python runtime_client.py KIND`. Never imported."""

import http.client
import json
import os
import sys
import time

BASE = "/2018-06-01/runtime/"


def ask(method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"], timeout=100)
    connection.request(method, BASE + path, body=body, headers=headers or {})
    response = connection.getresponse()
    return response.status, dict(response.headers), response.read()


def next_one():
    _, headers, body = ask("GET", "invocation/next")
    return headers, json.loads(body)


def respond(identifier, value, **headers):
    return ask("POST", f"invocation/{identifier}/response", json.dumps(value), headers)


def kind_of(answer):
    return [answer[0], json.loads(answer[2]).get("errorType")]


def well():
    while True:
        headers, event = next_one()
        shown = {name.lower(): value for name, value in headers.items() if name.lower().startswith("lambda-")}
        given = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        respond(headers["lambda-runtime-aws-request-id"], {"event": event, "headers": shown, "variables": given})


def wrongly():
    """Answer the first invocation in every wrong way before the right one, and tell the second what came of it."""
    headers, _ = next_one()
    first = headers["lambda-runtime-aws-request-id"]
    seen = {
        "asks again": kind_of(ask("GET", "invocation/next")),
        "another id": kind_of(respond("00000000-0000-4000-8000-000000000000", 1)),
        "another invocation": kind_of(respond(first, 1, **{"Lambda-Runtime-Invocation-Id": "x"})),
        "no such path": kind_of(ask("GET", "nothing")),
        "init error after init": kind_of(ask("POST", "init/error", "{}")),
        "another host": kind_of(ask("GET", "invocation/next", headers={"Host": "rebound.example.com"})),
        "right": kind_of(respond(first, "right")),
        "twice": kind_of(respond(first, "twice")),
        "error after answer": kind_of(ask("POST", f"invocation/{first}/error", "{}")),
    }
    headers, _ = next_one()
    second = headers["lambda-runtime-aws-request-id"]
    seen["late"] = kind_of(respond(first, "late"))
    respond(second, seen)
    next_one()


def fail_in(mode):
    headers, _ = next_one()
    identifier = headers["lambda-runtime-aws-request-id"]
    if mode == "raise":
        body = json.dumps({"errorMessage": "no", "errorType": "Error.Own", "stackTrace": []})
        ask("POST", f"invocation/{identifier}/error", body)
    elif mode == "raise text":
        ask("POST", f"invocation/{identifier}/error", "no", {"Lambda-Runtime-Function-Error-Type": "Own.Reason"})
    elif mode == "no json":
        ask("POST", f"invocation/{identifier}/response", "{nope")
    elif mode == "too large":
        ask("POST", f"invocation/{identifier}/response", b'"' + b"x" * 6_291_555 + b'"')
    elif mode == "hang":
        time.sleep(60)
    elif mode == "exit":
        os._exit(4)


def main(kind):
    if kind == "well":
        well()
    if kind == "wrongly":
        wrongly()
    if kind == "never asks":
        time.sleep(60)
    if kind == "exits at once":
        os._exit(6)
    if kind == "init error":
        ask("POST", "init/error", json.dumps({"errorMessage": "no luck", "errorType": "Runtime.Own", "stackTrace": []}))
        sys.exit(1)
    while True:
        fail_in(kind)


main(sys.argv[1])

"""A program behind the Lambda Runtime API that fails every invocation, each in another way. Never imported."""

import http.client
import itertools
import json
import os

BASE = "/2018-06-01/runtime/invocation/"


def ask(method, path, body=None):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"], timeout=100)
    connection.request(method, BASE + path, body=body)
    response = connection.getresponse()
    return response.headers["lambda-runtime-aws-request-id"], response.read()


for turn in itertools.count():
    request, event = ask("GET", "next")
    if turn % 2:
        ask("POST", f"{request}/response", b"no JSON: " + event)
        continue
    ask("POST", f"{request}/error", json.dumps({"errorType": "Refused", "errorMessage": "the handler's own words"}))

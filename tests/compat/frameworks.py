"""Apps of FastAPI, Flask, Django, Powertools, Chalice and Zappa that were written for Lambda, unchanged behind every kind of API.

The newest releases come from PyPI into an environment of their own in `target`.
"""

import http.client
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from ports import free_port

ROOT = Path(__file__).parents[2]
APPS = Path(__file__).parent / "frameworks_apps"

pytestmark = pytest.mark.timeout(600)
PACKAGES = ("mangum", "fastapi", "apig-wsgi", "flask", "serverless-wsgi", "django", "chalice", "zappa")
PACKAGES += ("aws-lambda-powertools", "python-multipart")
ALL = ("http", "http1", "rest", "url")
DOORS = {
    "fastapi": ALL,
    "flask": ALL,
    "django": ALL,
    "powertools": ALL,
    "zappa": ("http", "http1", "rest"),
    "chalice": ("rest",),
}
PAIRS = [(app, door) for app, doors in DOORS.items() for door in doors]
PATHS = {"http": "/_apis/{}-http", "http1": "/_apis/{}-http1", "rest": "/_apis/{}-rest/prod", "url": "/_apis/{}-url"}
BYTES = bytes(range(256)) * 40
OCTETS = {"content-type": "application/octet-stream", "accept": "application/octet-stream"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def python():
    folder = ROOT / "target" / "frameworks"
    found = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        venv.create(folder, with_pip=True)
        needed = subprocess.run(
            [sys.executable, ROOT / "scripts" / "requirements.py"], capture_output=True, text=True, check=True
        ).stdout.split("\n")
        needed = [requirement for requirement in needed if requirement]
        subprocess.run([found, "-m", "pip", "install", "-q", *needed, *PACKAGES], check=True)
        (folder / ".ready").touch()
    return str(found)


@pytest.fixture(scope="module")
def port(python):
    found = free_port()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "python"), str(APPS)])}
    environment |= {"AWS_DEFAULT_REGION": "us-east-1", "POWERTOOLS_SERVICE_NAME": "shop"}
    command = [python, "-W", "ignore", str(APPS / "served.py"), str(found)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as serving:
        for line in serving.stdout:
            if line == "serving\n":
                break
        else:
            pytest.fail("it does not serve")
        yield found
        serving.communicate(timeout=60)
        assert serving.returncode == 0


@pytest.fixture(params=PAIRS, ids="-".join)
def ask(request, port):
    """Send a request to an app behind an API."""
    app, door = request.param

    def send(method, path, body=None, headers=()):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request(method, PATHS[door].format(app) + path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    send.app, send.door = app, door
    return send


def test_the_versions_are_recorded(python, record_testsuite_property):
    said = subprocess.run([python, "-m", "pip", "list", "--format", "json"], capture_output=True, check=True).stdout
    versions = {one["name"].lower().replace("_", "-"): one["version"] for one in json.loads(said)}
    for name in PACKAGES:
        record_testsuite_property(name, versions[name])


def test_path_and_query_arrive(ask):
    status, headers, body = ask("GET", "/items/caf%C3%A9%20a?q=1&q=2&t=a%20b%26c")
    assert (status, headers.get_content_type()) == (200, "application/json")
    item = json.loads(body)
    # A resolver is given the path as it was sent, and does not decode it.
    assert item["item"] in {"café a", "caf%C3%A9%20a"}
    # One value of several is all that a format-2.0 event has of a query: they are joined by commas.
    assert item["q"] in (["1", "2"], ["1,2"])
    assert item["t"] == "a b&c"


def test_a_body_of_any_bytes_comes_back(ask):
    status, headers, body = ask("POST", "/echo", BYTES, OCTETS)
    assert (status, headers.get_content_type(), body) == (200, "application/octet-stream", BYTES)


def test_a_form_is_read(ask):
    status, _, body = ask("POST", "/form", "a=1&b=x%20y", FORM)
    assert (status, json.loads(body)) == (200, {"a": "1", "b": "x y"})


def test_cookies_go_both_ways(ask):
    status, headers, body = ask("GET", "/cookies", headers={"cookie": "seen=1; other=2"})
    assert (status, json.loads(body)) == (200, {"seen": "1"})
    sent = [one.partition(";")[0] for one in headers.get_all("set-cookie")]
    # Zappa gives each of them several times, in every form that an answer has.
    assert list(dict.fromkeys(sent)) == ["a=1", "b=2"]
    assert len(sent) == 2 or ask.app == "zappa"


def test_a_status_and_a_header_of_its_own(ask):
    status, headers, body = ask("GET", "/teapot")
    assert (status, headers["x-a"], body) == (418, "1", b"short and stout")


def test_what_it_does_not_have_and_what_fails(ask):
    status, _, _ = ask("GET", "/nothing")
    # Chalice has a resource for each route: what it has not, the API answers.
    assert status == (403 if ask.app == "chalice" else 404)
    status, _, _ = ask("GET", "/fail")
    # Of an error that an app lets out, the API makes an answer.
    raised = {"http": 500, "http1": 500, "rest": 502, "url": 502}[ask.door]
    assert status in {500, raised}

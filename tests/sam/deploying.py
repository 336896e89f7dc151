"""What the tests of deploys share: a store without an app, commands, and an app that serves."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from forebay._sam import expansion, template
from forebay._stacks.artifacts import Artifacts
from forebay._stacks.package import package
from forebay._stacks.service import Asked, Place, Service
from forebay._stacks.store import StackStore
from forebay.cli.connect import connect
from forebay.cli.stack_connection import StoreTarget

PLACE = Place(
    app="stacks", region="us-east-1", account="000000000000", http="http://127.0.0.1:3000", aws="http://127.0.0.1:4566"
)
ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "ignore"}


class Killed(BaseException):
    """The program ends here."""


@contextlib.contextmanager
def deployer(store, passed=lambda _: None):
    """Give the stacks of a store that no app runs on, and what they are deployed to."""
    store.mkdir(parents=True, exist_ok=True)
    kept = StackStore(store)
    try:
        with connect(store, region=PLACE.region, new_for=PLACE.app) as connection:
            service = Service(kept, PLACE, passed=passed)
            yield service, StoreTarget(connection, service, Artifacts(store), store), connection
    finally:
        kept.close()


def asked(text, store, folder=None, **more):
    """Read a template, take its code, expand it, and give what is asked for."""
    body = template.read(text.encode()).body
    packaged = package(body, folder or store, Artifacts(store))
    parameters = {name: str(one.get("Default", "x")) for name, one in (body.get("Parameters") or {}).items()}
    expanded = expansion.expand(packaged, parameters)
    return Asked(
        **{"stack": "shop", "template": text, "body": expanded, "capabilities": ("CAPABILITY_NAMED_IAM",), **more}
    )


def deploy(text, store, folder=None, **more):
    """Deploy a template into a store; give the status."""
    with deployer(store) as (service, target, _):
        wanted = asked(text, store, folder, **more)
        service.begin(wanted)
        return asyncio.run(service.run(wanted.stack, target))


def forebay(*arguments, cwd=None, given=None, check=True):
    """Run a command; give what it says."""
    command = [sys.executable, "-m", "forebay.cli", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, input=given, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


@contextlib.contextmanager
def serving(store, http_port=0, *more, cwd=None):
    """Have `forebay run` serve a store; give its log when it is ready."""
    log = Path(store).parent / "run.log"
    command = [sys.executable, "-m", "forebay.cli", "run", "--store", str(store), "--metrics-port", "0"]
    ports = ["--http-port", str(http_port)]
    (Path(store) / "stacks.sock").unlink(missing_ok=True)  # of an app that was killed
    with log.open("w") as out:
        app = subprocess.Popen([*command, *ports, *more], stdout=out, stderr=out, cwd=cwd, env=ENVIRONMENT)
        try:
            until(lambda: (Path(store) / "stacks.sock").exists() or app.poll() is not None)
            assert app.poll() is None, log.read_text()
            yield log
        finally:
            app.terminate()
            app.wait(100)


def until(holds, seconds=100):
    """Wait until something holds."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it never came to hold"
        time.sleep(0.02)


def get(url):
    """Ask a URL; give the status and the body."""
    try:
        with urllib.request.urlopen(url, timeout=100) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()

"""h2spec, the conformance tests of HTTP/2 and HPACK, against the gateway over TLS."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from forebay import App

TESTS = 146
MODULE = Path(__file__).parent / "go_h2spec"
PROGRAM = "github.com/summerwind/h2spec/cmd/h2spec"
sys.path.insert(0, str(Path(__file__).parents[1] / "gateway"))
from certificates import ONE, ONE_KEY  # noqa: E402
from ports import free_port  # noqa: E402


def go(*words):
    variables = os.environ | {"GOTOOLCHAIN": "local"}
    done = subprocess.run(
        ["go", *words], cwd=MODULE, env=variables, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def h2spec(tmp_path, record_testsuite_property):
    """Build it."""
    if shutil.which("go") is None:
        pytest.skip("there is no Go on this machine")
    version = go("list", "-m", "-f", "{{.Version}}", "github.com/summerwind/h2spec")
    record_testsuite_property("h2spec", version.removesuffix("+incompatible"))
    go("build", "-o", str(tmp_path / "h2spec"), PROGRAM)
    return str(tmp_path / "h2spec")


@pytest.fixture
async def port(tmp_path):
    """Serve an API over TLS."""
    app, found = App("h2", store=":memory:"), free_port()
    api = app.http_api("shop")

    @api.route("$default")
    async def answer(event, context):
        return {"hello": "world"}

    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    for file, text in zip(files, (ONE, ONE_KEY), strict=True):
        file.write_text(text)
    await app.start(http_port=found, http_tls=files)
    yield found
    await app.stop()


@pytest.mark.timeout(600)
async def test_every_case_passes(h2spec, port, tmp_path, record_testsuite_property):
    report = tmp_path / "report.xml"
    words = ["--tls", "--insecure", "--strict", "--timeout", "5", "--port", str(port), "--junit-report", str(report)]
    process = await asyncio.create_subprocess_exec(h2spec, *words, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    suites = ET.parse(report).getroot().findall("testsuite")  # noqa: S314  h2spec has just written it
    counts = {
        name: sum(int(suite.get(name)) for suite in suites) for name in ("tests", "skipped", "failures", "errors")
    }
    record_testsuite_property("cases", str(counts["tests"]))
    assert counts == {"tests": TESTS, "skipped": 0, "failures": 0, "errors": 0}, said.decode()
    assert process.returncode == 0

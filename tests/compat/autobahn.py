"""Autobahn's fuzzing client: its 247 cases of the WebSocket protocol, against a WebSocket API."""

import asyncio
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from forebay import App

CLIENT = Path(__file__).parent / "autobahn_client"
FOLDER = Path(__file__).parents[2] / "target" / "compat" / "autobahn"
SUITE, LIBRARY = "autobahntestsuite==25.10.1", "autobahn==0.10.9"
# Its other groups measure time (9) and ask for compression (12, 13), which neither API Gateway nor forebay offers.
GROUPS = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
CASES = 247
# How a connection ends that sends what API Gateway does not take, and Autobahn wants to have back.
BINARY, LARGE = 1003, 1009
CLOSED = {
    **dict.fromkeys(("1.2.1", "1.2.2", "1.2.3", "1.2.4", "1.2.5"), BINARY),
    # a frame of more than 32 KiB
    **dict.fromkeys(("1.1.6", "1.1.7", "1.1.8", "1.2.6", "1.2.7", "1.2.8"), LARGE),
}
# An answer without a body is not sent, so an empty text never comes back.
EMPTY = {"1.1.1", "6.1.1", "6.1.2"}
sys.path.insert(0, str(Path(__file__).parents[1]))
from ports import free_port  # noqa: E402


def fetch(*words):
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *words], check=True, capture_output=True
    )


@pytest.fixture
def client(record_testsuite_property):
    """Fetch the client and a Python 2 for it, the first time."""
    if shutil.which("mvn") is None:
        pytest.skip("there is no JDK with Maven on this machine")
    record_testsuite_property("autobahntestsuite", SUITE.partition("==")[2])
    libraries, fetched, jython = FOLDER / "libraries", FOLDER / "fetched", FOLDER / "jython"
    if not (FOLDER / "whole").exists():
        shutil.rmtree(FOLDER, ignore_errors=True)
        libraries.mkdir(parents=True)
        old = ["--only-binary=:all:", "--python-version=27", "--implementation=cp", "--abi=cp27mu"]
        fetch(*old, "--platform=manylinux1_x86_64", "-r", str(CLIENT / "libraries.txt"), "-d", str(fetched))
        fetch("--no-binary=:all:", SUITE, LIBRARY, "-d", str(fetched))
        for wheel in fetched.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(libraries)  # noqa: S202  pip has fetched it
        for source in fetched.glob("*.tar.gz"):
            with tarfile.open(source) as archive:
                archive.extractall(fetched, filter="data")
            package = source.name.partition("-")[0]
            shutil.move(fetched / source.name.removesuffix(".tar.gz") / package, libraries / package)
        jar = [
            "mvn",
            "-q",
            "-B",
            "-f",
            CLIENT / "pom.xml",
            "dependency:copy-dependencies",
            f"-DoutputDirectory={jython}",
        ]
        subprocess.run(jar, check=True, capture_output=True)
        (FOLDER / "whole").touch()
    return ["java", "-jar", str(next(jython.glob("*.jar"))), str(CLIENT / "fuzz.py")], str(libraries)


@pytest.mark.timeout(900)
async def test_every_case_passes_but_for_what_api_gateway_does_not_take(client, tmp_path, record_testsuite_property):
    command, libraries = client
    app, port = App("echo", store=":memory:"), free_port()
    ws = app.websocket_api("echo")

    @ws.on_default(responds=True)
    async def echo(event, context):
        return event["body"]

    specification = tmp_path / "specification.json"
    servers = [{"agent": "forebay", "url": f"ws://127.0.0.1:{port}"}]
    specification.write_text(json.dumps({"outdir": str(tmp_path), "servers": servers, "cases": GROUPS}))
    await app.start(http_port=port)
    process = await asyncio.create_subprocess_exec(
        *command, str(specification), libraries, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path
    )
    said, _ = await process.communicate()
    await app.stop()
    assert process.returncode == 0, said.decode()
    found = json.loads((tmp_path / "index.json").read_text())["forebay"]
    record_testsuite_property("cases", str(len(found)))
    failed = {name: case["remoteCloseCode"] for name, case in found.items() if case["behavior"] == "FAILED"}
    assert len(found) == CASES
    assert {name: code for name, code in failed.items() if name not in EMPTY} == CLOSED
    assert {name for name, case in found.items() if case["behaviorClose"] == "FAILED"} == set(CLOSED)

"""AWS's SDK for JavaScript (v3): a day's work of ten services, Kinesis over HTTP/2."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "aws_js"
FOLDER = Path(__file__).parents[2] / "target" / "compat" / "aws_js"


@pytest.fixture
def program(record_testsuite_property):
    """Install the SDK, the first time."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm on this machine")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file in PROGRAM.iterdir():
        shutil.copy(file, FOLDER)
    if not (FOLDER / "node_modules").exists():
        subprocess.run(["npm", "install", "--no-audit", "--no-fund"], cwd=FOLDER, check=True, capture_output=True)
    version = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout
    record_testsuite_property("node", version.strip().removeprefix("v"))
    sdk = json.loads((FOLDER / "node_modules/@aws-sdk/client-sqs/package.json").read_text())
    record_testsuite_property("aws-sdk", sdk["version"])
    return FOLDER / "day.js"


@pytest.mark.timeout(600)
def test_a_day_of_each_service(clients, program):
    done = clients.run("node", program, cwd=FOLDER)
    assert len(done.split()) == 10

"""AWS's SDK for Go (v2): a day's work of seven services, CloudWatch in CBOR."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "aws_go"


def go(*words):
    done = subprocess.run(
        ["go", *words],
        cwd=PROGRAM,
        env=os.environ | {"GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.timeout(900)  # the first time, Go fetches and compiles the SDK
def test_a_day_of_each_service(clients, tmp_path, record_testsuite_property):
    if shutil.which("go") is None:
        pytest.skip("there is no Go on this machine")
    record_testsuite_property("go", go("env", "GOVERSION").removeprefix("go"))
    record_testsuite_property("aws-sdk-go-v2", go("list", "-m", "-f", "{{.Version}}", "github.com/aws/aws-sdk-go-v2"))
    go("build", "-o", str(tmp_path / "day"), ".")
    done = clients.run(tmp_path / "day", cwd=tmp_path)
    assert len(done.split()) == 7

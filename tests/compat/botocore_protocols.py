"""botocore's own protocol tests, from the side of a server."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import botocore
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def protocols(tmp_path, record_testsuite_property):
    """Fetch the tests: they are in botocore's source distribution, and not in what is installed."""
    version = botocore.__version__
    record_testsuite_property("botocore", version)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, "--dest", str(tmp_path), f"botocore=={version}"], check=True, timeout=240)
    (archive,) = tmp_path.glob("botocore-*.tar.gz")
    with tarfile.open(archive) as file:
        inside = [one for one in file.getmembers() if "/tests/unit/protocols/" in one.name]
        file.extractall(tmp_path, members=inside, filter="data")
    return next(tmp_path.glob("botocore-*/tests/unit/protocols"))


@pytest.mark.timeout(1800)
def test_inputs_are_read_and_outputs_written_as_botocore_has_them(protocols):
    command = ["cargo", "test", "--locked", "--profile", "ci", "-p", "forebay-doors", "--test", "smithy", "of_botocore"]
    environment = {**os.environ, "FOREBAY_BOTOCORE_PROTOCOLS": str(protocols)}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=1700)

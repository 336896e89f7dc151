"""AWS's SDK for Java (v2): a day's work of seven services, Kinesis in CBOR, blocking and asynchronous over HTTP/2."""

import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "aws_java"
FOLDER = Path(__file__).parents[2] / "target" / "compat" / "aws_java"


@pytest.fixture
def classpath(record_testsuite_property):
    """Fetch the SDK, the first time, and compile the program."""
    if shutil.which("mvn") is None or shutil.which("javac") is None:
        pytest.skip("there is no JDK with Maven on this machine")
    libraries, classes = FOLDER / "lib", FOLDER / "classes"
    classes.mkdir(parents=True, exist_ok=True)
    if not libraries.exists():
        fetch = [
            "mvn",
            "-q",
            "-B",
            "-f",
            PROGRAM / "pom.xml",
            "dependency:copy-dependencies",
            f"-DoutputDirectory={libraries}",
        ]
        subprocess.run(fetch, check=True, capture_output=True)
    path = f"{classes}:{libraries}/*"
    compiled = ["javac", "-proc:none", "-cp", path, "-d", classes, PROGRAM / "src" / "Day.java"]
    subprocess.run(compiled, check=True, capture_output=True)
    told = subprocess.run(["java", "--version"], check=True, capture_output=True, text=True).stdout
    record_testsuite_property("java", told.split()[1])
    declared = ET.parse(PROGRAM / "pom.xml").getroot()  # noqa: S314  it lies beside this file
    record_testsuite_property("aws-sdk-java", declared.find(".//dependency/version").text)
    return path


@pytest.mark.timeout(900)
def test_a_day_of_each_service(clients, tmp_path, classpath):
    done = clients.run("java", "-cp", classpath, "Day", cwd=tmp_path)
    assert len(done.split()) == 7

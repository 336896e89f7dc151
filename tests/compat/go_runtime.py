"""AWS's own client of the Lambda Runtime API for Go, unmodified."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import forebay
from forebay import FunctionError

CLIENT = Path(__file__).parent / "go_client"


def go(*words):
    variables = os.environ | {"GOTOOLCHAIN": "local"}
    done = subprocess.run(
        ["go", *words], cwd=CLIENT, env=variables, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def client(tmp_path, record_testsuite_property):
    """Build a function on the client."""
    if shutil.which("go") is None:
        pytest.skip("there is no Go on this machine")
    record_testsuite_property("go", go("env", "GOVERSION").strip().removeprefix("go"))
    record_testsuite_property(
        "aws-lambda-go", go("list", "-m", "-f", "{{.Version}}", "github.com/aws/aws-lambda-go").strip()
    )
    go("build", "-o", str(tmp_path / "client"), ".")
    return str(tmp_path / "client")


@pytest.mark.timeout(300)  # the first time, Go fetches the client and compiles much of its own library
async def test_a_function_in_go_is_invoked_and_its_error_is_told(client):
    app = forebay.App("commands", store=":memory:")
    function = app.command_function("go", command=[client])
    async with app:
        event, request, name = await function.invoke({"a": [1]})
        with pytest.raises(FunctionError) as failed:
            await function.invoke({"fail": True})
    assert (event, len(request), name) == ({"a": [1]}, 36, "go")
    assert (failed.value.payload["errorType"], failed.value.payload["errorMessage"]) == ("errorString", "no")

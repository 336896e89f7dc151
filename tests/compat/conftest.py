"""The compatibility suites of AWS's SDKs share an app that serves the wire API."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import forebay

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "wire"))
from wire_app import ACCOUNT, REGION, served  # noqa: E402

KEY = {"id": "FBKCOMPAT", "secret": "a-secret+of/compat"}


class Clients:
    """Programs that find the app by their variables."""

    def __init__(self, wire, folder):
        self.wire = wire
        self.variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "AWS_ENDPOINT_URL": wire.url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": KEY["id"],
            "AWS_SECRET_ACCESS_KEY": KEY["secret"],
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(folder / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
        }

    def run(self, *command, cwd, within=300, codes=frozenset({0}), **variables):
        """Run a program that ends with one of these codes; give what it printed."""
        done = subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            env=self.variables | variables,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        assert done.returncode in codes, done.stdout + done.stderr
        return done.stdout if codes == {0} else done.stdout + done.stderr


@pytest.fixture
def clients(tmp_path):
    """Serve an app with an access key, a function that answers and one that fails."""
    (tmp_path / "aws-keys.json").write_text(json.dumps({"keys": [KEY]}))
    (tmp_path / "aws-keys.json").chmod(0o600)
    app = forebay.App("compat", store=str(tmp_path), region=REGION, account=ACCOUNT)

    @app.function()
    async def echo(event, context):
        return event

    @app.function()
    async def fail(event, context):
        raise ValueError("no")

    with served(app) as wire:
        yield Clients(wire, tmp_path)

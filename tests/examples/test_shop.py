"""A shop's events: fanned out, archived, replayed into a fixed handler whose model is that of the discovered schema."""

import json
import subprocess
import sys
from pathlib import Path

from forebay._schema import bind

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_orders_are_replayed_into_the_handler_that_uses_the_discovered_model(tmp_path):
    command = [sys.executable, "-W", "ignore::RuntimeWarning", str(EXAMPLES / "shop.py"), "--schema", "schema.json"]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=200, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 orders were placed: 20 invoices, 6 parcels, 14 failed" in done.stdout
    assert "20 orders were replayed: 20 parcels, still 20 invoices" in done.stdout
    # The model beside the example is the one that forebay writes for what it discovered.
    schema = json.loads((tmp_path / "schema.json").read_text())
    files = bind(schema["content"], "OpenApi3", name=schema["name"], version="1", language="python", style="pydantic")
    [model] = files.values()
    assert (EXAMPLES / "order_placed.py").read_text() == model

"""The extension's stub says what the extension is."""

import subprocess
import sys
from pathlib import Path

HOUSE = Path(__file__).parent


def test_the_stub_and_the_extension_agree():
    command = [sys.executable, "-m", "mypy.stubtest", "forebay._core", "--allowlist", str(HOUSE / "stubtest.txt")]
    checked = subprocess.run(command, cwd=HOUSE.parents[1], capture_output=True, check=False, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr

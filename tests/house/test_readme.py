"""README is short, and shows what the repository has: the first example, and figures out of the newest results."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BYTES_MAX = 8_000
ARCHITECTURE_BYTES_MAX = 20_000


def test_it_can_be_read_in_a_minute():
    assert len(README.encode()) <= BYTES_MAX
    assert len((ROOT / "ARCHITECTURE.md").read_bytes()) <= ARCHITECTURE_BYTES_MAX


def test_the_figures_are_those_of_the_newest_results():
    command = [sys.executable, "scripts/figures.py", "--check"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    assert checked.returncode == 0, checked.stderr


def test_the_first_app_is_the_one_among_the_examples():
    app = re.search(r"```python\n# quickstart\.py\n(.*?)```", README, re.DOTALL)[1]
    assert (ROOT / "examples" / "quickstart.py").read_text().endswith(app)

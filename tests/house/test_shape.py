"""Files tell one story: none is so long that it must be several."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE_LINES_MAX = 600


def test_no_file_is_too_long():
    patterns = ["*.py", "*.pyi", "*.rs", "*.sh"]
    names = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, check=True, text=True)
    paths = [ROOT / name for name in names.stdout.split("\0") if name]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in paths if path.is_file()}
    assert lengths, "nothing was looked at"
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES_MAX} == {}

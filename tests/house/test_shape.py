"""Files tell one story and functions fit a screen."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE_LINES_MAX = 450
FUNCTION_LINES_MAX = 70  # Rust's are counted by clippy (clippy.toml)

# What is longer, and why it is.
LONGER: dict[str, str] = {}


def tracked(*patterns: str) -> list[Path]:
    """List the files under version control that match, as they are on disk."""
    names = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, check=True, text=True)
    return [ROOT / name for name in names.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_is_too_long():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in tracked("*.py", "*.pyi", "*.rs", "*.sh")
    }
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES_MAX and name not in LONGER} == {}
    assert {name for name in LONGER if lengths.get(name, 0) <= FILE_LINES_MAX} == set(), (
        "an exception that is no longer one"
    )


@pytest.mark.parametrize("path", tracked("*.py"), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_function_is_too_long(path):
    too_long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno >= FUNCTION_LINES_MAX
    }
    assert too_long == {}

"""Rust's pages show no example that a compiler could take: no crate has its pages tested, which costs a compilation of each."""

import re
from pathlib import Path

RUST = Path(__file__).parents[2] / "rust"
FENCE = re.compile(r"^\s*//[/!] ?```(.*)$", re.MULTILINE)


def test_what_rust_s_pages_show_is_text():
    """An example in Rust would never be run: it belongs into a test."""
    shown = {path: FENCE.findall(path.read_text())[::2] for path in RUST.rglob("*.rs") if "target" not in path.parts}
    assert {path.name: kinds for path, kinds in shown.items() if set(kinds) - {"text"}} == {}

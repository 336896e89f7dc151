"""The starters of `forebay init`. Their files end in `.txt` here, so that no tool takes them for code of ours."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from pathlib import Path

TITLES: Final = {
    "hello-world": "Hello world: an HTTP API and a function",
    "fifo-worker": "FIFO worker: a FIFO queue with its dead-letter queue, and a function",
    "http-queue": "HTTP API with a queue: requests are accepted at once and done later",
    "stream-lanes": "Stream with lanes: ordered records, ten batches of a shard at once",
    "workflow": "Workflow: a state machine with retries, and its functions",
}
NAMES: Final = tuple(TITLES)
_END: Final = ".txt"
_PROJECT: Final = "@project@"


def write(name: str, folder: Path, project: str) -> None:
    """Write a starter's files into a folder."""
    _write(resources.files(__name__) / name, folder, project)


def _write(source: Traversable, folder: Path, project: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for one in source.iterdir():
        if one.is_dir():
            _write(one, folder / one.name, project)
        elif one.name.endswith(_END):
            text = one.read_text(encoding="utf-8").replace(_PROJECT, project)
            (folder / one.name.removesuffix(_END)).write_text(text, encoding="utf-8")

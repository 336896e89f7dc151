"""The `forebay` command. Nothing else knows about terminals."""

from __future__ import annotations

from forebay.cli.root import main

__all__ = ["main"]

"""Refuses to declare two things under one name."""

from __future__ import annotations

from forebay.errors import ResourceConflict


def check_same(what: str, known: object, given: object, *, other: str = "other settings") -> None:
    """Refuse what differs from what was declared under its name.

    Raises:
        ResourceConflict: it differs.

    """
    if known != given:
        raise ResourceConflict(f"{what} is already declared, with {other}: give one of them another name")

"""A refusal of an operation of AWS's wire API."""

from __future__ import annotations


class WireError(Exception):
    """What is answered in place of a result.

    Attributes:
        code: AWS's name of it.
        message: what is wrong.
        status: HTTP status.

    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        self.code = code
        self.message = message
        self.status = status
        super().__init__(message)

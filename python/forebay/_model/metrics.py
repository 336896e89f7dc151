"""Where metrics are shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from forebay._model import checks
from forebay.errors import InvalidParameterValue

# What RFC 6750 lets a bearer token be made of.
TOKEN: Final = re.compile(r"(?=.{16,512}\Z)[A-Za-z0-9._~+/-]+=*")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsAddress:
    """Where an app shows its metrics, and to whom."""

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        checks.integer("metrics_port", self.port, low=0, high=65_535)
        if self.token is not None and not TOKEN.fullmatch(self.token):
            raise InvalidParameterValue(
                "metrics_token (not shown): allowed are 16 to 512 letters, digits and any of -._~+/, and '=' at its end"
            )

    @property
    def page(self) -> str | None:
        """Where the page is; None when it is nowhere."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/metrics" if self.port else None

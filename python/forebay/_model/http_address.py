"""Where the APIs of an app are served."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Literal

from forebay._model import checks


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAddress:
    """Where an app serves its APIs, and how."""

    host: str = "127.0.0.1"
    port: int = 0
    tls: tuple[str, str] | Literal[False] | None = None
    truststore: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    access_log: str | None = None
    access_log_format: str = "common"

    def __post_init__(self) -> None:
        checks.integer("http_port", self.port, low=0, high=65_535)
        object.__setattr__(self, "trusted_proxies", checks.texts("http_trusted_proxies", self.trusted_proxies))
        if self.tls is not None and self.tls is not False:
            if not isinstance(self.tls, tuple) or len(self.tls) != 2:  # noqa: PLR2004  a certificate and a key
                checks.refuse("http_tls", self.tls, "the files of a certificate and its key, or False, or None")
            object.__setattr__(self, "tls", tuple(os.fspath(path) for path in self.tls))
        if self.truststore is not None:
            object.__setattr__(self, "truststore", os.fspath(self.truststore))
            if not self.tls:
                checks.refuse("http_truststore", self.truststore, "only with http_tls=(certificate, key)")
        if self.access_log is None and self.access_log_format != "common":
            checks.refuse(
                "http_access_log_format", self.access_log_format, "only with http_access_log (`--http-access-log FILE`)"
            )

    @property
    def base(self) -> str | None:
        """The address of all APIs; None when there is none."""
        return self.at(self.port) if self.port else None

    @property
    def here(self) -> HttpAddress:
        """As a program on this machine reaches it."""
        return replace(self, host={"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host))  # noqa: S104  not bound

    def at(self, port: int = 0, *, socket: bool = False) -> str:
        """Give the address with a port, that of all APIs by default, as requests or as WebSockets reach it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'ws' if socket else 'http'}{'s' if self.tls else ''}://{host}:{port or self.port}"

"""Where AWS's wire API is served."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from forebay import _core
from forebay._model import checks

HOST: Final = "127.0.0.1"
PORT: Final = 4566
"""The port that the other servers of AWS's APIs have as well, so that settings for them do."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
SERVICES: Final = sorted(_core.wire_services)
"""What is served, by the names that requests are signed for."""
OF_METHODS: Final = [name for name in SERVICES if _core.wire_services[name]]
"""Those that a method of an API reaches, as an integration's URI names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireAddress:
    """Where an app answers what AWS's SDKs send."""

    host: str = HOST
    port: int = 0
    access_log: str | None = None
    """The file that gets a line of each request; `-`: standard error."""
    names: tuple[str, ...] = ()
    """Names under which clients reach it, as that of a proxy before it: S3 is answered under whole names alone."""

    def __post_init__(self) -> None:
        checks.integer("aws_port", self.port, low=0, high=65_535)
        if self.access_log == "":
            checks.refuse("aws_access_log", self.access_log, 'a file, or "-" for standard error')
        if self.access_log is not None and not self.port:
            checks.refuse("aws_access_log", self.access_log, f"only with aws_port (`--aws-port {PORT}`)")
        if self.names and not self.port:
            checks.refuse("aws_name", self.names[0], f"only with aws_port (`--aws-port {PORT}`)")
        for name in self.names:
            if not _NAME.fullmatch(name):
                checks.refuse("aws_name", name, "a name of DNS without a port, such as aws.example.com")
        if self.host != HOST and not self.port:
            checks.refuse("aws_host", self.host, f"only with aws_port (`--aws-port {PORT}`)")

    def check_without_keys(self) -> None:
        """Refuse an address that other machines reach: a store on a server has no access keys.

        The engine refuses it, too, but only when this process owns the store, and it tells people to make a key.
        """
        try:
            is_open = self.port != 0 and not ip_address(self.host).is_loopback
        except ValueError:
            return  # a name: the engine looks for its address
        if is_open:
            allowed = (
                "an app whose store is on a server has no access keys, so its wire API is for its own machine alone: use "
                "127.0.0.1, or keep the store in a directory"
            )
            checks.refuse("aws_host", self.host, allowed)

    @property
    def url(self) -> str | None:
        """The endpoint of the SDKs; None when it is nowhere."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}" if self.port else None

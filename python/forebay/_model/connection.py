"""How requests to HTTP endpoints are authorized: frozen values, whose secrets are in no text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """A connection that authorizes by name and password."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A connection that authorizes by a header of its own."""

    name: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """A connection that authorizes by OAuth's client credentials.

    Attributes:
        endpoint: where tokens are had, an https URL; on this machine it may be http.
        client_id: the client's id.
        client_secret: its secret.
        body: what the request for a token has beside, as `{"scope": "write"}`.
        method: "POST", "PUT" or "GET".
        headers: further headers of the request for a token.
        query: what stands behind the `?` of its URL.

    """

    endpoint: str
    client_id: str
    client_secret: str = field(repr=False)
    body: Mapping[str, str] = field(default_factory=dict, repr=False)
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)


Connection = BasicAuth | ApiKey | ClientCredentials

"""Who issues tokens for the bench: a key of openssl's, the page that leads to it, and tokens signed with it."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from forebay_bench import servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Issuer:
    """An issuer at a free port of this machine."""

    def __init__(self, directory: Path) -> None:
        self._openssl = servers.program("openssl", "apt-get install openssl")
        self._key = directory / "key.pem"
        self._run("genrsa", "-out", str(self._key), "2048")
        self._port = servers.free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    def _run(self, *words: str, data: bytes = b"") -> bytes:
        return subprocess.run([self._openssl, *words], check=True, capture_output=True, input=data).stdout

    def token(self, number: int) -> str:
        """Sign a token that is like no other."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": "user-17",
            "aud": "shop",
            "iat": now - 60,
            "exp": now + 3_600,
            "scope": "orders:read orders:write",
            "jti": str(number),
        }
        text = f"{_encoded({'alg': 'RS256', 'kid': 'one', 'typ': 'JWT'})}.{_encoded(claims)}"
        signature = self._run("dgst", "-sha256", "-sign", str(self._key), data=text.encode())
        return f"{text}.{_base64(signature)}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Answer whoever looks for the keys."""
        modulus = bytes.fromhex(self._run("rsa", "-in", str(self._key), "-noout", "-modulus").decode().split("=")[1])
        key = {"kty": "RSA", "use": "sig", "kid": "one", "n": _base64(modulus), "e": _base64(b"\1\0\1")}

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            found = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
            body = json.dumps(found if b"openid-configuration" in head else {"keys": [key]}).encode()
            start = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            writer.write(start.encode() + body)
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", self._port):
            yield


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _encoded(part: dict[str, Any]) -> str:
    return _base64(json.dumps(part).encode())

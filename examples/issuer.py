"""An issuer of tokens for trials on this machine: it gives a token to whoever asks. `examples/storefront.py` is served with it.

    python examples/issuer.py 9000 &
    curl -s "http://127.0.0.1:9000/token?aud=shop&scope=orders:read"

What is asked for becomes a claim: with `&exp=1` the token has run out. Its key is made anew at each start, by Python alone. An
issuer that guards something is a product of its own.
"""

import base64
import hashlib
import http.server
import json
import math
import secrets
import sys
import time
import urllib.parse

EXPONENT = 65_537
TIMES = ("exp", "iat", "nbf")
SMALL = math.prod(number for number in range(3, 1_000, 2) if all(number % by for by in range(3, number, 2)))
# The DER of SHA-256's name, which stands before a digest that is signed (RFC 8017, 9.2).
SHA_256 = bytes.fromhex("3031300d060960864801650304020105000420")


def prime(bits: int) -> int:
    """Draw a number until it is a prime, as far as a few trials tell."""
    while True:
        drawn = secrets.randbits(bits) | 3 << bits - 2 | 1
        if (
            math.gcd(drawn, SMALL) == 1
            and (drawn - 1) % EXPONENT
            and all(pow(by, drawn - 1, drawn) == 1 for by in (2, 3, 5))
        ):
            return drawn


def text(data: bytes) -> str:
    """Write bytes as a token has them."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Issuer(http.server.ThreadingHTTPServer):
    """Answers with what OpenID Connect discovery looks for, and with tokens."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.kid = secrets.token_hex(4)  # who remembers keys by their ids fetches the new one
        one, two = prime(1_024), prime(1_024)
        self.modulus, self.private = one * two, pow(EXPONENT, -1, (one - 1) * (two - 1))

    def keys(self) -> dict[str, object]:
        """Give the public key."""
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "e": text(EXPONENT.to_bytes(3))}
        return {"keys": [{**key, "n": text(self.modulus.to_bytes(256))}]}

    def token(self, asked: dict[str, str]) -> str:
        """Sign a token with these claims, good for an hour."""
        now = int(time.time())
        wanted = {name: int(value) if name in TIMES else value for name, value in asked.items()}
        claims = {"iss": self.url, "sub": "ada", "iat": now, "exp": now + 3_600, **wanted}
        head = {"alg": "RS256", "kid": self.kid, "typ": "JWT"}
        signed = ".".join(text(json.dumps(part).encode()) for part in (head, claims))
        digest = SHA_256 + hashlib.sha256(signed.encode()).digest()
        padded = b"\x00\x01" + b"\xff" * (256 - 3 - len(digest)) + b"\x00" + digest
        return f"{signed}.{text(pow(int.from_bytes(padded), self.private, self.modulus).to_bytes(256))}"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request."""

    server: Issuer

    def do_GET(self) -> None:
        """Give the discovery document, the keys, or a token."""
        asked = urllib.parse.urlsplit(self.path)
        told: object = {"issuer": self.server.url, "jwks_uri": f"{self.server.url}/keys"}
        if asked.path == "/token":
            body = self.server.token(dict(urllib.parse.parse_qsl(asked.query)))
        else:
            body = json.dumps(self.server.keys() if asked.path == "/keys" else told)
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name of the class above
        """Say nothing of a request."""


if __name__ == "__main__":
    issuer = Issuer(int(sys.argv[1]) if len(sys.argv) > 1 else 9_000)
    print(f"tokens are at {issuer.url}/token?aud=shop&scope=orders:read", flush=True)
    issuer.serve_forever()

"""Signs tokens for tests: RSA with SHA-2 in the few lines that it takes, with a key that guards nothing."""

import base64
import hashlib
import json

EXPONENT = 65_537
MODULUS = int(
    "a426a9344e68f445012a67adeee7551dc9d4b929238765d0e49084eafa3227af1fd14884a1fe0175ef06d481fa767ca9"
    "411c7015875c9c6d8e75a3d1b919e8d81a68f9a70f4aee50584453eaa1f51da23c00cf3dad8ae46cf0d863811d25e7c2"
    "e87aa466f9b674d2a6bdcf0a224a7627fb2d48cdd39fc88a83e832ff69c81c2db68b74fd5002b0c9a6e17d94fb203e16"
    "936478be6ee7b84e4b3e6a4d78d4e706e9775de43a7d3d9d631af33fdd2200c6bc1388977aa088db41930a1c813d1fca"
    "d4e0d33cc43d5b7ddf45fa2828e2a80cff2927761ce06b35b9cb8e809553477da6157d9c4769be1b1dd33a37c5d584ab"
    "e8f5766034f191866d10d47e2e8c77a1",
    16,
)
PRIVATE = int(
    "5015928873d6ad91badb5ae0d744e258599f2044cb5223e0d19a1656e380b3aeb339b2050f5932923c6edb1f9cb7d0e2"
    "ec62b8e62ff78553c7e469eb88407542754410c4a9e7d733b89481525ff88ba01a6114ba951fc588c6c9f365caf832c5"
    "7b115682ecc250e572b6f8bb0b76c38586fc156061a63b3b24d69486daaf67db3756d30ee200d28ba35dd49cc2647aa7"
    "8a6f42945297b7b04e87bcc0c3433caa89340e6b6727a15e22416f3a2b7db7df91a5e126fec10f2abda23cfd70e850b0"
    "b79e06b9527e99118ae3b5305188db81dd2c0daaf1904bfb2127ccc4f8899a3c0b78c8df51b1bb081595b88e088775c7"
    "3305820ab467898ac4122bebbf46b357",
    16,
)

# The DER of each digest's name, which stands before it in a signature.
NAMES = {
    256: bytes.fromhex("3031300d060960864801650304020105000420"),
    384: bytes.fromhex("3041300d060960864801650304020205000430"),
    512: bytes.fromhex("3051300d060960864801650304020305000440"),
}


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def signed(claims: dict, *, key: str = "one", bits: int = 256, **header) -> str:
    """Make a token."""
    head = {"alg": f"RS{bits}", "kid": key, "typ": "JWT", **header}
    text = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(claims).encode())}"
    digest = NAMES[bits] + hashlib.new(f"sha{bits}", text.encode()).digest()
    padded = b"\x00\x01" + b"\xff" * (256 - 3 - len(digest)) + b"\x00" + digest
    return f"{text}.{encoded(pow(int.from_bytes(padded), PRIVATE, MODULUS).to_bytes(256))}"


def key_set(*keys: str) -> dict:
    """Give the set of public keys, the same key under each name."""
    public = {"kty": "RSA", "use": "sig", "n": encoded(MODULUS.to_bytes(256)), "e": encoded(EXPONENT.to_bytes(3))}
    return {"keys": [{**public, "kid": key} for key in keys]}

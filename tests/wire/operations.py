"""The operations of the wire API, out of the door's tables, each as a request that says next to nothing."""

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

MODELS = Path(__file__).parents[2] / "rust/doors/src/aws/models"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Operation:
    """One operation, and how its service's clients write it."""

    service: str
    """The name that signs."""
    name: str
    protocol: str
    """`json`, `query`, `rest-json` or `rest-xml`."""
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def __str__(self):
        return f"{self.service}:{self.name}"


def operations():
    """Give every operation that is served."""
    found = []
    for table in sorted(MODELS.glob("*.json")):
        model = json.loads(table.read_text())
        metadata = model["metadata"]
        service = metadata.get("signingName", metadata["endpointPrefix"])
        protocol = metadata["protocol"]
        if "targetPrefix" in metadata:
            protocol = "json"
        found += [operation(service, protocol, metadata, name, one) for name, one in model["operations"].items()]
    assert len(found) > 150
    return found


def operation(service, protocol, metadata, name, given):
    """Give one operation as a request: what its path needs is there, and nothing else."""
    if protocol == "json":
        kind = f"application/x-amz-json-{metadata['jsonVersion']}"
        headers = (("Content-Type", kind), ("X-Amz-Target", f"{metadata['targetPrefix']}.{name}"))
        return Operation(service, name, protocol, "POST", "/", headers, b"{}")
    if protocol == "query":
        body = f"Action={name}&Version={metadata['apiVersion']}".encode()
        return Operation(service, name, protocol, "POST", "/", (("Content-Type", FORM),), body)
    http = given["http"]
    path, _, query = http["requestUri"].partition("?")
    parts = [quote("x") if part.startswith("{") else part for part in path.split("/")]
    target = "/".join(parts) + (f"?{query}" if query else "")
    method = http["method"]
    body = b"" if method in {"GET", "HEAD", "DELETE"} else b"{}"
    return Operation(service, name, protocol, method, target, (), body)

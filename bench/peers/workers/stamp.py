"""What every handler does: note the time."""

import os
import struct
import time

PAYLOAD = {
    "event": "order.created",
    "id": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
    "customer": "c-1048576",
    "amount": 129.95,
    "currency": "EUR",
    "items": [{"sku": "A-100", "quantity": 2}, {"sku": "B-7", "quantity": 10}],
}
_FILE = os.open(os.environ["BENCH_STAMPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def stamp(count: int = 1) -> None:
    """Append the time, once for each message; small appends do not tear."""
    os.write(_FILE, struct.pack("=q", time.monotonic_ns()) * count)

"""Wait until what was written to files and directories survives a power cut."""

import os
import sys
import tempfile
from pathlib import Path

if sys.platform == "darwin":
    import fcntl


def sync(file: int | Path) -> None:
    """Wait until an open file's bytes, a file's bytes, or a directory's names are on the disk.

    A new name is durable only after its directory was synced, too.
    """
    if isinstance(file, int):
        _sync(file)
        return
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file as a whole, and wait until that is on the disk. Others may never do more with it than its mode says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".forebay-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(descriptor, mode)
            file.flush()
            _sync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync(path.parent)


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":  # its fsync leaves the bytes in the disk's cache
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)

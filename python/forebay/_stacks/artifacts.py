"""Code of functions and layers: copied into the store's directory by what it says, and never changed there.

A zip file is not trusted: nothing of it is written outside of its directory, and it does not grow beyond Lambda's limits.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import time
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from forebay._durable import sync
from forebay._sam.errors import TemplateRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER: Final = "stacks"
BYTES_MAX: Final = 250 * 1024 * 1024
"""Source: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
ENTRIES_MAX: Final = 100_000
_LEFT_OUT: Final = frozenset({"__pycache__", ".git", ".aws-sam", ".venv"})
_KEY_LETTERS: Final = 32
_INLINE: Final = "inline-"
NEW_SECONDS: Final = 3600.0
"""How long code is kept that no stack has."""
_COPIED_BYTES: Final = 1 << 20


class Artifacts:
    """The code that a store has."""

    def __init__(self, store: Path) -> None:
        self._folder = store / FOLDER

    def path(self, key: str) -> Path:
        """Give the directory of code."""
        return self._folder / PurePosixPath(key).name

    def add(self, source: Path) -> str:
        """Copy a directory, a zip file or a single file into the store; give its key, the same for the same code.

        Raises:
            TemplateRefused: there is none, it is too large, or a zip file names places outside of it.

        """
        if not source.exists():
            raise TemplateRefused([f"{source}: there is no such directory or file"])
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".new-") as temporary:
            whole = Path(temporary) / "code"
            whole.mkdir()
            if source.is_dir():
                _copy(source, whole)
            elif source.is_file() and zipfile.is_zipfile(source):
                unpack(source, whole)
            elif not source.is_file():
                raise TemplateRefused([f"{source}: it is neither a file nor a directory"])
            else:
                _check(source, 1, source.stat().st_size)
                shutil.copyfile(source, whole / source.name)
                (whole / source.name).chmod(source.stat().st_mode & 0o755)
            return self._take(whole)

    def add_text(self, text: str) -> str:
        """Keep code that stands in the template, as `index.py`; give its key."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".new-") as temporary:
            whole = Path(temporary) / "code"
            whole.mkdir()
            (whole / "index.py").write_text(text)
            return self._take(whole, _INLINE)

    def keep(self, used: str) -> None:
        """Have code that a text names stay for a while, whatever comes: an invocation that is under way may still load of it."""
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            if path.name in used:
                os.utime(path)

    def sweep(self, used: str) -> None:
        """Remove code that no text of these names. What is new stays: a deploy that has not begun may be about to name it."""
        oldest = time.time() - NEW_SECONDS
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            if path.stat().st_mtime >= oldest or path.name.startswith(_INLINE) or path.name in used:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)  # a body that was being sent when the program was killed

    def _take(self, whole: Path, prefix: str = "") -> str:
        """Keep code under its key; it is durable when this returns."""
        key = prefix + _digest(whole)
        if (self._folder / key).is_dir():
            os.utime(self._folder / key)  # whoever asks is about to name it
            return key
        for folder, _, files in os.walk(whole):
            for name in files:
                sync(Path(folder) / name)
            sync(Path(folder))
        try:
            whole.rename(self._folder / key)
        except OSError:
            if not (self._folder / key).is_dir():  # somebody else has put the same code there just now
                raise
        sync(self._folder)
        return key


def _copy(source: Path, into: Path) -> None:
    size = 0
    for number, (path, relative) in enumerate(_files(source)):
        size += path.stat().st_size
        _check(source, number + 1, size)
        target = into / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(path.stat().st_mode & 0o755)


def is_left_out(path: Path) -> bool:
    """Whether a directory is not part of code: what tools keep there, and stores."""
    return path.name in _LEFT_OUT or (path / "forebay.db").exists()


def _files(source: Path, left_out: Callable[[Path], bool] = is_left_out) -> Iterator[tuple[Path, Path]]:
    """Yield the files of a directory, in order; a link is followed to a file and to no directory."""
    for folder, folders, files in os.walk(source):
        folders[:] = sorted(name for name in folders if not left_out(Path(folder) / name))
        for name in sorted(files):
            path = Path(folder) / name
            if path.is_file():
                yield path, path.relative_to(source)


def unpack(source: Path, into: Path) -> None:
    """Unpack a zip file into a directory.

    Raises:
        TemplateRefused: it names places outside, it has links, or it is too large.

    """
    try:
        with zipfile.ZipFile(source) as archive:
            entries = archive.infolist()
            _check(source, len(entries), sum(entry.file_size for entry in entries))
            size = 0
            folders: set[PurePosixPath] = set()
            for entry in entries:
                name = _inside(source, entry)
                for folder in (name, *name.parents) if entry.is_dir() else name.parents:
                    if folder in folders:
                        break
                    folders.add(folder)
                _check(source, len(folders), size)
                target = into / name
                if entry.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as reader, target.open("wb") as writer:
                    while read := reader.read(_COPIED_BYTES):
                        size += len(read)  # what an entry says of its size may not be so
                        _check(source, 1, size)
                        writer.write(read)
                target.chmod((entry.external_attr >> 16) & 0o755 or 0o644)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise TemplateRefused([f"{source}: it is not a zip file that can be read: {error}"]) from None
    except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        raise TemplateRefused([f"{source}: {error.filename}: a file and a directory have one name"]) from None
    except OSError as error:  # a name is too long, or the disk is full
        raise TemplateRefused([f"{source}: it cannot be unpacked: {error.strerror}"]) from None


def _inside(source: Path, entry: zipfile.ZipInfo) -> PurePosixPath:
    name = PurePosixPath(entry.filename)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if name.is_absolute() or ".." in name.parts or "\\" in entry.filename or "\x00" in entry.filename:
        raise TemplateRefused([f"{source}: {entry.filename!r} names a place outside of it"])
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise TemplateRefused([f"{source}: {entry.filename!r} is a link or a device"])
    return name


def _check(source: Path, entries: int, size: int) -> None:
    if entries > ENTRIES_MAX:
        raise TemplateRefused([f"{source}: it has more than {ENTRIES_MAX:,} files or directories"])
    if size > BYTES_MAX:
        raise TemplateRefused([f"{source}: unpacked it has more than {BYTES_MAX:,} bytes"])


def _digest(folder: Path) -> str:
    """Name everything that is there: of a zip file, that is what tools keep, too."""
    whole = hashlib.sha256()
    for path, relative in _files(folder, left_out=lambda _: False):
        data = path.read_bytes()
        mode = b"x" if path.stat().st_mode & 0o100 else b"-"
        name = str(relative).encode()
        whole.update(b"%d:%b%b%d:" % (len(name), name, mode, len(data)))
        whole.update(data)
    return whole.hexdigest()[:_KEY_LETTERS]

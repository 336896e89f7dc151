"""A kill on a virtual clock, without a process."""

import shutil
from pathlib import Path

from forebay import App


async def kill(app: App, store: Path) -> None:
    """End an app as a kill does, and leave its store as a kill does.

    What is left are the files as they lie there while handlers run: what the app writes from now on, and what its handlers come
    to, is never seen again. Nothing is half written: a store on a virtual clock commits before the clock moves on.
    """
    left = store.with_name("left")
    shutil.copytree(store, left, ignore=shutil.ignore_patterns("*.sock"))
    await app.stop(grace=0)
    shutil.rmtree(store)
    left.rename(store)

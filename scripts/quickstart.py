"""README's quickstart, from a wheel, where there is no Rust: what `make wheel` and a test run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
PRINTED = "ada gets a book"
PATIENCE_SECONDS = 60.0


def first_app() -> str:
    """Give the app of README."""
    return re.search(r"```python\n# quickstart\.py\n(.*?)```", README.read_text(), re.DOTALL)[1]


def commands() -> tuple[str, str]:
    """Give the command that serves README's first app, and the one that puts a record."""
    [block] = [text for text in re.findall(r"```console\n(.*?)```", README.read_text(), re.DOTALL) if PRINTED in text]
    serve, put = [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]
    return serve.removesuffix("&").strip(), put


def run(wheel: Path, folder: Path) -> float:
    """Install the wheel into a new environment in a folder; give the seconds from `pip install` to the first event."""
    environment = folder / "bare"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    env = {"PATH": f"{environment / 'bin'}:/usr/bin:/bin", "HOME": os.environ.get("HOME", str(folder))}
    env["FOREBAY_METRICS_PORT"] = "0"  # the usual port may be taken
    env |= {
        name: value for name, value in os.environ.items() if name.startswith("PIP_") or name.lower().endswith("_proxy")
    }
    for tool in ("cargo", "rustc"):
        if found := shutil.which(tool, path=env["PATH"]):
            raise SystemExit(f"{found} is on the path: the wheel must install without Rust")
    serve, put = commands()
    printed = folder / "printed"
    begun = time.monotonic()
    subprocess.run([environment / "bin" / "pip", "install", "-q", wheel.absolute()], env=env, check=True)
    (folder / "quickstart.py").write_text(first_app())
    with printed.open("wb") as out, subprocess.Popen(serve.split(), cwd=folder, env=env, stdout=out) as app:
        try:
            while not (folder / "data" / "forebay.sock").exists():
                _wait(app, begun)
            subprocess.run(["/bin/bash", "-c", put], cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL)
            while PRINTED not in printed.read_text():
                _wait(app, begun)
            return time.monotonic() - begun
        finally:
            app.terminate()


def _wait(app: subprocess.Popen, begun: float) -> None:
    if app.poll() is not None or time.monotonic() - begun > PATIENCE_SECONDS:
        raise SystemExit(f"no event came within {PATIENCE_SECONDS:.0f} s (status of forebay run: {app.poll()})")
    time.sleep(0.01)

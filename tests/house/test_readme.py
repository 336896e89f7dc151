"""What README tells a reader to type is typed here, in its order, in an empty directory.

A block of Python whose first line is a comment with a file's name is saved under that name; any other one is run. Of a console
block, the lines that begin with `$ ` are run by one shell that lives as long as the page, so that what a reader starts with `&`
goes on running. `pip` and `make` are not run but looked up: is there such a target, is it this package that is installed.
"""

import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\w+\.\w+)\n")


def story(page: str) -> tuple[str, list[str], list[str]]:
    """Turn a page into one shell script, the commands that are only looked up, and what the page says is printed."""
    script, looked_up, printed = ["set -euo pipefail", "trap 'kill $(jobs -p); wait' EXIT"], [], []
    for number, (language, text) in enumerate(BLOCK.findall(page)):
        if language == "python":
            named = FILE.match(text)
            name = named[1] if named else f"block{number}.py"
            script.append(f"cat > {name} <<'END_OF_BLOCK'\n{text}END_OF_BLOCK")
            script.append(f"python -c 'import {name[:-3]}'")
        elif language == "console":
            commands = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
            assert commands, f"a console block without a command: {text}"
            looked_up += [command for command in commands if command.split()[0] in {"make", "pip"}]
            printed += [line for line in text.splitlines() if not line.startswith("$ ")]
            for command in commands:
                if command.split()[0] not in {"make", "pip"}:
                    script.append(command)
                if command.endswith("&"):  # a reader types slower than a shell
                    script.append("until test -S data/forebay.sock; do sleep 0.05; done")
        else:
            assert language == "text", f"a block of {language}: nobody checks it"
    return "\n".join(script), looked_up, printed


def test_what_is_typed_works_and_prints_what_the_page_says(tmp_path):
    script, _, printed = story((ROOT / "README.md").read_text())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = {
        "FOREBAY_METRICS_PORT": str(port),  # 9464 may be taken
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PYTHONWARNINGS": "ignore::RuntimeWarning",
    }
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, check=False, text=True, timeout=50
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    assert [line for line in printed if line not in done.stdout.splitlines()] == [], done.stdout


def test_what_is_looked_up_exists():
    _, looked_up, _ = story((ROOT / "README.md").read_text())
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"])
    for command in looked_up:
        tool, *words = command.split("  ")[0].split()
        if tool == "make":
            assert {word for word in words if "=" not in word} <= targets, command
        else:
            assert words[0] == "install", command
            assert re.fullmatch(r"'?(forebay|\.)(\[(\w+)(,\w+)*\])?'?", words[1]), command
            assert set(re.findall(r"(?<=[\[,])\w+", words[1])) <= extras, command


def test_the_figures_are_those_of_the_newest_results():
    command = [sys.executable, "scripts/figures.py", "--check"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / "README.md").read_text()))
def test_every_link_to_a_file_leads_somewhere(link):
    assert (ROOT / link).exists()


def test_the_first_app_is_the_one_among_the_examples():
    app = next(
        text for _, text in BLOCK.findall((ROOT / "README.md").read_text()) if text.startswith("# quickstart.py\n")
    )
    assert (ROOT / "examples" / "quickstart.py").read_text().endswith(app.removeprefix("# quickstart.py\n"))

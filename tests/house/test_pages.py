"""Every block of README and of docs is used as a reader uses it: in its order, in an empty directory, by one shell for each page.

A Python block whose first line is a comment with a file's name is saved under that name; every Python block is imported. Of a
console block, the lines that begin with `$ ` are run, and its other lines must be printed. What a reader starts with `&` goes
on running; the next command waits until it serves. Where a reader waits with `sleep`, the test waits until what the page shows
next is there, as long as that takes: the machine of a test run is busier than a reader's. So a command after a `sleep` is
repeated, and must be one that only reads. If what was started ends meanwhile, the page fails at once with what it said. `make`
and `pip` are looked up, not run. Files for other programs are saved and checked as far as that is possible without them.
"""

import configparser
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import click
import pytest
from ports import free_port

from forebay.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TOP = [ROOT / name for name in ("ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md")]
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w./-]+)\n")
# A page may show their commands, and no test runs them: they change a machine, or need a cluster.
ELSEWHERE = {"docker", "kubectl", "sudo"}
LOOKED_UP = {"make", "pip"}
# What may be repeated until it prints what the page shows, alone or in a pipe.
READS = ("forebay lag", "grep", "head", "tail")
# The longest page takes 30 s on a slow machine that does nothing else.
PAGE_SECONDS = 240
BEGINS = r"""
set -euo pipefail
# What has just ended cannot be killed any more, and the page is not at fault.
trap 'running=$(jobs -p); test -z "$running" || kill $running || true; wait' EXIT
started=()
await() {  # until a command succeeds, while all that was started runs
    until "$@"; do
        for process in "${started[@]}"; do
            kill -0 "$process" 2>/dev/null || { echo "it ended before this held: $*" >&2; exit 1; }
        done
        sleep 0.1
    done
}
forget() {  # what a reader kills may end
    local process left=()
    for process in "${started[@]}"; do [ "$process" = "$1" ] || left+=("$process"); done
    started=("${left[@]}")
}
serve() { [ "$(ls -d */forebay.sock 2>/dev/null | wc -l)" -ge "$1" ]; }
routes() {
    local socket token
    for socket in */forebay.sock; do
        token=$(forebay api link --token --store "${socket%/*}" 2> "$TMPDIR/ready") || continue
        curl -s -H "authorization: Bearer $token" "http://127.0.0.1:$1/_routes" > "$TMPDIR/ready" || continue
        if grep -q key "$TMPDIR/ready"; then return 0; fi
    done
    return 1
}
answers() { curl -s -o "$TMPDIR/ready" "http://127.0.0.1:$1/"; }
holds() { LINE=$2 awk '{ $1 = $1 } $0 == ENVIRON["LINE"] { found = 1 } END { exit !found }' "$1"; }
is_said() { holds "$SAID" "$1"; }
shows() {  # a command, and the lines that it is to print
    local line command=$1
    eval "$command" > "$TMPDIR/shown" || return 1
    for line in "${@:2}"; do holds "$TMPDIR/shown" "$line" || return 1; done
}
"""
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def story(page: str) -> tuple[str, list[str], list[str]]:
    """Turn a page into one shell script, the commands that are only looked up, and what the page says is printed."""
    script, looked_up, printed = [BEGINS], [], []
    serving = 0
    for number, (language, text) in enumerate(BLOCK.findall(page)):
        named = FILE.match(text)
        if language == "console":
            assert text.startswith("$ "), f"a console block that does not begin with a command: {text}"
            is_awaited = False
            for typed in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, *lines = typed.splitlines()
                printed += lines
                wanted = [shlex.quote(" ".join(line.split())) for line in lines if line.strip()]
                tool = command.split()[0]
                if tool in LOOKED_UP:
                    looked_up.append(command)
                elif tool == "sleep":
                    script += [f"await is_said {line}" for line in wanted]
                    is_awaited = not wanted
                    continue
                elif is_awaited:
                    assert wanted, f"what is waited for before {command!r}?"
                    assert only_reads(command), f"{command!r} would be repeated after a sleep, and may change something"
                    script += [f"await shows {shlex.quote(command)} {' '.join(wanted)}", 'cat "$TMPDIR/shown"']
                elif tool not in ELSEWHERE:
                    if tool == "kill":
                        jobs = re.findall(r"kill (%\d+)", command)
                        assert jobs, f"{command!r} does not say which job ends: kill %1"
                        script += [f'forget "$(jobs -p {job})"' for job in jobs]
                        serving = max(0, serving - len(jobs))
                    script.append(command)
                is_awaited = False
                if command.endswith("&"):  # a reader types slower than a shell
                    serving += command.startswith("forebay run")
                    script += ["started+=($!)", *waits(command, serving)]
            assert not is_awaited, f"a console block that ends with sleep: {text}"
        elif language == "python":
            name = named[1] if named else f"block{number}.py"
            script += saved(name, text)
            if not Path(name).name.startswith("test_"):
                script.append(f"python -c 'import {name[:-3].replace('/', '.')}'")
        elif language != "text":
            assert language in CHECKS, f"a block of {language!r}: nobody checks it"
            script += saved(named[1] if named else f"block{number}", text)
    return "\n".join(script), looked_up, printed


def only_reads(command: str) -> bool:
    """Tell whether a command changes nothing, however often it is typed."""
    parts = [part.strip() + " " for part in command.split("|")]
    return not re.search(r"[;&<>$`]", command) and all(
        part.startswith(tuple(f"{one} " for one in READS)) for part in parts
    )


def saved(name: str, text: str) -> list[str]:
    """Write the commands that save a block under its name."""
    return [f"mkdir -p $(dirname {name})", f"cat > {name} <<'END_OF_BLOCK'\n{text}END_OF_BLOCK"]


def waits(command: str, serving: int) -> list[str]:
    """Write the commands that wait until what was started serves: an app its store's socket, a server its port."""
    if serving and command.startswith("forebay run"):
        port = re.search(r"--http-port (\d+)", command)
        return [f"await serve {serving}", *([f"await routes {port[1]}"] if port else [])]
    port = re.search(r"127\.0\.0\.1:(\d+)", command)
    return [f"await answers {port[1]}"] if port else []


@pytest.fixture
def folder():
    """Give a directory whose path is short.

    `serve` counts the stores that have a `forebay.sock`. A store whose path is too long for a socket listens elsewhere.
    In `tmp_path` a page waited for it until its time was over, once pytest had counted to 100 there.
    """
    with tempfile.TemporaryDirectory(prefix="page-", ignore_cleanup_errors=True) as place:
        yield Path(place)


def run_page(script: str, folder: Path) -> tuple[int | str, str, str]:
    """Run a page in a directory of its own; give how it ended, what was printed, and what was complained of."""
    work, said = folder / "work", folder / "said"
    (folder / "tmp").mkdir()
    work.mkdir()
    env = {
        "FOREBAY_METRICS_PORT": str(free_port()),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(work),
        "TMPDIR": str(folder / "tmp"),
        "SAID": str(said),
        "PYTHONUNBUFFERED": "1",  # as on a terminal
        "PYTHONWARNINGS": "ignore::RuntimeWarning",
    }
    with said.open("w") as out, (folder / "complained").open("w") as complaints:
        shell = subprocess.Popen(
            ["bash", "-c", script], cwd=work, env=env, stdout=out, stderr=complaints, start_new_session=True
        )
        ended: int | str
        try:
            ended = shell.wait(PAGE_SECONDS)
        except subprocess.TimeoutExpired:
            ended = f"no end within {PAGE_SECONDS} s"
        finally:
            if shell.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGKILL)
                shell.wait()
    return ended, said.read_text(), (folder / "complained").read_text()


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.timeout(PAGE_SECONDS + 30)
@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=page_id)
def test_what_is_typed_works_and_prints_what_the_page_says(page, folder):
    script, _, printed = story(page.read_text())
    # 8000 and 4566 may be taken, by another page as well, and so may 9464.
    http, aws = free_port(), free_port()
    for place in (
        "127.0.0.1:{}",
        "--http-port {}",
        "http_port={}",
        "--aws-port {}",
        "aws_port={}",
        "routes {}",
        "answers {}",
    ):
        script = script.replace(place.format(8000), place.format(http)).replace(place.format(4566), place.format(aws))
    script = script.replace("$(forebay aws env)", f"$(forebay aws env --port {aws})")
    ended, said, complained = run_page(script, folder)
    assert ended == 0, f"{script}\n{said}\n{complained}"
    there = [line.split() for line in said.splitlines()]  # a column is as wide as what it shows
    assert [line for line in printed if line.split() not in there] == [], said


def test_a_page_whose_server_ends_fails_at_once_with_what_it_said(folder):
    """A page waited for its socket until its time was over, and nobody read why."""
    script, _, _ = story("```console\n$ forebay run nothing_of_that_name:app &\n```\n")
    ended, _, complained = run_page(script, folder)
    assert ended == 1
    assert "no module 'nothing_of_that_name'" in complained
    assert "it ended before this held: serve 1" in complained


def test_a_page_waits_for_what_it_shows_after_a_sleep():
    script, _, printed = story("```console\n$ sleep 1\nto ada:  hello\n$ sleep 4\n$ forebay lag\na   b\n```\n")
    assert script.endswith("await is_said 'to ada: hello'\nawait shows 'forebay lag' 'a b'\ncat \"$TMPDIR/shown\"")
    assert printed == ["to ada:  hello", "a   b"]


@pytest.mark.parametrize(
    "command",
    ["forebay queue receive q", "forebay dlq redrive q", "forebay lag && forebay queue send q x", "grep x y | tee z"],
)
def test_a_command_that_may_change_something_is_not_repeated(command):
    with pytest.raises(AssertionError, match="would be repeated after a sleep, and may change something"):
        story(f"```console\n$ sleep 1\n$ {command}\nshown\n```\n")


def test_what_still_runs_after_a_kill_is_watched(folder):
    """After a `kill` of one job, none that had been started before was watched."""
    script, _, _ = story("```console\n$ tail -f /dev/null &\n$ false &\n$ kill %1\n$ sleep 1\nnever said\n```\n")
    ended, _, complained = run_page(script, folder)
    assert ended == 1
    assert "it ended before this held: is_said never said" in complained


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_what_is_looked_up_exists(page):
    _, looked_up, _ = story(page.read_text())
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"])
    for command in looked_up:
        tool, *words = shlex.split(command, comments=True)
        if tool == "make":
            assert {word for word in words if "=" not in word} <= targets, command
        else:
            assert words[0] == "install", command
            for package in words[1:]:
                if package.startswith((".", "forebay")):
                    assert re.fullmatch(r"(forebay|\.)(\[(\w+)(,\w+)*\])?", package), command
                    assert set(re.findall(r"(?<=[\[,])\w+", package)) <= extras, command


@pytest.mark.parametrize("page", [*PAGES, *TOP], ids=page_id)
def test_every_link_to_a_file_leads_somewhere(page):
    assert [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()] == []


def test_every_page_stands_in_the_navigation():
    """The site leaves out what no menu leads to."""
    there = {str(path.relative_to(ROOT / "docs")) for path in PAGES[1:]}
    assert set(re.findall(r"[\w/.-]+\.md", (ROOT / "mkdocs.yml").read_text())) == there


def commands_of_forebay(words: list[str]) -> None:
    """Hold a command line in a file for another program to what forebay understands."""
    while words and not words[0].endswith("forebay"):
        words = words[1:]
    assert words[1] == "run", words
    main.commands["run"].make_context("run", words[2:])


def check_unit(text: str) -> None:
    """Hold a systemd unit to its form, and its command to forebay."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read_string(text)
    if "Service" in unit:
        commands_of_forebay(shlex.split(unit["Service"]["ExecStart"]))


def check_dockerfile(text: str) -> None:
    """Hold a Dockerfile's instructions to Docker's, and its command to forebay."""
    lines = re.sub(r"\\\n", " ", text).splitlines()
    instructions = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    known = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "CMD", "HEALTHCHECK"}
    assert {name for name, _ in instructions} <= known
    commands_of_forebay(json.loads(dict(instructions)["CMD"]))


def check_yaml(text: str) -> None:
    """Read YAML; of Kubernetes's objects hold the commands to forebay, and the probes to ports that are there."""
    yaml = pytest.importorskip("yaml")  # comes with mkdocs
    for document in yaml.safe_load_all(text):
        if document.get("kind") in {"Deployment", "StatefulSet"}:
            pod = document["spec"]["template"]["spec"]
            for container in pod["containers"]:
                commands_of_forebay(container["command"])
                ports = {port["containerPort"] for port in container["ports"]}
                probes = [value["httpGet"]["port"] for name, value in container.items() if name.endswith("Probe")]
                assert set(probes) <= ports
                named = {volume["name"] for volume in pod.get("volumes", [])}
                named |= {claim["metadata"]["name"] for claim in document["spec"].get("volumeClaimTemplates", [])}
                assert {mount["name"] for mount in container["volumeMounts"]} <= named


CHECKS = {
    "ini": check_unit,
    "dockerfile": check_dockerfile,
    "yaml": check_yaml,
    "toml": tomllib.loads,
    "json": json.loads,
}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_files_for_other_programs_are_in_their_form(page):
    for language, text in BLOCK.findall(page.read_text()):
        if language in CHECKS:
            CHECKS[language](text)


def test_a_unit_with_an_option_that_there_is_not_is_found():
    with pytest.raises(click.NoSuchOption):
        check_unit("[Service]\nExecStart=/srv/bin/forebay run shop:app --metrics-prot 1\n")


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_systemd_itself_takes_the_units(page, tmp_path):
    units = [text for language, text in BLOCK.findall(page.read_text()) if language == "ini"]
    if not units:
        return
    if not (systemd := shutil.which("systemd-analyze")):
        pytest.skip("systemd-analyze is not installed: sudo apt-get install -y systemd")
    for text in units:
        name = Path(FILE.match(text)[1]).name
        # The program and the user exist on the reader's machine alone.
        here = re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", text, flags=re.MULTILINE)
        (tmp_path / name).write_text(re.sub(r"^(User|Group)=.*\n", "", here, flags=re.MULTILINE))
        done = subprocess.run(
            [systemd, "verify", "--man=no", str(tmp_path / name)], capture_output=True, check=False, text=True
        )
        complaints = [line for line in done.stderr.splitlines() if name in line]
        assert [line for line in complaints if "DelegateSubgroup" not in line] == []  # systemd 254 brought it

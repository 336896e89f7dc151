"""What the tests need is installed where packages may be; where they may not, the tests are skipped and named, under CI never."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "servers.sh"
INSTALLS = """#!/bin/bash
echo "$@" >> {folder}/asked
[[ $1 != install ]] || /bin/cp {folder}/prometheus {folder}/promtool
"""
FAILS = "#!/bin/sh\nexit 100\n"
PLANTED = """
def test_that_asks_a_server(need):
    need("prometheus")


def test_that_asks_nobody():
    pass
"""


@pytest.fixture
def machine(tmp_path):
    """Give what runs a command where there is a Prometheus without its promtool, and apt for a certain user."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def program(name, text):
        (folder / name).write_text(text.format(folder=folder))
        (folder / name).chmod(0o755)

    def run(*command, user=0, apt=INSTALLS, ci=None):
        program("prometheus", "")
        program("id", f"#!/bin/sh\necho {user}\n")
        if apt:
            program("apt-get", apt)
        variables = {"PATH": f"{folder}:{bash.parent}", **({"CI": ci} if ci else {})}
        return subprocess.run(command, env=variables, capture_output=True, check=False, text=True, timeout=200)

    # Bash alone of all that is beside it: a promtool may be there, too.
    bash = tmp_path / "bash" / "bash"
    bash.parent.mkdir()
    bash.symlink_to("/bin/bash")
    run.folder = folder
    return run


def script(machine, **options):
    done = machine("/bin/bash", str(SCRIPT), **options)
    asked = machine.folder / "asked"
    return done, asked.read_text().splitlines() if asked.exists() else []


@pytest.mark.parametrize("ci", [None, "true"])
def test_root_gets_what_is_missing_with_and_without_ci(machine, ci):
    done, asked = script(machine, ci=ci)
    assert done.returncode == 0, done.stderr
    assert asked[0].split()[0] == "update"
    assert {"install", "-y", "prometheus"} <= set(asked[1].split())
    assert machine("/bin/bash", str(SCRIPT), "--missing").stdout.split().count("prometheus") == 0


@pytest.mark.parametrize(
    "lack", [{"user": 1000}, {"apt": None}, {"apt": FAILS}], ids=["not root", "no apt", "apt fails"]
)
@pytest.mark.parametrize(("ci", "code"), [(None, 0), ("false", 0), ("true", 1)])
def test_where_nothing_can_be_installed_it_is_said_and_fails_only_under_ci(machine, lack, ci, code):
    done, asked = script(machine, ci=ci, **lack)
    assert (done.returncode, asked) == (code, [])
    assert "prometheus" in done.stderr.split("To install: sudo apt-get install -y ")[1]
    assert ("Their tests are skipped" in done.stderr) == (code == 0)


@pytest.mark.parametrize(("ci", "code"), [("true", 2), ("false", 0)])
def test_make_hands_on_what_its_environment_says_of_ci(machine, ci, code):
    """It had a variable of its own called CI, and so the script saw that one: nothing was installed on a fresh machine."""
    done = machine(shutil.which("make"), "-C", str(ROOT), "servers", apt=None, ci=ci)
    assert done.returncode == code, done.stderr
    assert "Servers for the tests:" in done.stderr


@pytest.fixture
def planted(machine, tmp_path):
    """Give what runs pytest with our conftest on a test whose server is missing."""
    (tmp_path / "test_planted.py").write_text(PLANTED)
    options = ["-p", "no:cacheprovider", "-p", "conftest", "--rootdir", str(tmp_path), "-o", "asyncio_mode=auto"]
    variables = [f"PYTHONPATH={ROOT / 'tests'}", f"FOREBAY_NOT_RUN={tmp_path / 'not-run'}"]
    command = ["/usr/bin/env", *variables, sys.executable, "-m", "pytest", *options, str(tmp_path)]

    def run(*more, rust="", **options):
        (tmp_path / "not-run").write_text(rust)
        return machine(*command, *more, **options).stdout

    return run


@pytest.mark.parametrize("side_by_side", [(), ("-n", "2")], ids=["one process", "two processes"])
def test_the_end_of_a_run_names_what_was_not_run(planted, side_by_side):
    said = planted(*side_by_side, rust="this process may not mount\tdisk.rs\nthis process may not mount\tdisk.rs\n")
    assert "1 passed, 1 skipped" in said
    block = said.partition(" not run on this machine ")[2].splitlines()
    assert block[1:5] == [
        "prometheus is not installed: sudo apt-get install -y prometheus",
        "    1 of test_planted.py",
        "this process may not mount",
        "    2 of disk.rs",
    ]


def test_under_ci_a_missing_server_is_a_failure(planted):
    said = planted(ci="true")
    assert "1 failed, 1 passed" in said
    assert "prometheus is not installed: sudo apt-get install -y prometheus" in said
    assert "not run on this machine" not in said

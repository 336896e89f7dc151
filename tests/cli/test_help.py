"""Every command's help fits a terminal of 100 columns, and a shell completes commands and options."""

import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from cli_commands import forebay
from click.testing import CliRunner

from forebay._core import __version__
from forebay.cli import main

COLUMNS = 100
BIN = Path(sys.executable).parent


def commands(command, words=()):
    """Give the words that call every command and group."""
    yield words
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, (*words, name))


@pytest.mark.parametrize("terminal", [80, 100, 250])
def test_every_help_fits_100_columns(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(terminal))
    there = list(commands(main))
    assert len(there) > 40, "not all commands were found"
    for words in there:
        shown = CliRunner().invoke(main, [*words, "--help"], prog_name="forebay")
        assert shown.exit_code == 0, shown.output
        too_long = [line for line in shown.output.splitlines() if len(line) > min(terminal, COLUMNS)]
        assert too_long == [], f"forebay {' '.join(words)} --help"


def test_the_version_says_what_the_build_has(tmp_path):
    shown = forebay(tmp_path, "--version").stdout
    assert shown.startswith(f"{__version__} ("), shown
    assert "release build" in shown or "test build: " in shown


@pytest.mark.parametrize(
    ("shell", "script"), [("bash", "complete -o nosort"), ("zsh", "compdef"), ("fish", "complete ")]
)
def test_a_shell_is_given_a_script_that_completes(tmp_path, shell, script):
    shown = forebay(tmp_path, "completion", shell).stdout
    assert script in shown
    assert "_FOREBAY_COMPLETE" in shown
    if found := shutil.which(shell):
        subprocess.run([found, "-n"], input=shown, check=True, text=True, timeout=200)


def test_bash_completes_commands_and_options(tmp_path):
    script = f"""
        export PATH={BIN}:$PATH
        eval "$(forebay completion bash)"
        ask() {{
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            _forebay_completion forebay
            echo "${{COMPREPLY[*]}}"
        }}
        ask forebay str
        ask forebay stream li
        ask forebay stream list --sto
    """
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, check=True, text=True, timeout=200
    )
    assert done.stdout.splitlines() == ["stream", "list", "--store"], done.stderr


def test_a_shell_without_completion_is_refused_with_those_that_have_one(tmp_path):
    refused = forebay(tmp_path, "completion", "tcsh", status=2).stderr
    assert all(shell in refused for shell in ("bash", "zsh", "fish"))

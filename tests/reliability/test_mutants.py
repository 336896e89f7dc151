"""`make mutants` beside a program that stands for cargo-mutants: a survivor fails the run, unless it is named with a reason."""

import importlib
import json
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = "rust/core/src/"
# It knows four faults of three rooms. `survive.json` says which of them survive, and `red` that the tests fail without a fault.
TOOL = """#!{python}
import json, pathlib, sys
words, place = sys.argv, pathlib.Path("{place}")
known = json.loads((place / "known.json").read_text())
if "--list" in words:
    sys.exit(print(json.dumps(known)))
out = pathlib.Path(words[words.index("--output") + 1]) / "mutants.out"
left = set((out / "caught.txt").read_text().splitlines())
if (place / "red").exists():
    sys.exit(print("the baseline failed"))
survive = json.loads((place / "survive.json").read_text())
outcomes = [dict(scenario="Baseline", summary="Success")]
for fault in known:
    name = fault["name"]
    if name not in left:
        summary = "MissedMutant" if name in survive else "CaughtMutant"
        outcomes.append(dict(scenario=dict(Mutant=dict(name=name)), summary=summary))
with (place / "ran.txt").open("a") as ran:
    ran.write("".join(one["scenario"]["Mutant"]["name"] + "\\n" for one in outcomes[1:]))
(out / "outcomes.json").write_text(json.dumps(dict(outcomes=outcomes)))
"""
NAMES = [
    "rust/core/src/stream/backoff.rs:1:4: replace < with <= in delay",
    "rust/core/src/stream/backoff.rs:2:4: replace + with - in delay",
    "rust/core/src/now.rs:1:1: replace now -> u64 with 0",
    "rust/core/src/workflow/jsonata/mod.rs:1:4: replace + with - in range",
]


@pytest.fixture
def mutants(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    mutants = importlib.import_module("mutants")
    for name, path in {"WORK": ".", "TREE": "tree", "TOOL": "tool", "NAMED": "equivalents.toml"}.items():
        monkeypatch.setattr(mutants, name, tmp_path / path)
    monkeypatch.setattr(mutants, "copy", lambda: None)
    known = []
    for name in NAMES:
        file, line, _ = name.split(":", 2)
        (tmp_path / "tree" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / file).write_text("if a < b {\n    a + b\n")
        known.append({"name": name, "file": file, "span": {"start": {"line": int(line)}}})
    (tmp_path / "known.json").write_text(json.dumps(known))
    (tmp_path / "equivalents.toml").write_text("fault = []\n")
    tool = tmp_path / "tool" / "bin" / "cargo-mutants"
    tool.parent.mkdir(parents=True)
    tool.write_text(TOOL.format(python=sys.executable, place=tmp_path))
    tool.chmod(0o700)
    return mutants


@pytest.fixture
def run(mutants, monkeypatch, tmp_path):
    def run(*words, survive=()):
        (tmp_path / "survive.json").write_text(json.dumps(list(survive)))
        monkeypatch.setattr(sys, "argv", ["mutants.py", *words])
        return mutants.main()

    return run


def ran(place):
    return (place / "ran.txt").read_text().splitlines()


def test_faults_that_are_all_found_pass(run, tmp_path, capsys):
    assert run("4") == 0
    assert sorted(ran(tmp_path)) == sorted(NAMES)
    assert '"caught": 4' in capsys.readouterr().out


def test_a_survivor_fails_until_it_is_named_with_a_reason(run, tmp_path, capsys):
    assert run("4", survive=NAMES[:1]) == 1
    assert f"survived: {NAMES[0]}\n    if a < b {{\n    nobody has named it" in capsys.readouterr().out
    what = "stream/backoff.rs: replace < with <= in delay"
    (tmp_path / "equivalents.toml").write_text(
        f'[[fault]]\nwhat = "{what}"\nline = "if a < b {{"\nwhy = "a is never b"\n'
    )
    assert run("4", survive=NAMES[:1]) == 0
    assert '"survived": 1, "survived and not named": 0' in capsys.readouterr().out


def test_a_name_that_no_fault_has_any_more_is_told(run, tmp_path):
    (tmp_path / "equivalents.toml").write_text(
        '[[fault]]\nwhat = "now.rs: delete !"\nline = "!a"\nwhy = "it is gone"\n'
    )
    with pytest.raises(SystemExit, match="does not plant any more"):
        run("4")


def test_a_later_piece_plants_what_an_earlier_one_did_not(run, tmp_path):
    assert (run("2"), run("2", "--seed", "3")) == (0, 0)
    assert sorted(ran(tmp_path)) == sorted(NAMES)


def test_one_room_may_be_asked_for(run, tmp_path):
    assert run("9", "--room", "now") == 0
    assert ran(tmp_path) == NAMES[2:3]
    with pytest.raises(SystemExit, match=r"there are \['now', 'stream', 'workflow/jsonata'\]"):
        run("--room", "nowhere")


def test_a_room_has_the_faults_of_its_parts(run, tmp_path):
    assert (run("9", "--room", "workflow"), run("9", "--room", "workflow/jsonata")) == (0, 0)
    assert ran(tmp_path) == NAMES[3:] * 2


def test_tests_that_fail_without_a_fault_end_the_run(run, tmp_path):
    """Every fault would count as found."""
    (tmp_path / "red").touch()
    with pytest.raises(SystemExit, match="the baseline failed"):
        run("4")


def test_every_named_fault_has_its_line_and_a_reason():
    for fault in tomllib.loads((ROOT / "tests" / "reliability" / "equivalents.toml").read_text())["fault"]:
        lines = (ROOT / SOURCES / fault["what"].split(": ")[0]).read_text().splitlines()
        assert fault["line"] in [line.strip() for line in lines], fault
        assert fault["why"]

"""`scripts/fuzz.py` beside a program that stands for libFuzzer: slow once is not a hang, slow each time is one."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FUZZER = """#!{python}
import os, pathlib, re, sys, time
words = " ".join(sys.argv)
prefix = re.search("-artifact_prefix=(.*?) ", words)
if prefix is None:  # one input alone
    took, *later = pathlib.Path("{took}").read_text().split()
    pathlib.Path("{took}").write_text(" ".join(later))
    sys.exit(print("Executed " + sys.argv[-1] + " in " + took + " ms", file=sys.stderr))
kind = {kinds}.get(re.search("-seed=([0-9]+)", words)[1])
if kind == "silence":
    sys.exit()
print("stat::number_of_executed_units: 1000", file=sys.stderr)
if kind == "meets":  # none of three ends before the others have begun
    place, until = pathlib.Path("{took}").parent / "met", time.monotonic() + 60
    place.mkdir(exist_ok=True)
    (place / os.environ["FOREBAY_FUZZ_TARGET"]).touch()
    while len(list(place.iterdir())) < 3:
        time.sleep(0.01)
        if time.monotonic() > until:
            sys.exit("the others never began")
    sys.exit()
if kind is None:
    sys.exit(time.sleep(int(re.search("-max_total_time=([0-9]+)", words)[1])))
path = prefix[1] + kind + "-c0ffee"
pathlib.Path(path).write_text("an input")
sys.exit("artifact_prefix=...; Test unit written to " + path)
"""


@pytest.fixture
def fuzz(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    fuzz = importlib.import_module("fuzz")
    monkeypatch.setattr(fuzz, "WORK", tmp_path)
    return fuzz


def fuzzer(tmp_path, kinds, took=""):
    """Make a fuzzer that finds an input of a kind from a seed on, and that takes so many milliseconds for each input alone."""
    path, times = tmp_path / "fuzzer", tmp_path / "took"
    times.write_text(took)
    path.write_text(FUZZER.format(python=sys.executable, took=times, kinds=kinds))
    path.chmod(0o700)
    return path


def test_targets_that_find_nothing_run_side_by_side_and_are_told_in_their_order(fuzz, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(fuzz.os, "cpu_count", lambda: 3)
    assert fuzz.fuzz(fuzzer(tmp_path, {"7": "meets"}), ["rows", "json", "chunks"], 1, 7)
    told = [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if "inputs in" in line]
    assert told == ["rows", "json", "chunks"]
    assert "1000" in (tmp_path / "logs" / "json.log").read_text()


def test_an_input_that_is_slow_once_is_forgotten_and_the_fuzzer_goes_on(fuzz, tmp_path, capsys):
    """A machine that was stopped for a measurement made hangs of inputs that take microseconds."""
    assert fuzz.fuzz(fuzzer(tmp_path, {"7": "timeout", "8": "timeout"}, "1500 2"), ["rows"], 2, 7)
    said = capsys.readouterr().out
    assert "rows: 3,000 inputs in 2 s, suspects 1" in said and "was slow once" in said
    assert list((tmp_path / "broken").iterdir()) == []


def test_an_input_that_is_slow_each_time_hangs(fuzz, tmp_path, capsys):
    assert not fuzz.fuzz(fuzzer(tmp_path, {"7": "timeout"}, "1001 3000 1200"), ["rows"], 1, 7)
    assert "rows-timeout-c0ffee hangs" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "broken").iterdir()] == ["rows-timeout-c0ffee"]


def test_a_crash_ends_its_target_at_once(fuzz, tmp_path, capsys):
    assert not fuzz.fuzz(fuzzer(tmp_path, {"7": "crash"}), ["rows"], 60, 7)
    assert "rows: 1,000 inputs in 60 s: BROKEN" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "broken").iterdir()] == ["rows-crash-c0ffee"]


def test_a_fuzzer_that_tries_nothing_is_broken(fuzz, tmp_path, capsys):
    """It was started again without pause until its time was over, and had passed."""
    assert not fuzz.fuzz(fuzzer(tmp_path, {"7": "silence"}), ["rows"], 60, 7)
    assert "rows: 0 inputs in 60 s: BROKEN" in capsys.readouterr().out

"""`make deep` itself: it writes down what it ran, goes on where it was interrupted, and never runs the same chance twice."""

import dataclasses
import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAYS = "import os; print('.figures {\"done\": %s, \"wait_most\": %s}' % (os.environ['COUNT'], os.environ['SEED']))"
# Two that meet: neither ends before the other has begun.
MEETS = """
import os, pathlib, time, uuid
place = pathlib.Path(os.environ["MEETING"])
(place / f"{uuid.uuid4()}.met").touch()
until = time.monotonic() + 60
while len(list(place.glob("*.met"))) < 2:
    assert time.monotonic() < until
    time.sleep(0.01)
time.sleep(0.1)
(place / f"{uuid.uuid4()}.ended").touch()
"""
ALONE = "import os, pathlib; assert len(list(pathlib.Path(os.environ['MEETING']).glob('*.ended'))) == 2"


@pytest.fixture
def deep(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    deep = importlib.import_module("deep")
    for name, path in {"RESULTS": "results.jsonl", "PAGE": "RESULTS.md", "LOGS": "logs"}.items():
        monkeypatch.setattr(deep, name, tmp_path / path)
    monkeypatch.setattr(deep, "commit", lambda *_: "c0ffee")
    return deep


def part(deep, script=SAYS):
    command = [sys.executable, "-c", script]
    return deep.Part("flips", "flipped bits", "flips", 25, 10, command, {"COUNT": "{count}", "SEED": "{seed}"})


def test_the_page_says_what_the_results_say(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    deep = importlib.import_module("deep")
    assert deep.PAGE.read_text() == deep.HEAD + deep.table(deep.read()), "write it: python scripts/deep.py --write"


def test_a_part_is_run_in_pieces_until_it_is_whole(deep, monkeypatch):
    flips = part(deep)
    monkeypatch.setattr(deep, "PARTS", [flips])
    assert deep.go_on(flips, None, None)
    assert [(line["count"], line["seed"]) for line in deep.read()] == [(10, 1), (10, 11), (5, 21)]
    assert deep.go_on(flips, None, None) and len(deep.read()) == 3, "it is whole"
    assert "| 25 flips | passed; done 25, wait most 21 | c0ffee |" in deep.PAGE.read_text()


def test_an_interrupted_run_goes_on_after_its_last_piece(deep, monkeypatch):
    flips, interrupted = part(deep), iter([False, True])
    run = deep.run

    def runs(*what):
        if next(interrupted, False):
            raise KeyboardInterrupt
        return run(*what)

    monkeypatch.setattr(deep, "run", runs)
    with pytest.raises(KeyboardInterrupt):
        deep.go_on(flips, None, None)
    assert deep.go_on(flips, None, None)
    assert [line["seed"] for line in deep.read()] == [1, 11, 21]


def test_another_commit_begins_anew_with_other_seeds(deep, monkeypatch):
    flips = part(deep)
    assert deep.go_on(flips, 10, None)
    monkeypatch.setattr(deep, "commit", lambda *_: "decade")
    assert deep.passed(flips, "decade") == 0
    assert deep.go_on(flips, 10, None)
    assert [(line["commit"], line["seed"]) for line in deep.read()] == [("c0ffee", 1), ("decade", 11)]


def test_a_part_that_tests_some_files_goes_on_when_others_have_changed(deep, monkeypatch):
    """100,000 programs of sessions take hours, and each commit, to whatever file, began them anew."""
    flips = dataclasses.replace(part(deep), tests=("coins",))
    commits = {(): "c0ffee", ("coins",): "facade"}
    monkeypatch.setattr(deep, "commit", lambda *paths: commits[paths])
    assert deep.go_on(flips, 10, None)
    commits[()] = "decade"
    assert deep.go_on(flips, None, None)
    assert [(line["commit"], line["seed"]) for line in deep.read()] == [("facade", 1), ("facade", 11), ("facade", 21)]


def test_every_path_that_a_part_tests_is_there(deep):
    assert [path for part in deep.PARTS for path in part.tests if not (ROOT / path).exists()] == []


def test_a_run_that_begins_where_it_is_told_to_goes_on_from_there(deep):
    """It ran its first piece again and again, and 2,000 lives were counted that had been lived before."""
    assert deep.go_on(part(deep), 25, 7)
    assert [line["seed"] for line in deep.read()] == [7, 17, 27]


def test_the_page_shows_the_newest_run_of_a_part_by_the_name_that_it_had(deep, monkeypatch):
    """Sequences of 400 to 800 steps would have been shown as short ones, when the part came to run those."""
    monkeypatch.setattr(deep, "PARTS", [part(deep)])
    assert deep.go_on(part(deep), 10, None)
    replaced = dataclasses.replace(part(deep), title="flipped bytes", unit="bytes")
    monkeypatch.setattr(deep, "PARTS", [replaced])
    deep.write()
    assert "| flips | flipped bits | 10 flips |" in deep.PAGE.read_text()
    assert deep.go_on(replaced, 10, None)
    page = deep.PAGE.read_text()
    assert "| flips | flipped bytes | 10 bytes |" in page and "| 10 flips |" not in page
    assert len(deep.read()) == 2, "the record keeps both"


def test_a_failed_piece_is_named_until_a_newer_run_and_with_what_was_found_out(deep, monkeypatch):
    monkeypatch.setattr(deep, "PARTS", [part(deep, "raise SystemExit(1)")])
    assert not deep.go_on(deep.PARTS[0], 10, None)
    assert "- flips --count 10 --seed 1 on c0ffee: open" in deep.PAGE.read_text()
    [line] = deep.read()
    deep.RESULTS.write_text(json.dumps(line | {"explained": "the test was wrong"}) + "\n")
    deep.write()
    assert "- flips --count 10 --seed 1 on c0ffee: the test was wrong" in deep.PAGE.read_text()
    monkeypatch.setattr(deep, "commit", lambda *_: "decade")
    assert deep.go_on(part(deep), 10, None)
    assert "--seed 1" not in deep.PAGE.read_text()


def test_the_page_has_a_line_for_each_part_and_a_few_more(deep):
    most = len(deep.PARTS) + len(deep.HEAD.splitlines()) + 5
    assert len((ROOT / "tests" / "reliability" / "RESULTS.md").read_text().splitlines()) <= most


def test_a_piece_that_fails_is_written_down_ends_its_part_and_can_be_repeated(deep, monkeypatch, capsys):
    flips = part(deep, "raise SystemExit(1)")
    monkeypatch.setattr(deep, "PARTS", [flips])
    assert not deep.go_on(flips, None, None)
    assert [line["passed"] for line in deep.read()] == [False]
    assert "flips --count 10 --seed 1" in capsys.readouterr().out
    assert "| 0 flips | **1 of 1 pieces failed** |" in deep.PAGE.read_text()
    assert deep.passed(flips, "c0ffee") == 0, "what failed does not count"


def test_what_could_not_be_run_counts_for_nothing(deep, monkeypatch, capsys):
    """Memory that no control group keeps was a part that is whole: its only test was skipped, and pytest was content."""
    flips = part(deep, "print('figures {\"skipped_for_want_of_a_coin\": 1}')")
    monkeypatch.setattr(deep, "PARTS", [flips])
    assert not deep.go_on(flips, None, None)
    assert [line["count"] for line in deep.read()] == [0] and deep.passed(flips, "c0ffee") == 0
    assert "flips: NOT RUN" in capsys.readouterr().out
    assert "| 0 flips | not run; skipped for want of a coin 1 |" in deep.PAGE.read_text()


def test_parts_run_side_by_side_and_one_that_must_be_alone_after_them(deep, monkeypatch):
    met = [dataclasses.replace(part(deep, MEETS), name=name, goal=1) for name in ("first", "second")]
    alone = dataclasses.replace(part(deep, ALONE), name="alone", goal=1, alone=True)
    monkeypatch.setattr(deep, "PARTS", [alone, *met])
    monkeypatch.setattr(deep.os, "cpu_count", lambda: 2)
    monkeypatch.setenv("MEETING", str(deep.LOGS.parent))
    assert deep.every([alone, *met], None, None)
    assert [line["part"] for line in deep.read()][2:] == ["alone"]


def test_every_part_can_be_asked_for_by_one_name(deep):
    names = [part.name for part in deep.PARTS]
    assert len(names) == len(set(names))
    for each in deep.PARTS:
        words, variables = each.words(7, 3)
        assert "7" in json.dumps([words, variables]) or each.goal == 1, each

"""The bench measures what it says, refuses where figures would mean nothing, and keeps what it found."""

import json
import subprocess
import sys

import pytest

from forebay import _core
from forebay.bench import harness, machine, stream
from forebay.bench.__main__ import SCENARIOS, chosen, main

RESULT = {
    "scenario": "stream.example",
    "runs": 3,
    "cores": 1.0,
    "others": None,
    "figures": [{"title": "an example", "unit": "records/s", "median": 1234567.0, "least": 0.1234, "most": 2e6}],
}


@pytest.mark.parametrize("scenario", stream.SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_scenario_gives_a_value_for_each_of_its_figures(scenario):
    sample = harness.run_once(scenario, scale=0.002)
    assert {figure.name for figure in scenario.figures} == sample["values"].keys()
    assert all(value > 0 for value in sample["values"].values())


def test_the_record_has_the_size_that_is_told():
    assert len(stream.RECORD) == 200
    assert json.loads(stream.RECORD)


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(0, 120), (10, 120), (11, 190), (50, 300), (90, 530), (91, 700), (99.9, 700), (100, 700)],
)
def test_a_percentile_is_the_nearest_rank(percent, expected):
    assert machine.percentile([700, 120, 190, 200, 250, 300, 330, 370, 420, 530], percent) == expected


@pytest.mark.skipif(not _core.debug_build, reason="only a build with assertions refuses")
def test_a_build_with_assertions_refuses():
    refused = subprocess.run([sys.executable, "-m", "forebay.bench"], capture_output=True, check=False, text=True)
    assert refused.returncode == 1
    assert "figures would mean nothing" in refused.stderr


def test_scenarios_are_chosen_by_name_or_by_its_beginning():
    assert chosen([""]) == list(SCENARIOS)
    assert chosen(["stream.put"]) == ["stream.put-many", "stream.put-many-four"]
    with pytest.raises(SystemExit, match="No scenario begins with stram"):
        chosen(["stram"])


def test_the_list_names_every_scenario(capsys):
    main(["--list"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(SCENARIOS)


def test_results_are_kept_one_line_each(tmp_path):
    harness.keep(RESULT, tmp_path)
    harness.keep(RESULT, tmp_path)
    assert [json.loads(line) for line in (tmp_path / "stream.jsonl").read_text().splitlines()] == [RESULT, RESULT]


def test_a_table_shows_three_digits_that_mean_something():
    assert "1,230,000 records/s      0.123 .. 2,000,000" in harness.table(RESULT)

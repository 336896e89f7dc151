"""The bench measures what it says, refuses where figures would mean nothing, and keeps what it found."""

import asyncio
import contextlib
import importlib.util
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from forebay import _core
from forebay_bench import __main__ as commands
from forebay_bench import compare, harness, machine, presentation, report, scenarios, servers, session, stream

ROOT = Path(__file__).parents[2]
RESULT = {
    "scenario": "stream.example",
    "date": "2026-11-24T12:00:00+00:00",
    "who": "forebay",
    "note": "",
    "durability": "power-loss",
    "runs": 3,
    "scale": 1,
    "cores": 1.0,
    "others": None,
    "figures": [
        {
            "name": "rate",
            "title": "an example",
            "unit": "records/s",
            "median": 1234567.0,
            "least": 0.1234,
            "most": 2e6,
            "values": [0.1234, 1234567.0, 2e6],
        }
    ],
    "machine": {"cpu": "a <fast> one", "cores": 2, "memory_gib": 24, "system": "Linux 6"},
    "versions": {"python": "3.11.7", "forebay": "0.1.0"},
}


def result(scenario: str = "stream.example", unit: str = "records/s", **figure: object) -> dict:
    return RESULT | {"scenario": scenario, "figures": [RESULT["figures"][0] | {"unit": unit} | figure]}


def bench(*arguments: str):
    return CliRunner().invoke(commands.bench, arguments)


@pytest.fixture(scope="module")
def rack():
    with servers.Rack() as started:
        yield started


# Errors, which there should be none of, and what one thing adds to another: that is lost in so little work.
DIFFERENCES = ("errors", "added", "grown", "deploy", "again")


@pytest.mark.parametrize("scenario", scenarios.SCENARIOS.values(), ids=lambda scenario: scenario.name)
def test_every_scenario_gives_a_value_for_each_of_its_figures(scenario, rack):
    if absent := session.missing(scenario):
        pytest.skip(f"not installed: {absent}")
    rack.start(scenario.servers)
    scale = 0.001 if scenario.name.startswith(scenarios.LONG) else 0.002
    if "opentelemetry-sdk" in scenario.packages:  # a process has one tracer provider for its whole life
        once = (
            f"from forebay_bench import scenarios, session; session.once(scenarios.named({scenario.name!r}), {scale})"
        )
        sample = json.loads(subprocess.run([sys.executable, "-c", once], check=True, stdout=subprocess.PIPE).stdout)
    else:
        sample = harness.run_once(scenario, scale=scale)
    assert {figure.name for figure in scenario.figures} == sample["values"].keys()
    assert all(value > 0 or name.startswith(DIFFERENCES) for name, value in sample["values"].items())


def test_every_limit_that_a_figure_names_is_a_figure_of_another_scenario():
    known = {
        f"{scenario.name}:{figure.name}" for scenario in scenarios.SCENARIOS.values() for figure in scenario.figures
    }
    named = {figure.limit for scenario in scenarios.SCENARIOS.values() for figure in scenario.figures if figure.limit}
    assert named <= known


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
    for module in ("forebay_bench.once", "forebay_bench"):
        refused = subprocess.run(
            [sys.executable, "-m", module, "stream.put-many"], capture_output=True, check=False, text=True
        )
        assert refused.returncode == 1
        assert "figures would mean nothing" in refused.stderr


def test_scenarios_are_chosen_by_name_or_by_its_beginning_and_their_limits_come_first():
    daily = [name for name in scenarios.SCENARIOS if not name.startswith("growth.")]
    assert [scenario.name for scenario in scenarios.chosen([])] == daily
    assert [scenario.name for scenario in scenarios.chosen(["stream.put"])] == [
        "limits.append",
        "stream.put-many",
        "stream.put-many-four",
        "stream.put-callers",
    ]
    for word, names in {
        "memory": ["stream.memory", "queue.memory"],
        "token-bucket": ["limits.call", "token_bucket.acquire"],
    }.items():
        assert [scenario.name for scenario in scenarios.chosen([word])] == names
    with pytest.raises(LookupError, match="no scenario begins with stram; there are limits"):
        scenarios.chosen(["stram"])


def test_a_word_that_is_no_command_is_a_scenario(monkeypatch):
    monkeypatch.setattr(harness, "refuse_debug_build", lambda: None)
    refused = bench("stram")
    assert refused.exit_code == 1
    assert "no scenario begins with stram" in refused.output


def test_the_list_names_every_scenario():
    assert [line.split()[0] for line in bench("list").output.splitlines()] == list(scenarios.SCENARIOS)
    assert [row["scenario"] for row in json.loads(bench("list", "--output", "json").output)] == list(
        scenarios.SCENARIOS
    )


def test_a_share_of_the_limit_is_told_for_rates_and_for_times():
    rate = harness.Figure("rate", "a rate", "records/s", limit="limits.x:rate")
    time = harness.Figure("p50", "a time", "ms", limit="limits.x:p50")
    limits = {"limits.x:rate": 200.0, "limits.x:p50": 0.2}
    assert harness._figure(rate, [40, 50, 60], limits)["share_of_limit"] == 0.25
    assert harness._figure(time, [0.4, 0.4, 0.4], limits)["share_of_limit"] == 0.5
    assert "share_of_limit" not in harness._figure(rate, [1.0], {})


def test_a_limit_counts_for_as_many_as_go_with_one_of_it():
    """A FIFO queue was told to reach 548% of SQLite's cycle of a message: one task has ten messages, and that is the limit."""
    rate = harness.Figure("rate", "ten a task", "messages/s", limit="limits.x:rate", each=10)
    told = harness._figure(rate, [500, 500, 500], {"limits.x:rate": 100.0})
    assert (told["limit_median"], told["share_of_limit"]) == (1_000, 0.5)


def test_the_work_of_processes_that_were_started_is_not_that_of_others():
    spin = "import time; began = time.process_time()\nwhile time.process_time() < began + 0.3: pass\nprint(flush=True); input()"
    command = [sys.executable, "-c", spin]
    with contextlib.ExitStack() as stack:
        before = machine._busy_seconds()
        with machine.Meter() as meter:
            subprocess.run(command, input=b"\n", stdout=subprocess.PIPE, check=True)
            living = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            living.stdout.readline()
        everyone = machine._busy_seconds() - before
        living.communicate(b"\n")
    assert meter.cores * meter.seconds > 0.58
    others = meter.others * meter.seconds
    assert others < everyone - 0.5, "the work of those that were started counts for others as well"


def test_results_are_kept_one_line_each(tmp_path):
    harness.keep(RESULT, tmp_path)
    harness.keep(RESULT, tmp_path)
    assert [json.loads(line) for line in (tmp_path / "stream.jsonl").read_text().splitlines()] == [RESULT, RESULT]


def test_a_table_shows_three_digits_that_mean_something():
    assert "1,230,000 records/s      0.123 .. 2,000,000" in harness.table(RESULT)


def test_a_difference_is_a_verdict_only_where_the_values_of_two_sessions_do_not_overlap(tmp_path):
    before = {
        name: result(name, unit, least=90, median=100, most=110)
        for name, unit in (("a", "records/s"), ("b", "ms"), ("c", "records/s"), ("gone", "ms"))
    }
    after = {
        "a": result("a", "records/s", least=120, median=130, most=140),
        "b": result("b", "ms", least=120, median=130, most=140),
        "c": result("c", "records/s", least=100, median=130, most=140),
    }
    verdicts = {pair.scenario: (pair.ratio, pair.verdict) for pair in compare.pairs(before, after)}
    assert verdicts == {"a": (1.3, "better"), "b": (1.3, "worse"), "c": (1.3, "noise")}
    for name, results in (("old", before), ("new", after)):
        for one in results.values():
            harness.keep(one, tmp_path / name)
    told = bench("compare", str(tmp_path / "old"), str(tmp_path / "new"))
    assert "Only in one of them: gone" in told.output
    rows = json.loads(bench("compare", str(tmp_path / "old"), str(tmp_path / "new"), "--output", "json").output)
    assert [row["verdict"] for row in rows] == ["better", "worse", "noise"]


def test_a_file_that_holds_no_results_is_told_with_its_line(tmp_path):
    (tmp_path / "broken.jsonl").write_text('{"scale": 1}\n')
    told = bench("compare", str(tmp_path), str(tmp_path))
    assert told.exit_code == 1
    assert "broken.jsonl:1 is not a result of a bench" in told.output


def test_the_report_is_one_page_with_its_charts_in_it(tmp_path):
    single = scenarios.named("stream.backlog-single")
    limited = {
        "name": "rate",
        "title": single.figures[0].title,
        "limit": "limits.task:rate",
        "limit_median": 4e6,
        "share_of_limit": 0.31,
    }
    harness.keep(result(single.name, **limited), tmp_path)
    for at in (1, 100):
        harness.keep(result(f"growth.example-{at}", "us", series="cost, by keys", at=at), tmp_path)
    page = tmp_path / "report.html"
    assert bench("report", str(tmp_path), str(page)).exit_code == 0
    text = page.read_text()
    assert "a &lt;fast&gt; one" in text
    assert "31% of bare uvloop: task and its callback" in text
    assert single.figures[0].title in text
    assert "1,230,000 invocations/s" in text
    seen = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: seen.append((tag, dict(attributes)))
    parser.feed(text)
    assert [tag for tag, _ in seen].count("svg") == 1
    inside = [attributes["id"] for _, attributes in seen if "id" in attributes]
    links = [
        value for _, attributes in seen for name, value in attributes.items() if name in {"src", "href", "xlink:href"}
    ]
    assert {link.removeprefix("#") for link in links} <= set(inside), "it refers to nothing outside"


def test_every_family_of_scenarios_has_a_heading_in_the_report():
    families = {name.partition(".")[0] for name in scenarios.SCENARIOS}
    assert families - {"growth", "dbproxy"} == report.FAMILIES.keys()


def test_a_share_of_a_limit_that_is_named_no_more_is_not_shown():
    """A FIFO queue's share of SQLite's cycle went on being shown after its limit had become another one."""
    title = scenarios.named("fifo.backlog").figures[0].title
    fifo = result("fifo.backlog", name="rate", title=title, limit="limits.sqlite:rate", share_of_limit=5.48)
    [figure] = presentation.shown_figures([fifo])
    assert figure.share is None


def test_an_answer_to_a_question_that_is_asked_no_more_is_not_shown():
    """Batches of 10,000 measured with a window were shown under the title of those without one."""
    assert presentation.shown_figures([result("fifo.backlog", name="rate", title="FIFO queue: another question")]) == []


def test_programs_that_were_asked_the_same_stand_in_one_chart(tmp_path):
    for who, median in (("forebay", 9e5), ("another", 3e4)):
        figure = {"question": "drain a backlog", "median": median, "least": median / 2, "most": 2 * median}
        harness.keep(result(f"{who}.drain", **figure) | {"who": who}, tmp_path)
    text = report.page(compare.newest(tmp_path))
    assert "Beside its peers" in text
    assert text.count("<svg") == 1


def loaded(monkeypatch, name: str):
    """A module of bench/peers, which is not a package."""
    spec = importlib.util.spec_from_file_location(f"peers_{name}", ROOT / "bench" / "peers" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        (
            "forebay_rules",
            """
   rules    mix     events/s   ns/event  matches/event  add p50, us  add p99, us
    1000  exact      1000000       1000          0.100          3.0         30.0
    1000  mixed       450000       2222          0.100          4.5         30.0
   10000  mixed       250000       4000          1.000          5.5         40.0""",
        ),
        (
            "event_ruler",
            """    1000  exact       150000          0.100         20.0
    1000  mixed       450000          0.100          4.5
   10000  mixed       250000          1.000          5.5""",
        ),
    ],
)
def test_both_matchers_tables_are_read_for_the_mixed_rules(monkeypatch, tmp_path, name, printed):
    matchers = loaded(monkeypatch, "matchers")
    monkeypatch.setattr(matchers, "_ran", lambda *_, **__: printed)
    values = asyncio.run(getattr(matchers, name)(harness.Stage(tmp_path)))
    assert values == {"rate_1000": 450_000, "add_1000": 4.5, "rate_10000": 250_000, "add_10000": 5.5}
    [scenario] = [one for one in matchers.SCENARIOS if one.run is getattr(matchers, name)]
    assert {figure.name for figure in scenario.figures} == values.keys()


def test_a_peer_that_is_not_installed_is_named_and_skipped(monkeypatch, capfd):
    peers = loaded(monkeypatch, "run")
    monkeypatch.setattr(harness, "refuse_debug_build", lambda: None)
    gone = harness.Scenario("peers.gone", None, (), who="gone")
    absent = harness.Scenario("peers.absent", None, (), packages=("no_such_package_at_all",))
    monkeypatch.setattr(peers, "PEERS", {"peers.gone": gone, "peers.absent": absent})

    def missing(*_: object, **__: object) -> None:
        raise subprocess.CalledProcessError(session.SKIPPED, "run")

    monkeypatch.setattr(harness, "measure", missing)
    monkeypatch.setattr(sys, "argv", ["run.py"])
    peers.main()
    told = capfd.readouterr().out
    assert "peers.gone  skipped: something it needs is missing" in told
    assert "peers.absent  skipped: not installed: no_such_package_at_all" in told
    once = [
        sys.executable,
        str(ROOT / "bench" / "peers" / "run.py"),
        "--once",
        "peers.token-bucket.throttled-py",
        "0.001",
    ]
    told = subprocess.run(once, capture_output=True, check=False, text=True)
    assert (told.returncode, "throttled" in told.stderr) == (session.SKIPPED, True)


def test_a_server_that_is_not_installed_is_named_and_its_scenario_skipped(monkeypatch):
    def absent(_: Path) -> str:
        raise servers.MissingError("pg is not installed: apt-get install pg")

    needy = harness.Scenario("needy", None, (), servers=("postgresql",))
    monkeypatch.setitem(servers.STARTED, "postgresql", absent)
    monkeypatch.delenv(servers.variable("postgresql"), raising=False)
    told = []
    assert list(session.run_session([needy], runs=1, scale=1, skipped=told.append)) == []
    assert told == ["needy  skipped: pg is not installed: apt-get install pg"]


def test_a_report_without_its_extra_says_what_to_install(tmp_path, monkeypatch):
    harness.keep(result("growth.example", "us", series="cost, by keys", at=1), tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    told = bench("report", str(tmp_path), str(tmp_path / "page.html"))
    assert told.exit_code == 1
    assert "pip install --group bench" in told.output
    assert report.MISSING in told.output


def test_a_profile_without_its_tool_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "refuse_debug_build", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    told = bench("limits.wake", "--profile", str(tmp_path))
    assert told.exit_code == 1
    assert "pip install py-spy" in told.output

"""The bench of the proxy measures what it says, on real servers."""

from __future__ import annotations

import pytest

from forebay_bench import dbproxy, servers, session
from forebay_bench.dbproxy_peers import PEERS
from forebay_bench.harness import Stage

OURS = [peer for peer in PEERS if "forebay" in peer.name]


@pytest.mark.parametrize("verb", ["select", "borrow", "turn"])
async def test_each_work_is_done_by_the_proxy_without_an_error(server, verb, monkeypatch, tmp_path):
    monkeypatch.setenv(servers.variable(server.engine), server.url)
    for peer in OURS:
        if peer.server == server.engine:
            told = await dbproxy.measure(peer, dbproxy.Work("a few", verb, 20, looks=True), Stage(tmp_path, 0.01))
            assert told["rate"] > 0
            assert 0 < told["p50"] <= told["p99"]
            if verb != "borrow":  # who never waits is refused nothing and has no fair share of waiting
                assert told["errors"] == 0
                assert 0 < told["jain"] <= 1
                assert told["peak"] <= 10


def test_every_peer_is_asked_what_the_proxy_is_asked_in_the_same_words():
    asked = {figure.question for scenario in dbproxy.SCENARIOS for figure in scenario.figures if figure.question}
    answered = {
        figure.question for scenario in dbproxy.PEER_SCENARIOS for figure in scenario.figures if figure.question
    }
    assert asked == answered


def test_a_server_that_nobody_has_started_is_missing_and_its_scenario_skipped(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv(servers.variable("mysql"), raising=False)
    with pytest.raises(servers.MissingError, match="no mysql server: FOREBAY_BENCH_MYSQL is not set"):
        servers.address("mysql")
    with pytest.raises(SystemExit) as left:
        session.once(next(one for one in dbproxy.SCENARIOS if one.servers == ("mysql",)), 0.01)
    assert left.value.code == session.SKIPPED
    assert "no mysql server" in capsys.readouterr().err

"""The bench of the proxy measures what it says, on real servers, and names the peers that it cannot measure."""

from __future__ import annotations

import argparse

import pytest

from forebay.bench import dbproxy
from forebay.bench.dbproxy_peers import PEERS, Peer, forebay

OURS = [peer for peer in PEERS if "forebay" in peer.name]


@pytest.mark.parametrize("verb", ["select", "borrow", "turn"])
async def test_each_work_is_done_by_the_proxy_without_an_error(server, verb, monkeypatch):
    monkeypatch.setattr(dbproxy, "WARM_UP_SECONDS", 0.05)
    for peer in OURS:
        if peer.server == server.engine and not dbproxy.missing(peer, {server.engine: server.url}):
            work = dbproxy.Work("a few", verb, 20, looks=True)
            told = await dbproxy.measure(peer, work, server.url, 0.01)
            assert told["rate"] > 0
            assert told["errors"] == 0
            assert 0 < told["p50"] <= told["p99"]
            assert 0 < told["jain"] <= 1
            assert told["peak"] <= 10


def test_a_peer_that_cannot_be_measured_is_named_with_the_reason(capsys):
    absent = Peer("absent", "mysql", forebay, ("no_such_package_at_all",))
    assert "no_such_package_at_all" in dbproxy.missing(absent, {"mysql": "mysql://app@h/db"})
    assert "--mysql" in dbproxy.missing(next(p for p in OURS if p.server == "mysql"), {"mysql": None})
    options = argparse.Namespace(postgresql=None, mysql=None, pgbouncer=None, peers=[], works=None, runs=1, scale=1.0)
    assert dbproxy.sitting(options) == []
    assert capsys.readouterr().out.count("skipped: ") == len(PEERS)


def test_the_table_shows_medians_and_spread():
    samples = [
        {
            "rate": rate,
            "p50": 1.0,
            "p99": 2.0,
            "p99_to_fair": 1.1,
            "jain": 1.0,
            "processor": 30.0,
            "errors": 0,
            "peak": 10,
        }
        for rate in (10_000.0, 20_000.0, 40_000.0)
    ]
    row = dbproxy.result("somebody", "storm", samples, argparse.Namespace(runs=3, scale=1.0))
    assert "| somebody | 20,000 | 10,000 to 40,000 | 1 | 2 | 1.1 | 1 | 30 | 0 | 10 |" in dbproxy.table([row])

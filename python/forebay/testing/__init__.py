"""Test handlers and workflows on a virtual clock, where a week takes a second, and check what they saw against the promises."""

from forebay.testing.clock import VirtualClock
from forebay.testing.fake_cluster import FakeCluster
from forebay.testing.ledger import Fact, Ledger
from forebay.testing.verdict import Verdict, check
from forebay.testing.workflows import Coverage, Failed, Played, Succeeded, read_mocks, run, try_state

__all__ = [
    "Coverage",
    "Fact",
    "Failed",
    "FakeCluster",
    "Ledger",
    "Played",
    "Succeeded",
    "Verdict",
    "VirtualClock",
    "check",
    "read_mocks",
    "run",
    "try_state",
]

"""Test handlers on a virtual clock, where a week takes a second, and check what they saw against the promises."""

from forebay.testing.clock import VirtualClock
from forebay.testing.ledger import Fact, Ledger
from forebay.testing.verdict import Verdict, check

__all__ = ["Fact", "Ledger", "Verdict", "VirtualClock", "check"]

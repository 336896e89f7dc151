"""Test your handlers on a clock of your own, where a simulated week takes a second, and hold what they saw to the promises."""

from forebay.testing.clock import VirtualClock
from forebay.testing.ledger import Fact, Ledger
from forebay.testing.verdict import Verdict, check

__all__ = ["Fact", "Ledger", "Verdict", "VirtualClock", "check"]

"""Test your handlers on a clock of your own: a simulated week takes a second and is the same each time."""

from forebay.testing.clock import VirtualClock

__all__ = ["VirtualClock"]

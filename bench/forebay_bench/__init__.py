"""Measure forebay on the reader's own machine. Not part of the wheel: `make bench` runs it beside one."""

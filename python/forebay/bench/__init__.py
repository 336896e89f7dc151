"""Measure forebay on the reader's own machine. Nothing here runs in production."""

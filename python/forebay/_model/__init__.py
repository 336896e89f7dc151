"""Frozen nouns: names, settings, limits. They know their own ranges and nothing of the rooms above."""

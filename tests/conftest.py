"""Shared by every test."""

import os

from hypothesis import settings

# A test is never judged by its speed; a seed that failed is printed with the way to repeat it.
settings.register_profile("quick", deadline=None, print_blob=True)
settings.register_profile("deep", settings.get_profile("quick"), max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

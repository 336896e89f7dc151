"""Where results go: sends, and confirms. Decides nothing; a delivery that fails is tried again by the engine."""

from forebay.destinations.jsonlines import JSONLines
from forebay.destinations.port import Destination

__all__ = ["Destination", "JSONLines"]

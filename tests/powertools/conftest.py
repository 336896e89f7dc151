"""Tests with Powertools for AWS Lambda."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

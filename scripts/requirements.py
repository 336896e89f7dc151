"""Print what the package needs, one requirement a line, so that it can be installed before the package is built.

Usage: python scripts/requirements.py [EXTRA ...]
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
wanted = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in sys.argv[1:])]
print("\n".join(requirement for requirements in wanted for requirement in requirements))

"""What streams cost on this machine. The scenarios are part of the package: forebay/bench/stream.py."""

import sys

from forebay.cli import main

main(["bench", "run", "stream", *sys.argv[1:]])

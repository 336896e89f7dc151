"""What streams cost on this machine. The scenarios are part of the package: forebay/bench/stream.py."""

from forebay.bench.__main__ import main

main(default="stream")

"""`python -m forebay.cli`, for a Python whose scripts are not on the path."""

from forebay.cli import main

main(prog_name="forebay")

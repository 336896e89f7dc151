"""Commands as a user types them."""

import json
import subprocess
import sys


def forebay(place, *arguments, stdin=None, status=0):
    """Run one command to its end, in a folder."""
    command = [sys.executable, "-W", "ignore", "-m", "forebay.cli", *arguments]
    done = subprocess.run(command, cwd=place, capture_output=True, check=False, text=True, input=stdin, timeout=200)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def asked(place, *arguments, **options):
    """Run a command and read the JSON that it prints."""
    return json.loads(forebay(place, *arguments, "--output", "json", **options).stdout)


def refused(place, *arguments):
    """Run a command that fails; what it says on standard error."""
    return forebay(place, *arguments, status=1).stderr

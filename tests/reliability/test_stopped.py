"""What is put to handlers that do not go on lies on the disk: once the buffers are full, memory stays, however much waits.

`FOREBAY_COUNT` says how many records of 4 KB are put, and how many messages sent.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ORDINARY = 80_000  # the first half, of 153 MiB, fills every buffer: 100 MiB for records, 60 for messages
# The second half takes up to 5 of records and 1 of messages, and would take 153 if it were kept; a tenth of that is told.
MEBIBYTES_MOST = 15


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["records", "messages"])
def test_what_waits_for_handlers_that_never_end_takes_no_more_memory_once_the_buffers_are_full(tmp_path, kind):
    count = int(os.environ.get("FOREBAY_COUNT", ORDINARY))
    assert count >= ORDINARY, "half of fewer does not fill the buffers"
    program = Path(__file__).with_name("stopped.py")
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:  # pytest would keep it, of gigabytes in a deep run
        words = [sys.executable, "-W", "ignore", str(program), f"{folder}/data", kind, str(count)]
        said = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(said)
    figures = json.loads(re.search(r"figures (\{.*\})", said)[1])
    assert figures[f"{kind}_put"] >= count
    assert figures[f"{kind}_MiB_more_most"] <= MEBIBYTES_MOST, figures
